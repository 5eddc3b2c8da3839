//! A NAS that takes longer to write a segment than the next one takes to become due.

use std::time::Duration;

use cim_fake_wasabi::{Fault, Rule};
use serde_json::{Value, json};

use crate::support::{Manager, Nats, Settings, fake_s3, fingerprint};

#[tokio::test(flavor = "multi_thread")]
async fn nothing_starves() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let (nas, wasabi) = (fake_s3(path, "nas").await, fake_s3(path, "wasabi").await);
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    nas.set_faults(vec![Rule::new(Fault::Delay).operation("PutObject").seconds(0.6)]).unwrap();
    let mut settings = Settings::new(&nats.url, &nas.s3_url());
    settings.wasabi = Some(wasabi.s3_url());
    settings.more = "[segment]\nflush_age = \"500ms\"\n[seal]\ninterval = \"3s\"\n".into();
    let manager = Manager::new(path, "host", &settings);
    let daemon = manager.tier().await;
    let client = nats.client.clone();
    let load = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            client.publish("s.x", "".into()).await.unwrap();
        }
    });
    manager.reaches("S", "nas", 10).await;
    nats.api("CONSUMER.DURABLE.CREATE.S.D", consumer()).await;
    // Wasabi follows, however much comes; and so does the consumer, which no segment brings along.
    manager.reaches("S", "wasabi", 10).await;
    let here = nats.last_seq("S").await;
    manager.reaches("S", "wasabi", here).await;
    let other = Nats::start(&path.join("other")).await;
    let reader = Manager::new(path, "other", &Settings::new(&other.url, &nas.s3_url()));
    reader.json(&["restore", "S"]);
    let restored = fingerprint(&other, "S").await;
    assert_eq!(
        restored["consumers"][0]["config"]["durable_name"], "D",
        "{}",
        restored["consumers"]
    );
    load.abort();
    daemon.stop().await;
}

fn consumer() -> Value {
    let config = json!({ "durable_name": "D", "ack_policy": "explicit" });
    json!({ "stream_name": "S", "config": config })
}
