//! Work queues: what is done is gone, and the archive has what waits.

use async_nats::Subscriber;
use cim_testing::LIMIT;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::support::Lab;

#[tokio::test(flavor = "multi_thread")]
async fn a_long_run_of_what_is_done_is_passed_over() {
    const DONE: usize = 5_000;
    let lab = Lab::start().await;
    lab.nats.create("WORK", json!({ "retention": "workqueue" })).await;
    lab.nats.publish_bare("work.waits", 1).await;
    lab.nats.publish_bare("work.done", DONE).await;
    lab.nats.publish_bare("work.waits", 1).await;
    lab.nats.api("STREAM.PURGE.WORK", json!({ "filter": "work.done" })).await;
    let mut requests = lab.nats.client.subscribe("$JS.API.STREAM.MSG.GET.WORK").await.unwrap();
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("WORK", "nas", DONE as u64 + 2).await;
    daemon.stop().await;
    requests.unsubscribe().await.unwrap();
    let mut asked = 0;
    while requests.next().await.is_some() {
        asked += 1;
    }
    assert!(asked < DONE / 4, "{asked} requests for two messages");
    assert_eq!(lab.manager.json(&["verify"])["streams"][0]["messages"], 2);
}

/// Waits until the manager has read a work queue up to a sequence: then it asks for the next one.
async fn is_read(asked: &mut Subscriber, seq: u64) {
    loop {
        let next = tokio::time::timeout(LIMIT, asked.next()).await.expect("it asks").unwrap();
        let question: Value = serde_json::from_slice(&next.payload).unwrap();
        if question["seq"].as_u64() > Some(seq) {
            return;
        }
    }
}

/// Messages that are deleted while the reader has them and the NAS has not, or just when it has.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_go_between_reading_and_commit_end_no_session() {
    const MESSAGES: u64 = 16;
    let lab = Lab::with().settings("[segment]\nflush_age = \"500ms\"\n").start().await;
    lab.nats.create("WORK", json!({ "retention": "workqueue" })).await;
    lab.nats.create("S", json!({})).await;
    let mut asked = lab.nats.client.subscribe("$JS.API.STREAM.MSG.GET.WORK").await.unwrap();
    let daemon = lab.manager.tier().await;
    for seq in 1..=MESSAGES {
        for stream in ["WORK", "S"] {
            lab.nats.publish(stream, 1).await;
        }
        is_read(&mut asked, seq).await;
        if seq % 4 == 0 {
            lab.manager.has_all(&lab.nats, &["WORK", "S"]).await;
        }
        for stream in ["WORK", "S"] {
            lab.nats.delete(stream, &[seq]).await;
        }
    }
    for stream in ["WORK", "S"] {
        lab.manager.reaches(stream, "nas", MESSAGES).await;
    }
    let log = daemon.log();
    assert!(!log.contains("panicked") && !log.contains("starting again"), "{log}");
    daemon.stop().await;
    lab.manager.json(&["verify"]);
}
