//! What comes back is what was there.

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::support::{Manager, Minio, Nats, Settings, Version, fingerprint};

/// Streams of many kinds, tiered, the host lost, restored: the same to the last header byte.
async fn round_trip(version: Version) {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let Some(nats) = Nats::start_version(&dir.path().join("host"), version).await else { return };
    let mut streams = vec!["PLAIN", "GAPS", "KV", "PURGED", "EMPTY", "TAIL", "WORK"];
    nats.create(
        "PLAIN",
        json!({ "description": "kept to the letter", "duplicate_window": 60_000_000_000_u64 }),
    )
    .await;
    nats.create("GAPS", json!({})).await;
    nats.create("KV", json!({ "max_msgs_per_subject": 1, "allow_rollup_hdrs": true })).await;
    nats.create("PURGED", json!({})).await;
    nats.create("EMPTY", json!({})).await;
    nats.create("TAIL", json!({})).await;
    nats.create("WORK", json!({ "retention": "workqueue" })).await;
    if version == Version::Current {
        nats.create("MEMORY", json!({ "storage": "memory" })).await;
        nats.create("SQUEEZED", json!({ "compression": "s2", "allow_msg_ttl": true })).await;
        streams.extend(["MEMORY", "SQUEEZED"]);
    }
    let settings = Settings::new(&nats.url, &minio.url);
    let manager = Manager::new(dir.path(), "host", &settings);
    let daemon = manager.tier().await;
    for stream in &streams {
        nats.publish(stream, 120).await;
    }
    for consumer in ["untouched", "halfway", "done"] {
        let body = json!({ "stream_name": "PLAIN", "config": { "durable_name": consumer, "ack_policy": "explicit", "max_ack_pending": 500 } });
        nats.api(&format!("CONSUMER.DURABLE.CREATE.PLAIN.{consumer}"), body).await;
    }
    acknowledge(&nats, "halfway", 50).await;
    acknowledge(&nats, "done", 120).await;
    for stream in &streams {
        manager.reaches(stream, "nas", nats.last_seq(stream).await).await;
    }
    // Deletes after the fact: what is in a segment already must not come back.
    nats.delete("GAPS", &[1, 2, 50, 51, 52, 90]).await;
    nats.delete("TAIL", &[119, 120]).await;
    nats.api("STREAM.PURGE.PURGED", json!({ "seq": 77 })).await;
    nats.api("STREAM.PURGE.EMPTY", json!({})).await;
    let mut before = Vec::new();
    for stream in &streams {
        before.push(fingerprint(&nats, stream).await);
    }
    daemon.stop().await;
    drop(nats);

    let nats =
        Nats::start_version(&dir.path().join("new"), version).await.expect("it was there before");
    let manager = Manager::new(dir.path(), "new", &Settings::new(&nats.url, &minio.url));
    let dry = manager.json(&["restore", "--all", "--dry-run"]);
    assert_eq!(dry["streams"].as_array().unwrap().len(), streams.len());
    assert_eq!(
        nats.api("STREAM.NAMES", Value::Null).await["total"],
        0,
        "a dry run restores nothing"
    );
    manager.json(&["restore", "--all"]);
    for (stream, before) in streams.iter().zip(&before) {
        assert_same(stream, before, &fingerprint(&nats, stream).await);
    }
    // What the server has in memory must be what it has on disk.
    let nats = nats.crash_and_start().await;
    for (stream, before) in streams.iter().zip(&before) {
        if *stream != "MEMORY" {
            assert_same(stream, before, &fingerprint(&nats, stream).await);
        }
    }
    // The next message gets the next sequence, and tiering goes on in the same archive.
    let manager = Manager::new(dir.path(), "new", &Settings::new(&nats.url, &minio.url));
    let daemon = manager.tier().await;
    nats.publish("GAPS", 1).await;
    nats.publish("EMPTY", 1).await;
    assert_eq!((nats.last_seq("GAPS").await, nats.last_seq("EMPTY").await), (121, 121));
    manager.reaches("GAPS", "nas", 121).await;
    manager.reaches("EMPTY", "nas", 121).await;
    let held = manager.json(&["streams"]);
    for stream in held["streams"].as_array().unwrap() {
        assert_eq!(stream["timelines"].as_array().unwrap().len(), 1, "no new timeline: {stream}");
    }
    manager.json(&["verify"]);
    daemon.stop().await;
}

async fn acknowledge(nats: &Nats, consumer: &str, count: usize) {
    use futures_util::StreamExt as _;
    let jetstream = async_nats::jetstream::new(nats.client.clone());
    let stream = jetstream.get_stream("PLAIN").await.unwrap();
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        stream.get_consumer(consumer).await.unwrap();
    let mut messages = consumer.fetch().max_messages(count).messages().await.unwrap();
    while let Some(message) = messages.next().await {
        message.unwrap().double_ack().await.unwrap();
    }
}

fn assert_same(stream: &str, before: &Value, after: &Value) {
    for part in ["first_seq", "last_seq", "messages", "bytes", "config", "consumers"] {
        assert_eq!(before[part], after[part], "{part} of {stream}");
    }
    let (before, after) = (before["all"].as_array().unwrap(), after["all"].as_array().unwrap());
    assert_eq!(before.len(), after.len(), "{stream}");
    for (index, (before, after)) in before.iter().zip(after).enumerate() {
        assert_eq!(before, after, "message {index} of {stream}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_host_comes_back_exactly() {
    round_trip(Version::Current).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_host_comes_back_exactly_on_debians_old_server() {
    round_trip(Version::Old).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_point_in_time_a_subject_or_another_name() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    nats.create("S", json!({})).await;
    let manager = Manager::new(dir.path(), "host", &Settings::new(&nats.url, &minio.url));
    let daemon = manager.tier().await;
    nats.publish("S", 60).await;
    manager.reaches("S", "nas", 60).await;
    let whole = fingerprint(&nats, "S").await;
    let all = whole["all"].as_array().unwrap();
    let time = all[29]["time"].as_str().unwrap();

    let restore = |name: &'static str, arguments: &[&str]| {
        let subjects = format!("{}.>", name.to_lowercase());
        let fixed = ["restore", "S", "--as", name, "--subjects", &subjects];
        manager.json(&[&fixed[..], arguments].concat());
    };
    restore("BYSEQ", &["--until-seq", "20"]);
    let found = fingerprint(&nats, "BYSEQ").await;
    assert_eq!((&found["last_seq"], &found["messages"]), (&json!(20), &json!(20)));
    assert_eq!(found["all"].as_array().unwrap()[..], all[..20]);

    restore("BYTIME", &["--until", time]);
    let found = fingerprint(&nats, "BYTIME").await;
    assert_eq!(found["all"].as_array().unwrap()[..], all[..30]);

    restore("BYSUBJECT", &["--subject", "s.b.*"]);
    let found = fingerprint(&nats, "BYSUBJECT").await;
    assert_eq!((&found["messages"], &found["last_seq"]), (&json!(20), &json!(60)));
    let kept = found["all"].as_array().unwrap().iter().filter(|m| !m.is_null());
    assert!(kept.eq(all.iter().filter(|m| m["subject"] == "s.b.c")));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_in_memory_begins_anew_and_is_not_waited_for() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    nats.create("S", json!({})).await;
    nats.publish("S", 5).await;
    // It has everything, and acknowledges nothing.
    let config = json!({ "durable_name": "c", "ack_policy": "none", "mem_storage": true });
    nats.api("CONSUMER.CREATE.S.c", json!({ "stream_name": "S", "config": config })).await;
    let jetstream = async_nats::jetstream::new(nats.client.clone());
    let stream = jetstream.get_stream("S").await.unwrap();
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        stream.get_consumer("c").await.unwrap();
    let given = consumer.fetch().max_messages(5).messages().await.unwrap();
    assert_eq!(given.count().await, 5);
    let manager = Manager::new(dir.path(), "host", &Settings::new(&nats.url, &minio.url));
    let daemon = manager.tier().await;
    manager.reaches("S", "nas", 5).await;
    daemon.stop().await;
    nats.api("STREAM.DELETE.S", Value::Null).await;
    let began = std::time::Instant::now();
    let restored = manager.run(&["restore", "S"]);
    let said = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success(), "{said}");
    assert!(said.contains("`mem_storage` begin anew") && said.ends_with(": c\n"), "{said}");
    assert!(began.elapsed().as_secs() < 20, "it waits for what does not come");
    let consumer = nats.api("CONSUMER.INFO.S.c", Value::Null).await;
    assert_eq!(consumer["num_pending"], 5, "{consumer}");
}
