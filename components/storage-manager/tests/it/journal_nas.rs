//! A NAS that forgot what it had confirmed: its newest objects are gone, or all that came after a moment, as
//! when a snapshot of it is brought back. Nothing is lost or doubled at either tier.

use std::path::{Path, PathBuf};
use std::process::Command;

use cim_fake_wasabi::FakeWasabi;
use serde_json::json;

use crate::bad_input::bucket;
use crate::support::{Manager, Minio, Nats, Settings, fake_s3, fingerprint, wait_until};

struct Lab {
    dir: tempfile::TempDir,
    wasabi: FakeWasabi,
    minio: Minio,
    nats: Nats,
    manager: Manager,
}

fn settings(nats: &Nats, nas: &str, wasabi: &FakeWasabi) -> Settings {
    let mut settings = Settings::new(&nats.url, nas);
    settings.layout = "journal".into();
    settings.wasabi = Some(wasabi.s3_url());
    settings.more = "[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"200ms\"\n".into();
    settings
}

const STREAMS: [&str; 2] = ["S", "T"];

impl Lab {
    async fn start() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let wasabi = fake_s3(dir.path(), "wasabi").await;
        let minio = Minio::start(dir.path()).await;
        let nats = Nats::start(&dir.path().join("host")).await;
        for stream in STREAMS {
            nats.create(stream, json!({})).await;
        }
        let manager = Manager::new(dir.path(), "host", &settings(&nats, &minio.url, &wasabi));
        Self { dir, wasabi, minio, nats, manager }
    }

    async fn publish(&self, rounds: usize) {
        for _ in 0..rounds {
            for stream in STREAMS {
                self.nats.publish(stream, 5).await;
            }
        }
    }

    /// Both tiers are as far as the streams.
    async fn arrives(&self) {
        for stream in STREAMS {
            let last = self.nats.last_seq(stream).await;
            self.manager.reaches(stream, "nas", last).await;
            self.manager.reaches(stream, "wasabi", last).await;
        }
    }

    /// A copy of the NAS's bucket.
    fn snapshot(&self) -> PathBuf {
        let to = self.minio.data.with_file_name("snapshot");
        copy(&self.minio.data.join("archive"), &to);
        to
    }

    /// Puts the snapshot in the place of the bucket.
    fn roll_back(&self, snapshot: &Path) {
        self.minio.replace();
        for layout in ["v1", "v2"] {
            let from = snapshot.join(layout);
            if from.exists() {
                std::fs::rename(from, self.minio.data.join("archive").join(layout)).unwrap();
            }
        }
    }

    /// The host is lost: what each tier brings back is what was there.
    async fn brings_all_back(self) {
        let Self { dir, wasabi, minio, nats, manager } = self;
        for tier in ["nas", "wasabi"] {
            wait_until("every object is there", async || {
                let output = manager.run(&["verify", "--from", tier]);
                if output.status.success() { Ok(()) } else { Err(format!("{tier}: {output:?}")) }
            })
            .await;
            let report = manager.json(&["verify", "--from", tier]);
            for (index, stream) in STREAMS.iter().enumerate() {
                let found = &report["streams"][index];
                assert_eq!(found["messages"], nats.last_seq(stream).await, "{tier}: {report}");
                assert_eq!(found["lacking"], 0, "{tier}: {report}");
            }
            let held = manager.json(&["streams", "--from", tier]);
            for stream in held["streams"].as_array().unwrap() {
                assert_eq!(stream["timelines"].as_array().unwrap().len(), 1, "{tier}: {held}");
            }
        }
        let mut before = Vec::new();
        for stream in STREAMS {
            before.push(fingerprint(&nats, stream).await);
        }
        drop(nats);
        for tier in ["nas", "wasabi"] {
            let nats = Nats::start(&dir.path().join(format!("new-{tier}"))).await;
            let manager = Manager::new(dir.path(), "new", &settings(&nats, &minio.url, &wasabi));
            manager.json(&["restore", "--all", "--from", tier, "--no-fallback"]);
            for (stream, before) in STREAMS.iter().zip(&before) {
                assert_eq!(
                    fingerprint(&nats, stream).await["all"],
                    before["all"],
                    "{tier} {stream}"
                );
            }
        }
    }
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn its_newest_entries_are_gone() {
    let lab = Lab::start().await;
    let daemon = lab.manager.tier().await;
    for _ in 0..4 {
        lab.publish(2).await;
        lab.arrives().await;
    }
    daemon.stop().await;
    for part in ["/v2/journal/main/entries/", "/v2/tertiary/main/entries/"] {
        let mut objects: Vec<PathBuf> =
            lab.minio.files(part).iter().map(|file| file.parent().unwrap().into()).collect();
        objects.dedup();
        assert!(objects.len() >= 3, "{objects:?}");
        for object in &objects[objects.len() - 2..] {
            std::fs::remove_dir_all(object).unwrap();
        }
    }
    let daemon = lab.manager.tier().await;
    lab.publish(2).await;
    lab.arrives().await;
    daemon.stop().await;
    lab.brings_all_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_rolled_back_at_rest_behind_a_merge() {
    let lab = Lab::start().await;
    let daemon = lab.manager.tier().await;
    lab.publish(2).await;
    lab.arrives().await;
    daemon.stop().await;
    let snapshot = lab.snapshot();
    let daemon = lab.manager.tier().await;
    wait_until("entries are merged", async || {
        lab.publish(1).await;
        let merged = lab.minio.files("/v2/journal/main/shared/").len();
        if merged > 0 { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    lab.arrives().await;
    daemon.stop().await;
    lab.roll_back(&snapshot);
    let daemon = lab.manager.tier().await;
    lab.publish(2).await;
    lab.arrives().await;
    daemon.stop().await;
    lab.brings_all_back().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_rolled_back_under_load() {
    let lab = Lab::start().await;
    let daemon = lab.manager.tier().await;
    lab.publish(2).await;
    lab.arrives().await;
    daemon.stop().await;
    let snapshot = lab.snapshot();
    let daemon = lab.manager.tier().await;
    lab.publish(20).await;
    lab.arrives().await;
    let roll_back = async {
        lab.manager.reaches("S", "nas", 160).await;
        lab.roll_back(&snapshot);
    };
    tokio::join!(lab.publish(40), roll_back);
    lab.arrives().await;
    // It may hear of it only when it looks.
    wait_until("it has begun anew", async || {
        let log = daemon.log();
        if log.contains("starting again from the archive") { Ok(()) } else { Err(log) }
    })
    .await;
    lab.arrives().await;
    daemon.stop().await;
    lab.brings_all_back().await;
}

/// Replaced while nothing happens: what was there comes back without a next message.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_rolled_back_while_nothing_happens() {
    let lab = Lab::start().await;
    let daemon = lab.manager.tier().await;
    lab.publish(2).await;
    lab.arrives().await;
    daemon.stop().await;
    let snapshot = lab.snapshot();
    let daemon = lab.manager.tier().await;
    lab.publish(10).await;
    lab.arrives().await;
    wait_until("nothing is being committed", async || {
        let entries = || lab.minio.files("/v2/").len();
        let before = entries();
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        if entries() == before { Ok(()) } else { Err("an entry".to_owned()) }
    })
    .await;
    lab.roll_back(&snapshot);
    wait_until("it has begun anew", async || {
        let log = daemon.log();
        if log.contains("starting again from the archive") { Ok(()) } else { Err(log) }
    })
    .await;
    lab.arrives().await;
    daemon.stop().await;
    lab.brings_all_back().await;
}

/// An entry of one tier's journal is damaged: the other tier's has all of it, and tiering to a tier that is
/// whole goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_damaged_at_one_tier_comes_back_from_the_other() {
    let lab = Lab::start().await;
    let daemon = lab.manager.tier().await;
    for _ in 0..3 {
        lab.publish(2).await;
        lab.arrives().await;
    }
    daemon.stop().await;
    let mut before = Vec::new();
    for stream in STREAMS {
        before.push(fingerprint(&lab.nats, stream).await);
    }
    let Lab { dir, wasabi, minio, nats, manager } = lab;
    for (tier, other, url, prefix) in [
        ("nas", "wasabi", &minio.url, "v2/journal/main/entries/"),
        ("wasabi", "nas", &wasabi.s3_url(), "v2/tertiary/main/entries/"),
    ] {
        let bucket = bucket(url);
        let pages = bucket.list(prefix.into(), None).await.unwrap();
        let key = pages[0].contents[1].key.clone();
        let whole = bucket.get_object(&key).await.unwrap().into_bytes();
        bucket.put_object(&key, &whole[..whole.len() / 2]).await.unwrap();
        let spare = Nats::start(&dir.path().join(format!("without-{tier}"))).await;
        let name = format!("without-{tier}");
        let new = Manager::new(dir.path(), &name, &settings(&spare, &minio.url, &wasabi));
        for command in ["verify", "streams", "restore"] {
            let all: &[&str] = if command == "restore" { &["--all"] } else { &[] };
            let (status, error) = new.error(&[&[command, "--from", tier], all].concat());
            assert_eq!(status, 5, "{tier} {command}: {error}");
            assert!(error.contains(&key), "{tier} {command}: {error}");
        }
        new.json(&["restore", "--all", "--from", other]);
        for (stream, before) in STREAMS.iter().zip(&before) {
            assert_eq!(&fingerprint(&spare, stream).await, before, "{other} {stream}");
        }
        if tier == "wasabi" {
            let daemon = manager.tier().await;
            nats.publish("S", 5).await;
            let last = nats.last_seq("S").await;
            wait_until("the nas has it", async || {
                let held = manager.json(&["streams"]);
                let reached = &held["streams"][0]["timelines"][0]["last_seq"];
                if *reached == last { Ok(()) } else { Err(held.to_string()) }
            })
            .await;
            wait_until("the log names the entry", async || {
                let log = daemon.log();
                if log.contains(&key) { Ok(()) } else { Err(log) }
            })
            .await;
            daemon.stop().await;
        }
        bucket.put_object(&key, &whole).await.unwrap();
    }
}
