//! A lab: a host with nats-server and a storage manager, a NAS and, where a test needs it, Wasabi. All of it ends with
//! the test, failed ones included.

use std::marker::PhantomData;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cim_fake_wasabi::FakeWasabi;
use cim_storage_manager::s3::{Store, Tier};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    Cluster, Manager, Minio, Nas, Nats, Settings, Version, bucket_at, fake_s3, fake_s3_with,
    store_at, write_secret,
};

/// The lab of one test. Its NAS is a MinIO, or a service that fails on request.
pub(crate) struct Lab<N = Minio> {
    // Programs end before their folder goes.
    pub(crate) nats: Nats,
    /// Of the host; its name is `host`.
    pub(crate) manager: Manager,
    pub(crate) nas: N,
    wasabi: Option<FakeWasabi>,
    cluster: Option<Cluster>,
    settings: Settings,
    dir: TempDir,
}

/// A host beside the first one, with a server of its own that has no stream.
pub(crate) struct Host {
    pub(crate) nats: Nats,
    pub(crate) manager: Manager,
}

/// The parts that a lab is to have.
pub(crate) struct Builder<N> {
    own_nas: bool,
    wasabi: Option<bool>,
    cluster: bool,
    version: Version,
    server: String,
    login: Option<(&'static str, &'static str)>,
    layout: Option<String>,
    settings: String,
    s3: String,
    nas: PhantomData<N>,
}

impl Lab {
    /// Starts a host and a NAS.
    pub(crate) async fn start() -> Self {
        Self::with().start().await
    }

    /// Begins a lab that is more than that.
    pub(crate) fn with() -> Builder<Minio> {
        Builder {
            own_nas: false,
            wasabi: None,
            cluster: false,
            version: Version::Current,
            server: String::new(),
            login: None,
            layout: None,
            settings: String::new(),
            s3: String::new(),
            nas: PhantomData,
        }
    }
}

impl Builder<Minio> {
    /// A NAS that fails on request, in MinIO's place.
    pub(crate) fn faulty_nas(self) -> Builder<FakeWasabi> {
        let Self { own_nas, wasabi, cluster, version, server, login, .. } = self;
        let Self { layout, settings, s3, .. } = self;
        let nas = PhantomData;
        Builder { own_nas, wasabi, cluster, version, server, login, layout, settings, s3, nas }
    }

    /// A MinIO that no other test uses, with a bucket `archive`: it can be killed, and the test is its administrator.
    pub(crate) fn own_nas(self) -> Self {
        Self { own_nas: true, ..self }
    }
}

impl<N: Nas> Builder<N> {
    /// A Wasabi behind the NAS.
    pub(crate) fn wasabi(self) -> Self {
        Self { wasabi: Some(true), ..self }
    }

    /// A Wasabi that ignores `If-None-Match`, as Wasabi once did.
    pub(crate) fn wasabi_without_conditions(self) -> Self {
        Self { wasabi: Some(false), ..self }
    }

    /// A cluster of three servers in the place of the host's one.
    pub(crate) fn cluster(self) -> Self {
        Self { cluster: true, ..self }
    }

    /// Another version of nats-server; see [`Builder::start_if_there`].
    pub(crate) fn version(self, version: Version) -> Self {
        Self { version, ..self }
    }

    /// Further lines of nats-server's configuration.
    pub(crate) fn server(self, lines: impl Into<String>) -> Self {
        Self { server: lines.into(), ..self }
    }

    /// The user as which the storage manager logs in to NATS, and its password.
    pub(crate) fn login(self, user: &'static str, password: &'static str) -> Self {
        Self { login: Some((user, password)), ..self }
    }

    /// The archive's layout where the test is about one of them: `chains` or `journal`.
    pub(crate) fn layout(self, layout: &str) -> Self {
        Self { layout: Some(layout.into()), ..self }
    }

    /// Further tables of the storage manager's configuration.
    pub(crate) fn settings(self, tables: impl Into<String>) -> Self {
        Self { settings: tables.into(), ..self }
    }

    /// Further keys of `[secondary]` and `[tertiary]`.
    pub(crate) fn s3(self, keys: impl Into<String>) -> Self {
        Self { s3: keys.into(), ..self }
    }

    pub(crate) async fn start(self) -> Lab<N> {
        self.start_if_there().await.expect("the current nats-server is a must")
    }

    /// Starts it; `None`, said aloud, where the version of nats-server is not there and need not be.
    pub(crate) async fn start_if_there(self) -> Option<Lab<N>> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        let (nats, cluster) = if self.cluster {
            let cluster = Cluster::start(&path.join("host")).await;
            (cluster.connect().await, Some(cluster))
        } else {
            let host = path.join("host");
            (Nats::start_version(&host, self.version, &self.server).await?, None)
        };
        let nas = N::start(path, self.own_nas).await;
        let wasabi = match self.wasabi {
            Some(conditional_writes) => {
                let change = |config: &mut cim_fake_wasabi::Config| {
                    config.conditional_writes = conditional_writes;
                };
                Some(fake_s3_with(path, "wasabi", change).await)
            }
            None => None,
        };
        let urls = cluster.as_ref().map(|cluster| cluster.urls().join(","));
        let mut settings = Settings::new(&urls.unwrap_or_else(|| nats.url.clone()), &nas.url());
        settings.bucket = nas.bucket_name().into();
        settings.wasabi = wasabi.as_ref().map(FakeWasabi::s3_url);
        settings.layout = self.layout.unwrap_or(settings.layout);
        (settings.more, settings.s3) = (self.settings, self.s3);
        if let Some((user, password)) = self.login {
            settings.login = login(path, user, password);
        }
        let manager = Manager::new(path, "host", &settings);
        Some(Lab { nats, manager, nas, wasabi, cluster, settings, dir })
    }
}

impl Lab {
    /// Loses the NAS: an empty one takes its place, and the host's storage manager is configured for that.
    pub(crate) async fn lose_nas(&mut self) {
        self.nas = if self.nas.is_own() {
            self.nas.kill();
            Minio::own(&self.path(&format!("nas-{}", uuid::Uuid::now_v7()))).await
        } else {
            Minio::shared().await
        };
        let (nas, bucket) = (self.nas.url(), self.nas.bucket_name().to_owned());
        self.configure(|settings| (settings.nas, settings.bucket) = (nas, bucket));
    }
}

impl<N: Nas> Lab<N> {
    /// Loses Wasabi: an empty one takes its place, and the host's storage manager is configured for that.
    pub(crate) async fn lose_wasabi(&mut self) {
        self.wasabi.take().expect("the lab has a Wasabi").shutdown().await;
        let name = format!("wasabi-{}", uuid::Uuid::now_v7());
        let wasabi = fake_s3(self.dir(), &name).await;
        self.configure(|settings| settings.wasabi = Some(wasabi.s3_url()));
        self.wasabi = Some(wasabi);
    }
}

/// Returns the keys of `[nats]` for a user, and writes its password.
pub(crate) fn login(dir: &Path, user: &str, password: &str) -> String {
    let file = dir.join(format!("{user}.password"));
    write_secret(&file, password.as_bytes());
    format!("user = \"{user}\"\npassword_file = \"{}\"\n", file.display())
}

impl<N: Nas> Lab<N> {
    /// Returns the folder of the lab.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Returns a path in the folder of the lab.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir().join(name)
    }

    pub(crate) fn wasabi(&self) -> &FakeWasabi {
        self.wasabi.as_ref().expect("the lab has a Wasabi")
    }

    pub(crate) fn cluster(&self) -> &Cluster {
        self.cluster.as_ref().expect("the lab has a cluster")
    }

    /// Returns what the host's storage manager is configured with.
    pub(crate) fn settings(&self) -> Settings {
        self.settings.clone()
    }

    /// Replaces the host's storage manager by one with other settings.
    pub(crate) fn configure(&mut self, change: impl FnOnce(&mut Settings)) {
        change(&mut self.settings);
        self.manager = Manager::new(self.dir.path(), "host", &self.settings);
    }

    /// Crashes the host's server, does something to the files of its streams, and starts it on the same disk. It has another
    /// address then, for which the host's storage manager is configured.
    pub(crate) async fn crash_nats(&mut self, between: impl FnOnce(&Path)) {
        self.nats.crash_and_start_after(between).await;
        let url = self.nats.url.clone();
        self.configure(|settings| settings.nats = url);
    }

    /// Configures a storage manager of this name with the host's settings, changed.
    pub(crate) fn manager_with(&self, name: &str, change: impl FnOnce(&mut Settings)) -> Manager {
        let mut settings = self.settings();
        change(&mut settings);
        Manager::new(self.dir(), name, &settings)
    }

    /// Configures a storage manager of this name for another server.
    pub(crate) fn manager_of(&self, name: &str, nats: &Nats) -> Manager {
        Manager::new(self.dir(), name, &self.settings.of(&nats.url))
    }

    /// Starts another host with the same settings.
    pub(crate) async fn host(&self, name: &str) -> Host {
        self.host_with(name, "").await
    }

    /// The same with further lines of nats-server's configuration.
    pub(crate) async fn host_with(&self, name: &str, server: &str) -> Host {
        let nats = Nats::start_with(&self.path(name), server).await;
        let manager = self.manager_of(name, &nats);
        Host { nats, manager }
    }

    /// The same with another version of nats-server; `None`, said aloud, where it is not there and need not be.
    pub(crate) async fn host_of(&self, name: &str, version: Version) -> Option<Host> {
        let nats = Nats::start_version(&self.path(name), version, "").await?;
        let manager = self.manager_of(name, &nats);
        Some(Host { nats, manager })
    }

    /// Restores all from one tier alone, on a new host; returns that, and what the restore says.
    pub(crate) async fn restored_from(&self, tier: &str, more: &[&str]) -> (Host, Value) {
        let host = self.host(&format!("from-{tier}-{}", uuid::Uuid::now_v7())).await;
        let all = ["restore", "--all", "--from", tier, "--no-fallback"];
        let report = host.manager.json(&[&all[..], more].concat());
        (host, report)
    }

    /// Archives a stream as three segments of 20 messages, and deletes it.
    pub(crate) async fn lose_three_segments(&self, stream: &str) {
        self.nats.create(stream, json!({})).await;
        let daemon = self.manager.tier().await;
        for target in [20, 40, 60] {
            self.nats.publish(stream, 20).await;
            self.manager.reaches(stream, "nas", target).await;
        }
        daemon.stop().await;
        self.nats.delete_stream(stream).await;
    }

    /// Opens the NAS's bucket as any client.
    pub(crate) fn bucket(&self) -> Box<s3::Bucket> {
        bucket_at(&self.nas.url(), self.nas.bucket_name())
    }

    /// Opens Wasabi's bucket as any client.
    pub(crate) fn wasabi_bucket(&self) -> Box<s3::Bucket> {
        bucket_at(&self.wasabi().s3_url(), "archive")
    }

    /// Opens the NAS's bucket as the storage manager does.
    pub(crate) fn store(&self) -> Arc<Store> {
        store_at(Tier::Nas, self.dir(), &self.nas.url(), self.nas.bucket_name())
    }

    /// Opens Wasabi's bucket as the storage manager does.
    pub(crate) fn wasabi_store(&self) -> Arc<Store> {
        store_at(Tier::Wasabi, self.dir(), &self.wasabi().s3_url(), "archive")
    }
}
