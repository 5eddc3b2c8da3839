//! An atomic batch comes back whole or not at all.

use async_nats::HeaderMap;
use serde_json::{Value, json};

use crate::support::{Lab, Nats, fingerprint};

/// Publishes a batch, all of whose messages are stored with the last one.
async fn publish_batch(nats: &Nats, id: &str, messages: u64) {
    for n in 1..=messages {
        let mut headers = HeaderMap::new();
        headers.insert("Nats-Batch-Id", id);
        headers.insert("Nats-Batch-Sequence", n.to_string().as_str());
        if n == messages {
            headers.insert("Nats-Batch-Commit", "1");
        }
        let stored = nats.client.request_with_headers("s.batch", headers, "x".into());
        let stored = stored.await.unwrap().payload;
        assert!(!stored.starts_with(b"{\"error"), "{stored:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_batch_is_left_out_and_named() {
    let lab = Lab::start().await;
    lab.nats.create("S", json!({ "allow_atomic": true })).await;
    lab.nats.publish("S", 5).await;
    publish_batch(&lab.nats, "whole", 4).await;
    publish_batch(&lab.nats, "cut", 10).await;
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", 19).await;
    daemon.stop().await;
    let before = fingerprint(&lab.nats, "S").await;
    lab.nats.delete_stream("S").await;

    let cut = json!({ "id": "cut", "first_seq": 10, "last_seq": 16 });
    let dry = lab.manager.json(&["restore", "S", "--until-seq", "16", "--dry-run"]);
    assert_eq!(dry["streams"][0]["half_batch"], cut);
    let said = lab.manager.run(&["restore", "S", "--until-seq", "16"]);
    let said = String::from_utf8(said.stdout).unwrap();
    assert!(
        said.contains("S: sequences 10 to 16 are left out: they are half of batch `cut`"),
        "{said}"
    );
    let now = fingerprint(&lab.nats, "S").await;
    assert_eq!((&now["messages"], &now["last_seq"]), (&json!(9), &json!(16)));
    assert_eq!(now["all"].as_array().unwrap()[..9], before["all"].as_array().unwrap()[..9]);
    // What is sent again is stored behind them, and the archive goes on.
    publish_batch(&lab.nats, "cut", 10).await;
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", 26).await;
    daemon.stop().await;
    let expected = fingerprint(&lab.nats, "S").await;
    lab.manager.json(&["verify"]);
    lab.nats.delete_stream("S").await;
    let restored = lab.manager.json(&["restore", "S"]);
    assert_eq!(restored["streams"][0]["half_batch"], Value::Null);
    assert_eq!(fingerprint(&lab.nats, "S").await["all"], expected["all"]);

    // A batch is whole whose last message was deleted.
    lab.nats.delete_stream("S").await;
    let restored = lab.manager.json(&["restore", "S", "--until-seq", "9", "--timeline", "1"]);
    assert_eq!(restored["streams"][0]["half_batch"], Value::Null);
    assert_eq!(lab.nats.last_seq("S").await, 9);
    lab.nats.delete("S", &[9]).await;
    publish_batch(&lab.nats, "deleted", 3).await;
    lab.nats.delete("S", &[12]).await;
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", 12).await;
    daemon.stop().await;
    let expected = fingerprint(&lab.nats, "S").await;
    lab.nats.delete_stream("S").await;
    let restored = lab.manager.json(&["restore", "S"]);
    assert_eq!(restored["streams"][0]["half_batch"], Value::Null);
    assert_eq!(fingerprint(&lab.nats, "S").await["all"], expected["all"]);
}
