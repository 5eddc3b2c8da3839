//! What hinders one stream, or the way to Wasabi, does not hinder the others.

use cim_fake_wasabi::{FakeWasabi, Fault, Rule};
use serde_json::{Value, json};

use crate::support::{Manager, Nats, Settings, fake_s3, wait_until};

fn settings(nats: &Nats, nas: &FakeWasabi, wasabi: &FakeWasabi) -> Settings {
    let mut settings = Settings::new(&nats.url, &nas.s3_url());
    settings.wasabi = Some(wasabi.s3_url());
    // It is a chain's segments that are merged; in a journal they lie with those of others.
    settings.layout = "chains".into();
    settings.more = "[segment]\nflush_age = \"20ms\"\n[seal]\ninterval = \"1s\"\n".into();
    settings
}

/// Publishes one after the other, so that each becomes a segment.
async fn segments(manager: &Manager, nats: &Nats, stream: &str, count: u64) {
    let before = nats.last_seq(stream).await;
    for n in 1..=count {
        nats.publish(stream, 1).await;
        manager.reaches(stream, "nas", before + n).await;
    }
}

fn of<'a>(status: &'a Value, stream: &str) -> &'a Value {
    let streams = status["streams"].as_array().unwrap();
    streams.iter().find(|found| found["stream"] == stream).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_whose_segments_the_nas_does_not_give() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let (nas, wasabi) = (fake_s3(path, "nas").await, fake_s3(path, "wasabi").await);
    let nats = Nats::start(&path.join("host")).await;
    for stream in ["A", "B", "C"] {
        nats.create(stream, json!({})).await;
    }
    let broken = Rule::new(Fault::InternalError).operation("GetObject");
    nas.set_faults(vec![broken.keys("v1/streams/A/segments/*")]).unwrap();
    let manager = Manager::new(path, "host", &settings(&nats, &nas, &wasabi));
    let daemon = manager.tier().await;
    let struck = || nas.stats().faults.get("internal_error").copied().unwrap_or_default();
    while struck() == 0 {
        segments(&manager, &nats, "A", 3).await;
    }
    for stream in ["B", "C"] {
        segments(&manager, &nats, stream, 5).await;
    }
    for stream in ["B", "C"] {
        manager.reaches(stream, "wasabi", 5).await;
    }
    // And A goes on where it can.
    segments(&manager, &nats, "A", 1).await;
    nas.set_faults(Vec::new()).unwrap();
    let last = nats.last_seq("A").await;
    manager.reaches("A", "wasabi", last).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_way_to_wasabi_does_not_stop_merging_on_the_nas() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let (nas, wasabi) = (fake_s3(path, "nas").await, fake_s3(path, "wasabi").await);
    let nats = Nats::start(&path.join("host")).await;
    for stream in ["A", "B"] {
        nats.create(stream, json!({})).await;
    }
    // Longer than the time limit of a request.
    let slow = Rule::new(Fault::Delay).operation("PutObject").keys("*/segments/*").seconds(20.0);
    wasabi.set_faults(vec![slow]).unwrap();
    let manager = Manager::new(path, "host", &settings(&nats, &nas, &wasabi));
    let daemon = manager.tier().await;
    segments(&manager, &nats, "A", 1).await;
    wait_until("a segment is on its way to Wasabi", async || {
        let late = wasabi.stats().faults.get("delay").copied().unwrap_or_default();
        if late > 0 { Ok(()) } else { Err("none is".to_owned()) }
    })
    .await;
    segments(&manager, &nats, "B", 12).await;
    wait_until("B's segments are merged on the NAS", async || {
        let status = manager.json(&["status"]);
        let segments = of(&status, "B")["nas"]["segments"].as_u64().unwrap();
        if segments <= 6 { Ok(()) } else { Err(format!("{segments} segments")) }
    })
    .await;
    wasabi.set_faults(Vec::new()).unwrap();
    manager.reaches("A", "wasabi", 1).await;
    manager.reaches("B", "wasabi", 12).await;
    daemon.stop().await;
}
