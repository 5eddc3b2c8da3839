//! What a benchmark runs on: nats-server and MinIO on loopback, with nothing between.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::error::Result;
use crate::lab::nats::{self, Nats};
use crate::lab::process::{Launcher, Process};
use crate::lab::s3::{self, Service};
use crate::lab::storage_manager::Config;
use crate::lab::tools::Tools;
use crate::progress::Progress;
use crate::rundir::RunDir;

pub(super) struct Bed<'a> {
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

impl<'a> Bed<'a> {
    pub(super) fn new(tools: Tools, dir: &RunDir, progress: &'a Progress) -> Result<Self> {
        let launcher = Launcher::new(&tools, &dir.logs())?;
        Ok(Self { tools, launcher, progress, dir: dir.disks(), started: AtomicU32::new(0) })
    }

    /// A process's name; what programs print is appended to files of their names.
    pub(super) fn unique(&self, name: &str) -> String {
        format!("{name}-{}", self.started.fetch_add(1, Ordering::Relaxed))
    }

    pub(super) async fn host(&self, name: &str) -> Result<Host> {
        let dir = self.dir.join(name);
        let options = nats::Options {
            name: format!("{name}-nats"),
            server_name: name.to_owned(),
            dir: dir.join("nats"),
            port: None,
            sync_interval: None,
            joined: nats::Joined::default(),
            extra: String::new(),
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
    /// A storage manager's configuration file for this host, as it is by default.
    pub(super) fn config(&self, nats_url: &str) -> Result<PathBuf> {
        let config = Config {
            node: "bench".into(),
            nats_url: nats_url.into(),
            secondary: self.nas.access.clone(),
            tertiary: None,
            overrides: toml::Table::new(),
        };
        config.write(&self.dir)
    }

    pub(super) async fn client(&self) -> Result<async_nats::Client> {
        use crate::error::Context as _;
        let options = async_nats::ConnectOptions::new()
            .request_timeout(Some(Duration::from_secs(30)))
            .subscription_capacity(1 << 20);
        options.connect(self.nats.url()).await.setup(|| "cannot connect to nats-server".into())
    }

    /// Ends it and gives its disk back.
    pub(super) async fn end(self) -> Result<()> {
        use crate::error::Context as _;
        self.nats.process.kill().await;
        self.nas.process.kill().await;
        std::fs::remove_dir_all(&self.dir)
            .setup(|| format!("cannot remove `{}`", self.dir.display()))
    }
}

/// Processor seconds of several programs; taken twice, their difference is what was used between.
pub(super) fn cpu<'p>(
    processes: impl IntoIterator<Item = (&'p str, &'p Process)>,
) -> BTreeMap<String, f64> {
    processes
        .into_iter()
        .filter_map(|(name, process)| Some((name.to_owned(), process.usage()?.cpu_seconds)))
        .collect()
}
