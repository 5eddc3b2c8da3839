//! What comes back is what was there.

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::support::{Host, Lab, Nats, Version, fingerprint, fingerprints};

/// Streams of many kinds, tiered, the host lost, restored: the same to the last header byte.
async fn round_trip(version: Version) {
    let Some(mut lab) = Lab::with().version(version).start_if_there().await else { return };
    let mut streams = vec!["PLAIN", "GAPS", "KV", "PURGED", "EMPTY", "TAIL", "WORK"];
    lab.nats
        .create(
            "PLAIN",
            json!({ "description": "kept to the letter", "duplicate_window": 60_000_000_000_u64 }),
        )
        .await;
    lab.nats.create("GAPS", json!({})).await;
    lab.nats.create("KV", json!({ "max_msgs_per_subject": 1, "allow_rollup_hdrs": true })).await;
    lab.nats.create("PURGED", json!({})).await;
    lab.nats.create("EMPTY", json!({})).await;
    lab.nats.create("TAIL", json!({})).await;
    lab.nats.create("WORK", json!({ "retention": "workqueue" })).await;
    if version == Version::Current {
        lab.nats.create("MEMORY", json!({ "storage": "memory" })).await;
        lab.nats.create("SQUEEZED", json!({ "compression": "s2", "allow_msg_ttl": true })).await;
        streams.extend(["MEMORY", "SQUEEZED"]);
    }
    let daemon = lab.manager.tier().await;
    for stream in &streams {
        lab.nats.publish(stream, 120).await;
    }
    for consumer in ["untouched", "halfway", "done"] {
        let body = json!({ "stream_name": "PLAIN", "config": { "durable_name": consumer, "ack_policy": "explicit", "max_ack_pending": 500 } });
        lab.nats.api(&format!("CONSUMER.DURABLE.CREATE.PLAIN.{consumer}"), body).await;
    }
    acknowledge(&lab.nats, "halfway", 50).await;
    acknowledge(&lab.nats, "done", 120).await;
    for stream in &streams {
        lab.manager.reaches(stream, "nas", lab.nats.last_seq(stream).await).await;
    }
    // Deletes after the fact: what is in a segment already must not come back.
    lab.nats.delete("GAPS", &[1, 2, 50, 51, 52, 90]).await;
    lab.nats.delete("TAIL", &[119, 120]).await;
    lab.nats.api("STREAM.PURGE.PURGED", json!({ "seq": 77 })).await;
    lab.nats.api("STREAM.PURGE.EMPTY", json!({})).await;
    let before = fingerprints(&lab.nats, &streams).await;
    daemon.stop().await;
    lab.nats.kill();

    let Host { mut nats, manager } =
        lab.host_of("new", version).await.expect("it was there before");
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
    nats.crash_and_start().await;
    for (stream, before) in streams.iter().zip(&before) {
        if *stream != "MEMORY" {
            assert_same(stream, before, &fingerprint(&nats, stream).await);
        }
    }
    // The next message gets the next sequence, and tiering goes on in the same archive.
    let manager = lab.manager_of("new", &nats);
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
    let lab = Lab::start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 60).await;
    lab.manager.reaches("S", "nas", 60).await;
    let whole = fingerprint(&lab.nats, "S").await;
    let all = whole["all"].as_array().unwrap();
    let time = all[29]["time"].as_str().unwrap();

    let restore = |name: &'static str, arguments: &[&str]| {
        let subjects = format!("{}.>", name.to_lowercase());
        let fixed = ["restore", "S", "--as", name, "--subjects", &subjects];
        lab.manager.json(&[&fixed[..], arguments].concat());
    };
    restore("BYSEQ", &["--until-seq", "20"]);
    let found = fingerprint(&lab.nats, "BYSEQ").await;
    assert_eq!((&found["last_seq"], &found["messages"]), (&json!(20), &json!(20)));
    assert_eq!(found["all"].as_array().unwrap()[..], all[..20]);

    restore("BYTIME", &["--until", time]);
    let found = fingerprint(&lab.nats, "BYTIME").await;
    assert_eq!(found["all"].as_array().unwrap()[..], all[..30]);

    restore("BYSUBJECT", &["--subject", "s.b.*"]);
    let found = fingerprint(&lab.nats, "BYSUBJECT").await;
    assert_eq!((&found["messages"], &found["last_seq"]), (&json!(20), &json!(60)));
    let kept = found["all"].as_array().unwrap().iter().filter(|m| !m.is_null());
    assert!(kept.eq(all.iter().filter(|m| m["subject"] == "s.b.c")));
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_in_memory_begins_anew_and_is_not_waited_for() {
    let lab = Lab::start().await;
    lab.nats.create("S", json!({})).await;
    lab.nats.publish("S", 5).await;
    // It has everything, and acknowledges nothing.
    let config = json!({ "durable_name": "c", "ack_policy": "none", "mem_storage": true });
    lab.nats.api("CONSUMER.CREATE.S.c", json!({ "stream_name": "S", "config": config })).await;
    let jetstream = async_nats::jetstream::new(lab.nats.client.clone());
    let stream = jetstream.get_stream("S").await.unwrap();
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        stream.get_consumer("c").await.unwrap();
    let given = consumer.fetch().max_messages(5).messages().await.unwrap();
    assert_eq!(given.count().await, 5);
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", 5).await;
    daemon.stop().await;
    lab.nats.delete_stream("S").await;
    let began = std::time::Instant::now();
    let restored = lab.manager.run(&["restore", "S"]);
    let said = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success(), "{said}");
    assert!(said.contains("`mem_storage` start over") && said.ends_with(": c\n"), "{said}");
    assert!(began.elapsed().as_secs() < 20, "it waits for what does not come");
    let consumer = lab.nats.api("CONSUMER.INFO.S.c", Value::Null).await;
    assert_eq!(consumer["num_pending"], 5, "{consumer}");
}
