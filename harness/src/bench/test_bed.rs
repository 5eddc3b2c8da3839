//! The programs under a benchmark: nats-server and MinIO on loopback, with nothing between.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::error::{Context as _, Result};
use crate::lab::http;
use crate::lab::nats::{self, Nats};
use crate::lab::process::{Launcher, Process};
use crate::lab::s3::{self, Access, Service};
use crate::lab::storage_manager::{Config, merge};
use crate::lab::tools::Tools;
use crate::progress::Progress;
use crate::rundir::RunDir;

pub(super) struct TestBed<'a> {
    pub(super) tools: Tools,
    pub(super) launcher: Launcher,
    pub(super) progress: &'a Progress,
    dir: PathBuf,
    started: AtomicU32,
}

/// A host and its NAS, new and empty.
pub(super) struct Host {
    pub(super) nats: Nats,
    pub(super) nas: Service,
    pub(super) dir: PathBuf,
}

impl<'a> TestBed<'a> {
    pub(super) fn new(tools: Tools, dir: &RunDir, progress: &'a Progress) -> Result<Self> {
        let launcher = Launcher::new(&tools, &dir.logs())?;
        Ok(Self { tools, launcher, progress, dir: dir.disks(), started: AtomicU32::new(0) })
    }

    /// Returns a unique process name; a process's output is appended to files of its name.
    pub(super) fn unique(&self, name: &str) -> String {
        format!("{name}-{}", self.started.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) async fn host(&self, name: &str) -> Result<Host> {
        self.host_with(name, "").await
    }

    /// Starts a host with additions to nats-server's configuration.
    pub(super) async fn host_with(&self, name: &str, extra: &str) -> Result<Host> {
        let dir = self.dir.join(name);
        let options = nats::Options {
            name: format!("{name}-nats"),
            server_name: name.to_owned(),
            dir: dir.join("nats"),
            port: None,
            sync_interval: None,
            joined: nats::Joined::default(),
            extra: extra.to_owned(),
        };
        let nats = Nats::start(&self.launcher, &self.tools, &options).await?;
        let options = s3::Options {
            seed: 0,
            name: format!("{name}-nas"),
            kind: s3::Kind::Minio,
            dir: dir.join("nas"),
            bucket: "cim-archive".into(),
            credentials: None,
        };
        let nas = Service::start(&self.launcher, &self.tools, &options).await?;
        Ok(Host { nats, nas, dir })
    }
}

impl Host {
    /// Writes a storage manager's configuration file for this host, with defaults.
    pub(super) fn config(&self, nats_url: &str) -> Result<PathBuf> {
        self.config_with(nats_url, None, &toml::Table::new())
    }

    /// Writes one with a third tier and more keys, which win.
    pub(super) fn config_with(
        &self,
        nats_url: &str,
        tertiary: Option<Access>,
        more: &toml::Table,
    ) -> Result<PathBuf> {
        let mut overrides = toml::Table::new();
        overrides.insert("archive".into(), table("layout", layout()));
        merge(&mut overrides, more);
        let config = Config {
            node: "bench".into(),
            nats_url: nats_url.into(),
            secondary: self.nas.access.clone(),
            tertiary,
            overrides,
        };
        config.write(&self.dir)
    }

    pub(super) async fn client(&self) -> Result<async_nats::Client> {
        let options = async_nats::ConnectOptions::new()
            .request_timeout(Some(Duration::from_secs(30)))
            .subscription_capacity(1 << 20);
        options.connect(self.nats.url()).await.setup(|| "cannot connect to nats-server".into())
    }

    /// Returns the processor seconds of its servers and of a storage manager.
    pub(super) fn cpu(&self, manager: &Process) -> BTreeMap<String, f64> {
        cpu([
            ("nats-server", &self.nats.process),
            ("minio", &self.nas.process),
            ("storage manager", manager),
        ])
    }

    /// Returns the messages that clients have sent to nats-server since it started: publishes and
    /// requests.
    pub(super) async fn sent(&self) -> Result<u64> {
        #[derive(serde::Deserialize)]
        struct Vars {
            in_msgs: u64,
        }
        let cannot = || "cannot ask nats-server for its count of messages".to_owned();
        let limit = Duration::from_secs(5);
        let answer = http::request(self.nats.monitor, "GET", "/varz", "", limit).await;
        let vars: Vars = serde_json::from_str(&answer.step(cannot)?.body).step(cannot)?;
        Ok(vars.in_msgs)
    }

    /// Ends it and deletes its disk.
    pub(super) async fn end(self) -> Result<()> {
        self.nats.process.kill().await;
        self.nas.process.kill().await;
        std::fs::remove_dir_all(&self.dir)
            .setup(|| format!("cannot remove `{}`", self.dir.display()))
    }
}

/// Returns the layout of rows that do not name one: that of `CIM_LAYOUT`.
pub(super) fn layout() -> String {
    std::env::var("CIM_LAYOUT").unwrap_or_else(|_| "journal".into())
}

/// Returns a table of the configuration with one key.
pub(super) fn table(key: &str, value: impl Into<toml::Value>) -> toml::Value {
    toml::Table::from_iter([(key.to_owned(), value.into())]).into()
}

/// Returns the processor seconds used since `before` was taken.
pub(super) fn since(
    before: &BTreeMap<String, f64>,
    mut now: BTreeMap<String, f64>,
) -> BTreeMap<String, f64> {
    for (name, seconds) in &mut now {
        *seconds -= before.get(name).unwrap_or(&0.0);
    }
    now
}

/// Returns the processor seconds of several programs; the difference of two calls is the use
/// between them.
pub(super) fn cpu<'p>(
    processes: impl IntoIterator<Item = (&'p str, &'p Process)>,
) -> BTreeMap<String, f64> {
    processes
        .into_iter()
        .filter_map(|(name, process)| Some((name.to_owned(), process.usage()?.cpu_seconds)))
        .collect()
}
