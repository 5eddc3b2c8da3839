//! A server that does not know all of a stream's configuration: what it leaves out stays in the archive.

use serde_json::json;

use crate::support::{Host, Lab, Version, fingerprint};

#[tokio::test(flavor = "multi_thread")]
async fn what_an_old_server_does_not_know_comes_back_on_a_newer_one() {
    let mut lab = Lab::start().await;
    let transform = json!({ "src": "s.raw.*", "dest": "s.made.{{wildcard(1)}}" });
    let more = json!({
        "subject_transform": transform, "metadata": { "team": "a" }, "max_msg_size": 9000,
    });
    lab.nats.create("S", more).await;
    let consumer = json!({
        "durable_name": "two", "ack_policy": "explicit", "filter_subjects": ["s.a", "s.b.c"],
    });
    let consumer = json!({ "stream_name": "S", "config": consumer });
    lab.nats.api("CONSUMER.CREATE.S.two", consumer).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 10).await;
    lab.manager.reaches("S", "nas", 10).await;
    daemon.stop().await;
    let before = fingerprint(&lab.nats, "S").await;
    lab.nats.kill();

    // The host goes back to an older server, on the same disk.
    let Some(Host { nats, manager }) = lab.host_of("host", Version::Old).await else { return };
    let daemon = manager.tier().await;
    nats.publish("S", 5).await;
    // What this server knows, and was changed, is.
    let mut config = nats.info("S").await["config"].clone();
    config["description"] = json!("on an old server");
    config["max_msg_size"] = json!(-1);
    nats.api("STREAM.UPDATE.S", config).await;
    manager.reaches("S", "nas", 15).await;
    daemon.stop().await;
    let log = std::fs::read_to_string(manager.config().with_extension("log")).unwrap();
    assert!(log.contains("nats-server 2.9.10 does not support `"), "{log}");
    drop(nats);

    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "S"]);
    let now = fingerprint(&nats, "S").await;
    let mut expected = before["config"].clone();
    expected["description"] = json!("on an old server");
    expected.as_object_mut().unwrap().insert("max_msg_size".into(), json!(-1));
    assert_eq!(now["config"], expected);
    assert_eq!(now["consumers"][0]["config"], before["consumers"][0]["config"]);
}
