//! What hinders one stream, or the way to Wasabi, does not hinder the others.

use cim_fake_wasabi::{FakeWasabi, Fault, Rule};
use serde_json::{Value, json};

use crate::support::{Lab, Manager, Nats, struck, wait_until};

/// A lab whose archive is in chains: it is a chain's segments that are merged; in a journal they lie with those of others.
async fn lab() -> Lab<FakeWasabi> {
    Lab::with()
        .faulty_nas()
        .wasabi()
        .layout("chains")
        .settings("[segment]\nflush_age = \"20ms\"\n[seal]\ninterval = \"1s\"\n")
        .start()
        .await
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
    let lab = lab().await;
    for stream in ["A", "B", "C"] {
        lab.nats.create(stream, json!({})).await;
    }
    let broken = Rule::new(Fault::InternalError).operation("GetObject");
    lab.nas.set_faults(vec![broken.keys("v1/streams/A/segments/*")]).unwrap();
    let daemon = lab.manager.tier().await;
    let struck = || struck(&lab.nas, "internal_error");
    while struck() == 0 {
        segments(&lab.manager, &lab.nats, "A", 3).await;
    }
    for stream in ["B", "C"] {
        segments(&lab.manager, &lab.nats, stream, 5).await;
    }
    for stream in ["B", "C"] {
        lab.manager.reaches(stream, "wasabi", 5).await;
    }
    // And A goes on where it can.
    segments(&lab.manager, &lab.nats, "A", 1).await;
    lab.nas.set_faults(Vec::new()).unwrap();
    let last = lab.nats.last_seq("A").await;
    lab.manager.reaches("A", "wasabi", last).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_way_to_wasabi_does_not_stop_merging_on_the_nas() {
    let lab = lab().await;
    for stream in ["A", "B"] {
        lab.nats.create(stream, json!({})).await;
    }
    // Longer than the time limit of a request.
    let slow = Rule::new(Fault::Delay).operation("PutObject").keys("*/segments/*").seconds(20.0);
    lab.wasabi().set_faults(vec![slow]).unwrap();
    let daemon = lab.manager.tier().await;
    segments(&lab.manager, &lab.nats, "A", 1).await;
    wait_until("a segment is on its way to Wasabi", async || {
        let late = struck(lab.wasabi(), "delay");
        if late > 0 { Ok(()) } else { Err("none is".to_owned()) }
    })
    .await;
    segments(&lab.manager, &lab.nats, "B", 12).await;
    wait_until("B's segments are merged on the NAS", async || {
        let status = lab.manager.json(&["status"]);
        let segments = of(&status, "B")["nas"]["segments"].as_u64().unwrap();
        if segments <= 6 { Ok(()) } else { Err(format!("{segments} segments")) }
    })
    .await;
    lab.wasabi().set_faults(Vec::new()).unwrap();
    lab.manager.reaches("A", "wasabi", 1).await;
    lab.manager.reaches("B", "wasabi", 12).await;
    daemon.stop().await;
}
