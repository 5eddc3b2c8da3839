//! The storage manager as its users see it: a program, a configuration file, exit statuses.

use std::path::{Path, PathBuf};
use std::time::Duration;

use super::process::{End, Launcher, Process, Spec};
use super::s3::Access;
use super::test_build::{CLOCK_AHEAD, FAIL_POINT};
use super::tools::{Tool, Tools};
use super::wait::wait_until;
use crate::error::{Context as _, Error, Result, make_dir, write_file};

const READY_WITHIN: Duration = Duration::from_secs(45);
const SECONDS_A_DAY: u64 = 24 * 3600;
const SAMPLED_EVERY: Duration = Duration::from_millis(50);
/// The variable for the layout of new data: `chains`, one for each stream, or a `journal` for all.
const LAYOUT: &str = "CIM_LAYOUT";

/// A command that ended with status 0.
#[derive(Debug, Clone)]
pub struct Ran {
    /// Its output.
    pub stdout: String,
    /// The highest resident memory that was sampled, in bytes.
    pub peak_rss: u64,
}

/// The content of a storage manager's configuration.
#[derive(Debug, Clone)]
pub struct Config {
    /// The node that writes.
    pub node: String,
    /// The NATS URL.
    pub nats_url: String,
    /// The NAS, at its link's address.
    pub secondary: Access,
    /// Wasabi, at its link's address.
    pub tertiary: Option<Access>,
    /// Extra configuration; its keys win.
    pub overrides: toml::Table,
}

impl Config {
    /// Writes the file and the credentials beside it into `dir`, and returns the file's path.
    pub fn write(&self, dir: &Path) -> Result<PathBuf> {
        make_dir(dir)?;
        let mut table = toml::Table::new();
        table.insert("node".into(), toml::toml! { name = "" }.into());
        table["node"]["name"] = self.node.clone().into();
        table.insert("nats".into(), toml::toml! { url = "" }.into());
        table["nats"]["url"] = self.nats_url.clone().into();
        table.insert("secondary".into(), service(&self.secondary, dir, "nas")?);
        if let Some(tertiary) = &self.tertiary {
            table.insert("tertiary".into(), service(tertiary, dir, "wasabi")?);
        }
        merge(&mut table, &settings(&self.overrides)?);
        let path = dir.join("storage-manager.toml");
        let text = toml::to_string(&table).setup(|| "configuration cannot be written".into())?;
        write_file(&path, text)?;
        Ok(path)
    }
}

/// Returns a scenario's storage manager settings, laid over the archive layout of this run.
pub(crate) fn settings(scenario: &toml::Table) -> Result<toml::Table> {
    let mut settings = toml::Table::new();
    let layout = std::env::var_os(LAYOUT).unwrap_or_default();
    match layout.to_str() {
        Some("" | "journal") => {}
        Some("chains") => {
            settings.insert("archive".into(), toml::toml! { layout = "chains" }.into());
        }
        _ => {
            let layout = layout.display();
            let what = format!("`{LAYOUT}` is `{layout}`: use `chains` or `journal`");
            return Err(Error::Usage(what));
        }
    }
    merge(&mut settings, scenario);
    Ok(settings)
}

fn service(access: &Access, dir: &Path, name: &str) -> Result<toml::Value> {
    let credentials = dir.join(format!("{name}.env"));
    access.write_credentials(&credentials)?;
    let mut table = toml::Table::new();
    for (key, value) in [
        ("endpoint", access.endpoint()),
        ("region", access.region.clone()),
        ("bucket", access.bucket.clone()),
        ("credentials_file", credentials.display().to_string()),
    ] {
        table.insert(key.into(), value.into());
    }
    Ok(table.into())
}

/// Merges `over` into `base`, table by table; `over` wins.
pub(crate) fn merge(base: &mut toml::Table, over: &toml::Table) {
    for (key, value) in over {
        match (base.get_mut(key), value) {
            (Some(toml::Value::Table(base)), toml::Value::Table(over)) => merge(base, over),
            _ => {
                base.insert(key.clone(), value.clone());
            }
        }
    }
}

/// Starts the daemon and waits until it has written its ready file.
pub async fn start_tiering(
    launcher: &Launcher,
    tools: &Tools,
    name: &str,
    config: &Path,
) -> Result<Process> {
    start_ahead(launcher, tools, name, config, 0).await
}

/// Starts the daemon with its clock `days` ahead, which needs a test build.
pub(crate) async fn start_ahead(
    launcher: &Launcher,
    tools: &Tools,
    name: &str,
    config: &Path,
    days: u32,
) -> Result<Process> {
    let ready_file = config.with_extension("ready");
    // The file of an earlier start; there may be none.
    drop(std::fs::remove_file(&ready_file));
    let spec = Spec::new(name, tools.find(Tool::StorageManager)?)
        .arg("tier")
        .arg("--config")
        .arg(config)
        .arg("--ready-file")
        .arg(&ready_file);
    let spec = match u64::from(days) * SECONDS_A_DAY {
        0 => spec,
        ahead => spec.env(CLOCK_AHEAD, ahead.to_string()),
    };
    let process = launcher.start(spec).await?;
    let ready =
        wait_until("the storage manager's start", READY_WITHIN, async || match process.ended() {
            Some(end) => Ok(Err(end)),
            None if ready_file.exists() => Ok(Ok(())),
            None => Err("it has not written its ready file".into()),
        });
    match ready.await {
        Ok(Ok(())) => Ok(process),
        Ok(Err(end)) => Err(failed("tier", &end, &process)),
        Err(error) => Err(Error::step(format!("{error}: {}", process.last_log()))),
    }
}

/// A command that ended by itself, with any status.
#[derive(Debug, Clone)]
pub struct Ended {
    /// Its exit status.
    pub status: i32,
    /// Its output.
    pub stdout: String,
    /// The last lines of its stderr, on one line.
    pub said: String,
    /// The highest resident memory that was sampled, in bytes.
    pub peak_rss: u64,
}

/// Runs a command to its end; fails unless it ends with status 0.
pub async fn run(
    launcher: &Launcher,
    tools: &Tools,
    name: &str,
    args: &[&str],
    config: &Path,
) -> Result<Ran> {
    let ended = attempt(launcher, tools, name, args, config).await?;
    ended.must_succeed(args)?;
    Ok(Ran { stdout: ended.stdout, peak_rss: ended.peak_rss })
}

/// Runs a command to its end and returns its status, zero or not.
pub async fn attempt(
    launcher: &Launcher,
    tools: &Tools,
    name: &str,
    args: &[&str],
    config: &Path,
) -> Result<Ended> {
    let out = launcher.log_path(name).with_extension("out");
    let mut spec = Spec::new(name, tools.find(Tool::StorageManager)?);
    spec.args.extend(args.iter().map(Into::into));
    spec = spec.arg("--config").arg(config);
    spec.out = Some(out.clone());
    let process = launcher.start(spec).await?;
    let mut peak_rss = 0;
    let end = loop {
        peak_rss = process.usage().map_or(peak_rss, |usage| usage.peak_rss.max(peak_rss));
        if let Ok(end) = tokio::time::timeout(SAMPLED_EVERY, process.wait()).await {
            break end;
        }
    };
    match end {
        End::Exit(status) => {
            let stdout = std::fs::read_to_string(&out);
            let stdout = stdout.step(|| format!("cannot read `{}`", out.display()))?;
            Ok(Ended { status, stdout, said: process.last_log(), peak_rss })
        }
        end => Err(failed(args.first().copied().unwrap_or_default(), &end, &process)),
    }
}

impl Ended {
    /// Fails unless it ended with status 0.
    pub fn must_succeed(&self, args: &[&str]) -> Result<()> {
        if self.status == 0 {
            return Ok(());
        }
        let command = args.first().copied().unwrap_or_default();
        let Self { status, said, .. } = self;
        Err(Error::step(format!(
            "`cim-storage-manager {command}` ended with exit status {status}: {said}"
        )))
    }
}

/// A fail point to arm.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Armed<'a> {
    /// Its name.
    pub(crate) point: &'a str,
    /// The pass on which it kills; 1 is the first.
    pub(crate) time: u32,
}

/// The end of a program that killed itself.
const KILLED: End = End::Signal(9);

/// Starts a command with a fail point armed, and waits until it has died there.
pub(crate) async fn crash(
    launcher: &Launcher,
    tools: &Tools,
    name: &str,
    (args, config): (&[&str], &Path),
    armed: Armed<'_>,
    within: Duration,
) -> Result<()> {
    let Armed { point, time } = armed;
    let mut spec = Spec::new(name, tools.find(Tool::StorageManager)?);
    spec.args.extend(args.iter().map(Into::into));
    spec = spec.arg("--config").arg(config).env(FAIL_POINT, format!("{point}:{time}"));
    let process = launcher.start(spec).await?;
    let end = tokio::time::timeout(within, process.wait()).await;
    let last = process.last_log();
    match end {
        // The log line tells it from another SIGKILL, such as that of a machine out of memory.
        Ok(end) if end == KILLED && last.contains(&format!("fail-point/{point}: ")) => Ok(()),
        Ok(end) => Err(Error::step(format!(
            "the storage manager ended with {end} and not at fail point `{point}`: {last}"
        ))),
        Err(_) => {
            process.kill().await;
            let seconds = within.as_secs_f64();
            Err(Error::step(format!(
                "fail point `{point}` was not reached within {seconds} s: {last}"
            )))
        }
    }
}

fn failed(command: &str, end: &End, process: &Process) -> Error {
    Error::step(format!("`cim-storage-manager {command}` ended with {end}: {}", process.last_log()))
}
