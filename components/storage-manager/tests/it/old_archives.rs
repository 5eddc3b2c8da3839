//! Archives that older versions wrote (fixtures/archives) are read, come back exactly, and go on in a journal.

use std::io::Read as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cim_core::archive::Sha256;
use serde_json::{Value, json};

use crate::support::{Host, Lab, Manager, Nats, fingerprint, keys};

const QUICK: &str =
    "[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"200ms\"\n[collect]\ngrace = \"1s\"\n";

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/archives").join(name)
}

/// Puts the objects that are packed in a file into the bucket of a service.
async fn load(packed: &Path, bucket: &s3::Bucket) {
    let unpacked = zstd::stream::decode_all(std::fs::File::open(packed).unwrap()).unwrap();
    let mut objects = Vec::new();
    for entry in tar::Archive::new(unpacked.as_slice()).entries().unwrap() {
        let mut entry = entry.unwrap();
        if entry.header().entry_type().is_file() {
            let mut object = Vec::new();
            entry.read_to_end(&mut object).unwrap();
            objects.push((entry.path().unwrap().to_str().unwrap().to_owned(), object));
        }
    }
    for (key, object) in objects {
        let put = bucket.put_object(&key, &object).await.unwrap();
        assert_eq!(put.status_code(), 200, "{key}");
    }
}

/// Counts the objects of a bucket under a prefix.
async fn objects(bucket: &s3::Bucket, prefix: &str) -> usize {
    keys(bucket, prefix).await.len()
}

/// Without what a server says of itself, which differs from version to version.
fn plain(mut config: Value) -> Value {
    if let Some(metadata) = config["metadata"].as_object_mut() {
        metadata.retain(|key, _| !key.starts_with("_nats."));
        if metadata.is_empty() {
            config.as_object_mut().unwrap().remove("metadata");
        }
    }
    config
}

/// A stream in the form of `expected.json`.
async fn live(nats: &Nats, stream: &str) -> Value {
    let mut found = fingerprint(nats, stream).await;
    for message in found["all"].as_array_mut().unwrap() {
        if message.is_null() {
            continue;
        }
        let bytes = |field: &str| STANDARD.decode(message[field].as_str().unwrap_or_default());
        let mut plain = json!({
            "subject": message["subject"],
            "time": message["time"],
            "sha256": Sha256::of(&bytes("data").unwrap()),
        });
        if !message["hdrs"].is_null() {
            plain["headers"] = String::from_utf8(bytes("hdrs").unwrap()).unwrap().into();
        }
        *message = plain;
    }
    found["config"] = plain(found["config"].take());
    let consumers = found["consumers"].as_array_mut().unwrap();
    // The storage manager's own one.
    consumers.retain(|consumer| {
        let name = consumer["config"]["durable_name"].as_str();
        !name.is_some_and(|name| name.starts_with("cim-tier-"))
    });
    for consumer in consumers {
        consumer["config"] = plain(consumer["config"].take());
    }
    found
}

#[track_caller]
fn same(stream: &str, found: &Value, expected: &Value) {
    for (part, expected) in expected.as_object().unwrap() {
        assert_eq!(&found[part], expected, "`{part}` of `{stream}`");
    }
}

/// Two tiers that hold an archive of that time.
struct Old {
    lab: Lab,
    expected: Value,
}

impl Old {
    async fn load(name: &str) -> Self {
        let lab = Lab::with().wasabi().layout("journal").settings(QUICK).start().await;
        load(&fixture(name).join("nas.tar.zst"), &lab.bucket()).await;
        load(&fixture(name).join("wasabi.tar.zst"), &lab.wasabi_bucket()).await;
        let expected = std::fs::read(fixture(name).join("expected.json")).unwrap();
        Self { lab, expected: serde_json::from_slice(&expected).unwrap() }
    }

    fn streams(&self) -> Vec<&str> {
        self.expected["streams"].as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// It is what is expected, as far as a tier goes.
    fn is_read(&self, manager: &Manager) {
        for tier in ["nas", "wasabi"] {
            let held = manager.json(&["streams", "--from", tier]);
            let held = held["streams"].as_array().unwrap();
            assert_eq!(held.len(), self.streams().len(), "{tier}");
            for found in held {
                let expected = &self.expected["streams"][found["stream"].as_str().unwrap()];
                let timelines = found["timelines"].as_array().unwrap();
                assert_eq!(timelines.len(), expected["timelines"], "{tier}: {found}");
                assert_eq!(
                    timelines.last().unwrap()["last_seq"],
                    expected[tier],
                    "{tier}: {found}"
                );
            }
            manager.json(&["verify", "--from", tier]);
        }
    }

    /// What was left behind by a timeline comes back too.
    async fn earlier_timelines(&self, manager: &Manager, nats: &Nats) {
        for (stream, left) in self.expected["left"].as_object().unwrap() {
            let timeline = left["timeline"].to_string();
            manager.json(&[
                "restore",
                stream,
                "--timeline",
                &timeline,
                "--as",
                "LEFT",
                "--subjects",
                "left.>",
            ]);
            assert_eq!(live(nats, "LEFT").await["all"], left["live"]["all"], "{stream}");
            nats.api("STREAM.DELETE.LEFT", Value::Null).await;
        }
    }
}

/// Lost, restored, gone on with in a journal; lost again, restored from the NAS; lost with the NAS, restored
/// from Wasabi.
async fn goes_on(name: &str) {
    let mut old = Old::load(name).await;
    let Host { nats, manager } = old.lab.host("first").await;
    old.is_read(&manager);
    manager.json(&["restore", "--all"]);
    for stream in old.streams() {
        same(stream, &live(&nats, stream).await, &old.expected["streams"][stream]["live"]);
    }
    old.earlier_timelines(&manager, &nats).await;

    let chains = objects(&old.lab.bucket(), "v1/").await;
    let shipped = objects(&old.lab.wasabi_bucket(), "v1/").await;
    let daemon = manager.tier().await;
    let mut now = Vec::new();
    for stream in old.streams() {
        let last = old.expected["streams"][stream]["nas"].as_u64().unwrap();
        manager.reaches(stream, "nas", last).await;
        publish(&nats, stream, 6).await;
        manager.reaches(stream, "nas", last + 6).await;
        now.push(live(&nats, stream).await);
    }
    for stream in old.streams() {
        manager.reaches(stream, "wasabi", nats.last_seq(stream).await).await;
    }
    daemon.stop().await;
    assert!(objects(&old.lab.bucket(), "v1/").await <= chains, "nothing goes into chains any more");
    assert_eq!(objects(&old.lab.wasabi_bucket(), "v1/").await, shipped, "what wasabi has stays");
    for tier in ["nas", "wasabi"] {
        let held = manager.json(&["streams", "--from", tier]);
        for found in held["streams"].as_array().unwrap() {
            let expected = &old.expected["streams"][found["stream"].as_str().unwrap()];
            let timelines = found["timelines"].as_array().unwrap().len();
            assert_eq!(timelines, expected["timelines"], "no new timeline: {found}");
        }
        manager.json(&["verify", "--from", tier]);
    }
    refused(&old, &nats, "nas").await;
    drop(nats);

    let Host { nats, manager } = old.lab.host("second").await;
    manager.json(&["restore", "--all"]);
    for (stream, now) in old.streams().into_iter().zip(&now) {
        same(stream, &live(&nats, stream).await, now);
    }
    old.earlier_timelines(&manager, &nats).await;
    drop(nats);

    old.lab.lose_nas().await;
    let Host { nats, manager } = old.lab.host("third").await;
    manager.json(&["restore", "--all", "--from", "wasabi"]);
    for (stream, now) in old.streams().into_iter().zip(&now) {
        same(stream, &live(&nats, stream).await, now);
    }
    refused(&old, &nats, "wasabi").await;
    let daemon = manager.tier().await;
    let stream = old.streams()[0];
    publish(&nats, stream, 2).await;
    manager.reaches(stream, "nas", nats.last_seq(stream).await).await;
    manager.reaches(stream, "wasabi", nats.last_seq(stream).await).await;
    manager.becomes_whole("nas").await;
    daemon.stop().await;
    manager.becomes_whole("wasabi").await;
}

/// Publishes to one of a stream's own subjects.
async fn publish(nats: &Nats, stream: &str, count: usize) {
    let subjects = nats.info(stream).await["config"]["subjects"][0].clone();
    let subject = subjects.as_str().unwrap().replace('>', "new");
    for n in 0..count {
        let ack = nats.client.request(subject.clone(), format!("new {n}").into()).await.unwrap();
        let ack: Value = serde_json::from_slice(&ack.payload).unwrap();
        assert!(ack["error"].is_null(), "{ack}");
    }
}

/// A manager that writes chains does not begin a second history beside the journal.
async fn refused(old: &Old, nats: &Nats, tier: &str) {
    let back = old.lab.manager_with("back", |settings| {
        (settings.nats, settings.layout) = (nats.url.clone(), "chains".into());
    });
    let mut back = back.spawn(&["tier"]);
    back.ends().await;
    let output = back.output();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    let said = format!("error: {tier}: journal `main` holds stream `FORK`");
    let named = error.to_lowercase().contains(&said.to_lowercase());
    assert!(named && error.contains("`layout = \"journal\"`"), "{error}");
}

/// The NAS was lost before a journal was begun: what Wasabi's chains have is gone on with.
#[tokio::test(flavor = "multi_thread")]
async fn wasabis_chains_alone() {
    let mut old = Old::load("format-3").await;
    old.lab.lose_nas().await;
    let Host { nats, manager } = old.lab.host("first").await;
    manager.json(&["restore", "--all", "--from", "wasabi"]);
    for stream in old.streams() {
        let expected = &old.expected["streams"][stream];
        let last = expected["wasabi"].as_u64().unwrap();
        let found = live(&nats, stream).await;
        assert_eq!(found["last_seq"], last, "`{stream}`");
        // What follows, Wasabi had not got yet.
        let all = found["all"].as_array().unwrap();
        assert_eq!(all[..], expected["live"]["all"].as_array().unwrap()[..all.len()], "`{stream}`");
    }
    let daemon = manager.tier().await;
    let mut now = Vec::new();
    for stream in old.streams() {
        publish(&nats, stream, 4).await;
        now.push(live(&nats, stream).await);
        for tier in ["nas", "wasabi"] {
            manager.reaches(stream, tier, nats.last_seq(stream).await).await;
        }
    }
    manager.becomes_whole("nas").await;
    daemon.stop().await;
    drop(nats);

    for tier in ["nas", "wasabi"] {
        let Host { nats, manager } = old.lab.host(&format!("again-{tier}")).await;
        manager.json(&["restore", "--all", "--from", tier, "--no-fallback"]);
        for (stream, now) in old.streams().into_iter().zip(&now) {
            same(stream, &live(&nats, stream).await, now);
        }
        old.earlier_timelines(&manager, &nats).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn format_1() {
    goes_on("format-1").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn format_2() {
    goes_on("format-2").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn format_3() {
    goes_on("format-3").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn format_4() {
    goes_on("format-4").await;
}
