//! A message that the server does not take is named before the first stream is restored, in a dry run too.

use serde_json::{Value, json};

use crate::support::{Host, Lab};

fn of<'a>(streams: &'a Value, name: &str) -> &'a Value {
    let mut all = streams["streams"].as_array().unwrap().iter();
    all.find(|stream| stream["stream"] == name).expect(name)
}

#[tokio::test(flavor = "multi_thread")]
async fn one_large_message_among_small_ones_is_named_before() {
    let mut lab = Lab::with().server("max_payload: 2M").start().await;
    lab.nats.create("DISK", json!({})).await;
    lab.nats.create("MEMORY", json!({ "storage": "memory" })).await;
    lab.nats.create("LOWERED", json!({ "storage": "memory" })).await;
    lab.nats.create("GONE", json!({ "storage": "memory" })).await;
    for stream in ["DISK", "MEMORY", "GONE", "LOWERED"] {
        lab.nats.publish(stream, 8).await;
        let subject = format!("{}.large", stream.to_lowercase());
        let bytes = if stream == "LOWERED" { 900_000 } else { 1_500_000 };
        let answer = lab.nats.client.request(subject, vec![7; bytes].into()).await.unwrap();
        assert!(!answer.payload.starts_with(b"{\"error"), "{answer:?}");
        lab.nats.publish(stream, 8).await;
    }
    let mut config = lab.nats.info("LOWERED").await["config"].clone();
    config["max_msg_size"] = json!(800_000);
    lab.nats.api("STREAM.UPDATE.LOWERED", config).await;
    let daemon = lab.manager.tier().await;
    for stream in ["DISK", "MEMORY", "GONE", "LOWERED"] {
        lab.manager.reaches(stream, "nas", 17).await;
    }
    // It is in a segment all the same.
    lab.nats.delete("GONE", &[9]).await;
    daemon.stop().await;
    lab.nats.kill();

    let Host { nats, manager } = lab.host("new").await;
    for (more, done) in [(&["--dry-run"][..], "ready"), (&[], "restored")] {
        let output = manager.run(&[&["restore", "--all", "--json"], more].concat());
        assert_eq!(output.status.code(), Some(6));
        let said: Value = serde_json::from_slice(&output.stdout).unwrap();
        for stream in ["DISK", "GONE"] {
            assert_eq!(of(&said, stream)["outcome"], done, "{said}");
        }
        for (stream, bytes, limit) in [
            ("MEMORY", 1_500_000, "`max_payload` is 1048576"),
            ("LOWERED", 900_000, "`max_msg_size` is 800000"),
        ] {
            let said = of(&said, stream);
            assert_eq!(said["outcome"], "refused");
            let why = format!("has a message of {bytes} bytes at sequence 9, and {limit} here");
            assert!(said["why"].as_str().unwrap().ends_with(&why), "{said}");
            assert!(said["way_out"].as_str().unwrap().contains("--until-seq 8"), "{said}");
        }
    }
    manager.json(&["restore", "MEMORY", "LOWERED", "--until-seq", "8"]);
    assert_eq!((nats.last_seq("MEMORY").await, nats.last_seq("LOWERED").await), (8, 8));
    assert_eq!(nats.info("GONE").await["state"]["messages"], 16);
}
