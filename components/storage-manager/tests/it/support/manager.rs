//! The storage manager's binary.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{Child, Nats, SECRET, USER, credentials_file, wait_until};

/// What goes into the configuration file.
pub(crate) struct Settings {
    pub(crate) nats: String,
    pub(crate) nas: String,
    pub(crate) wasabi: Option<String>,
    /// On both.
    pub(crate) bucket: String,
    /// `chains` or `journal`.
    pub(crate) layout: String,
    /// More keys of `[nats]`.
    pub(crate) login: String,
    /// More keys of `[secondary]` and `[tertiary]`.
    pub(crate) s3: String,
    /// More keys of `[archive]`.
    pub(crate) archive: String,
    pub(crate) more: String,
}

impl Settings {
    pub(crate) fn new(nats: &str, nas: &str) -> Self {
        Self {
            nats: nats.into(),
            nas: nas.into(),
            wasabi: None,
            bucket: "archive".into(),
            // Most tests hold for both.
            layout: std::env::var("CIM_LAYOUT").unwrap_or_else(|_| "journal".into()),
            login: String::new(),
            s3: String::new(),
            archive: String::new(),
            more: String::new(),
        }
    }
}

pub(crate) struct Manager {
    config: PathBuf,
    dir: PathBuf,
}

pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Manager {
    pub(crate) fn new(dir: &Path, name: &str, settings: &Settings) -> Self {
        let credentials = credentials_file(dir, &format!("{name}.env"), USER, SECRET);
        let table = |tier: &str, url: &str| {
            format!(
                "[{tier}]\nendpoint = \"{url}\"\nbucket = \"{}\"\ncredentials_file = \"{}\"\ntimeout = \"5s\"\n{}",
                settings.bucket,
                credentials.display(),
                settings.s3
            )
        };
        let wasabi = settings.wasabi.as_ref().map(|url| table("tertiary", url)).unwrap_or_default();
        let layout = format!("[archive]\nlayout = \"{}\"\n{}", settings.layout, settings.archive);
        let text = format!(
            "[node]\nname = \"{name}\"\n[nats]\nurl = \"{}\"\n{}{}{wasabi}{}{layout}",
            settings.nats,
            settings.login,
            table("secondary", &settings.nas),
            settings.more
        );
        let config = dir.join(format!("{name}.toml"));
        std::fs::write(&config, text).unwrap();
        Self { config, dir: dir.into() }
    }

    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cim-storage-manager"));
        command.env_clear().arg("--config").arg(&self.config);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(["--log", "warn"]).args(arguments).output().unwrap()
    }

    /// Starts a command and leaves it running.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> std::process::Child {
        let mut command = self.command();
        command.args(["--log", "warn"]).args(arguments);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    }

    /// Runs a command that must succeed; its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        assert!(
            output.status.success(),
            "{arguments:?}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command that must fail: its status and its one line.
    pub(crate) fn error(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?} should fail");
        let errors: Vec<_> = stderr.lines().filter(|l| l.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "one line says what is wrong: {stderr}");
        (output.status.code().unwrap(), errors[0].into())
    }

    pub(crate) async fn tier(&self) -> Daemon {
        let ready = self.dir.join(format!("ready-{}", uuid::Uuid::now_v7()));
        let log = self.config.with_extension("log");
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut command = self.command();
        command.arg("tier").arg("--ready-file").arg(&ready);
        let mut child = Child(command.stdout(Stdio::null()).stderr(file).spawn().unwrap());
        wait_until("the storage manager is ready", async || {
            if let Some(status) = child.0.try_wait().unwrap() {
                panic!("it ended with {status}: {}", std::fs::read_to_string(&log).unwrap());
            }
            if ready.exists() { Ok(()) } else { Err(std::fs::read_to_string(&log).unwrap()) }
        })
        .await;
        Daemon { child, log }
    }

    /// Waits until a tier's watermark has reached a sequence and the stream's positions are in.
    pub(crate) async fn reaches(&self, stream: &str, tier: &str, seq: u64) {
        wait_until(&format!("`{stream}` is on {tier} up to {seq}"), async || {
            // A tier that was just replaced may have nothing that can be read.
            let output = self.run(&["status", "--json"]);
            if !output.status.success() {
                return Err(String::from_utf8_lossy(&output.stderr).into_owned());
            }
            let status: Value = serde_json::from_slice(&output.stdout).unwrap();
            let found =
                status["streams"].as_array().unwrap().iter().find(|s| s["stream"] == stream);
            // A tier may still have another timeline, which goes further.
            let reached = found.map(|s| &s[tier]).filter(|tier| tier["diverged"].is_null());
            match reached.map(|tier| tier["seq"].as_u64().unwrap_or_default()) {
                Some(reached) if reached >= seq => Ok(()),
                _ => Err(format!("{found:?}")),
            }
        })
        .await;
    }
}

impl Manager {
    /// Waits until the NAS has all that these streams have now.
    pub(crate) async fn has_all(&self, nats: &Nats, streams: &[&str]) {
        let mut ends = BTreeMap::new();
        for stream in streams {
            ends.insert(*stream, nats.last_seq(stream).await);
        }
        wait_until("all is on the NAS", async || {
            let output = self.run(&["status", "--json"]);
            let said = || String::from_utf8_lossy(&output.stderr).into_owned();
            let status: Value = serde_json::from_slice(&output.stdout).map_err(|_| said())?;
            let shown = status["streams"].as_array().unwrap().iter();
            let there = shown.filter(|shown| {
                let end = shown["stream"].as_str().and_then(|stream| ends.get(stream));
                end.is_some_and(|end| shown["nas"]["seq"].as_u64() >= Some(*end))
            });
            if there.count() == ends.len() { Ok(()) } else { Err(status.to_string()) }
        })
        .await;
    }
}

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.child.0.id()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// SIGTERM: it flushes what there is and ends well.
    pub(crate) async fn stop(mut self) {
        let pid = self.child.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let status = wait_until("the storage manager ends", async || {
            self.child.0.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
        })
        .await;
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Stops it in the middle of what it does, until it is thawed.
    pub(crate) fn freeze(&self) {
        self.signal("-STOP");
    }

    pub(crate) fn thaw(&self) {
        self.signal("-CONT");
    }

    fn signal(&self, name: &str) {
        let pid = self.pid().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    }

    /// kill -9
    pub(crate) fn kill(self) {
        drop(self);
    }
}
