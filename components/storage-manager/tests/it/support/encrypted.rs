//! A lab whose archive is encrypted, and the keys for that.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use super::{Host, Lab, Manager, Nats, fingerprint, keys, write_secret};

pub(crate) const STREAMS: [&str; 2] = ["S", "T"];
/// Entries come often, and what is large is a segment of its own, which goes to Wasabi as it is.
pub(crate) const OFTEN: &str =
    "[segment]\nflush_age = \"30ms\"\nflush_size = \"256KiB\"\n[seal]\nsize = \"512KiB\"\n";

pub(crate) struct Encrypted {
    lab: Lab,
    /// Settings of how often it tiers.
    pub(crate) pace: &'static str,
}

impl Deref for Encrypted {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl DerefMut for Encrypted {
    fn deref_mut(&mut self) -> &mut Lab {
        &mut self.lab
    }
}

/// Returns `[archive.encryption]`: the key that writes, and others that read.
pub(crate) fn encryption(tiers: &str, key: Option<&Path>, more: &[&Path]) -> String {
    let key = key.map(|key| format!("key_file = \"{}\"\n", key.display())).unwrap_or_default();
    let more: Vec<_> = more.iter().map(|path| path.display().to_string()).collect();
    format!("[archive.encryption]\ntiers = \"{tiers}\"\n{key}more_key_files = {more:?}\n")
}

/// Makes an archive key, which another one recovers where that is given.
pub(crate) fn new_key(dir: &Path, name: &str, recovery: Option<&Path>) -> PathBuf {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cim-storage-manager"));
    command.env_clear().args(["key", "new"]);
    if let Some(recovery) = recovery {
        command.arg("--recovery").arg(recovery);
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let path = dir.join(name);
    write_secret(&path, &output.stdout);
    path
}

impl Encrypted {
    pub(crate) async fn start() -> Self {
        let lab = Lab::with().wasabi().layout("journal").start().await;
        for stream in STREAMS {
            lab.nats.create(stream, json!({})).await;
        }
        Self { lab, pace: OFTEN }
    }

    pub(crate) fn key(&self, name: &str, recovery: Option<&Path>) -> PathBuf {
        new_key(self.dir(), name, recovery)
    }

    /// Configures a manager of this host with what is said of encryption.
    pub(crate) fn with(&self, encryption: &str) -> Manager {
        self.with_of("host", &self.nats, encryption)
    }

    /// Configures a manager of another server with what is said of encryption.
    pub(crate) fn with_of(&self, name: &str, nats: &Nats, encryption: &str) -> Manager {
        self.manager_with(name, |settings| {
            settings.nats.clone_from(&nats.url);
            // The pace ends with the table of sealing.
            settings.more = format!("{}interval = \"200ms\"\n", self.pace);
            settings.archive = encryption.into();
        })
    }

    /// Starts a new host, and a manager with what is said of encryption.
    pub(crate) async fn new_host(&self, encryption: &str) -> Host {
        let name = format!("new-{}", uuid::Uuid::now_v7());
        let nats = Nats::start(&self.path(&name)).await;
        let manager = self.with_of(&name, &nats, encryption);
        Host { nats, manager }
    }

    /// Publishes, and waits until both tiers have it.
    pub(crate) async fn publish(&self, manager: &Manager, rounds: usize) {
        for _ in 0..rounds {
            for stream in STREAMS {
                self.nats.publish(stream, 12).await;
            }
            manager.has_all(&self.nats, &STREAMS).await;
        }
        manager.catches_up(&self.nats, &STREAMS, &["wasabi"]).await;
    }

    /// Publishes so much at once that a segment of its own comes of it; returns the segments' keys.
    pub(crate) async fn publish_much(&self, manager: &Manager) -> Vec<String> {
        let large = (0_u8..12).map(|n| (0..900_u32 << 10).map(|i| (i % 251) as u8 ^ n).collect());
        self.nats.put_all("s.large", large).await;
        manager.catches_up(&self.nats, &["S"], &["nas", "wasabi"]).await;
        let segments = keys(&self.bucket(), "v1/streams/S/segments/").await;
        assert!(!segments.is_empty(), "there is no segment of its own");
        segments
    }

    /// Returns all objects of a tier.
    pub(crate) async fn objects(&self, tier: &str) -> BTreeMap<String, Vec<u8>> {
        let bucket = if tier == "nas" { self.bucket() } else { self.wasabi_bucket() };
        let mut objects = BTreeMap::new();
        // A process that has ended may have left what it tried the service out with.
        let keys = keys(&bucket, "v").await.into_iter();
        for key in keys.filter(|key| !key.starts_with("v1/probe/")) {
            let object = bucket.get_object(&key).await.unwrap();
            objects.insert(key, object.into_bytes().to_vec());
        }
        objects
    }

    /// Returns the messages of the streams.
    pub(crate) async fn messages(&self) -> Vec<Value> {
        let mut messages = Vec::new();
        for stream in STREAMS {
            messages.push(fingerprint(&self.nats, stream).await["all"].clone());
        }
        messages
    }

    /// Asserts that a new host has these messages from either tier alone.
    pub(crate) async fn comes_back(&self, encryption: &str, before: &[Value]) {
        for tier in ["nas", "wasabi"] {
            let Host { nats, manager } = self.new_host(encryption).await;
            let verified = manager.json(&["verify", "--from", tier]);
            for stream in verified["streams"].as_array().unwrap() {
                assert_eq!(stream["problems"], json!([]), "{tier}: {verified}");
            }
            manager.json(&["restore", "--all", "--from", tier, "--no-fallback"]);
            for (stream, before) in STREAMS.iter().zip(before) {
                assert_eq!(&fingerprint(&nats, stream).await["all"], before, "{tier} {stream}");
            }
        }
    }
}
