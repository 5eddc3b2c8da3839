//! Interest streams: what their consumers have acknowledged stays until it is on the NAS.

use cim_fake_wasabi::{Fault, Rule};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::support::{Host, Lab, Nats, Version, fingerprint, wait_until};

/// Publishes messages, and has the application's consumer work through them.
async fn work(nats: &Nats, count: usize) {
    nats.publish("I", count).await;
    work_through(nats, "app", count).await;
}

async fn work_through(nats: &Nats, consumer: &str, count: usize) {
    let jetstream = async_nats::jetstream::new(nats.client.clone());
    let stream = jetstream.get_stream("I").await.unwrap();
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        stream.get_consumer(consumer).await.unwrap();
    let mut done = 0;
    // A fetch gives what the consumer has heard of by then, which on a busy machine is less than was published.
    wait_until("the application has all of it", async || {
        let mut messages = consumer.fetch().max_messages(count - done).messages().await.unwrap();
        while let Some(message) = messages.next().await {
            message.unwrap().double_ack().await.unwrap();
            done += 1;
        }
        if done == count { Ok(()) } else { Err(format!("{done} of {count}")) }
    })
    .await;
}

async fn until_empty(nats: &Nats) {
    wait_until("the stream lets go of what is archived", async || {
        let left = nats.info("I").await["state"]["messages"].as_u64();
        if left == Some(0) { Ok(()) } else { Err(format!("{left:?} messages")) }
    })
    .await;
}

/// The NAS away, 100 messages published and worked through, the storage manager ended, all back.
async fn nas_away(version: Version, killed: bool) {
    let Some(lab) = Lab::with().faulty_nas().version(version).start_if_there().await else {
        return;
    };
    lab.nats.create("I", json!({ "retention": "interest" })).await;
    lab.nats.create_consumer("I", "app", json!({})).await;
    let daemon = lab.manager.tier().await;
    wait_until("the anchor is there", async || {
        let found = lab.nats.try_api("CONSUMER.INFO.I.cim-tier-archive", Value::Null).await;
        if found["error"].is_null() { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
    work(&lab.nats, 30).await;
    lab.manager.reaches("I", "nas", 30).await;
    until_empty(&lab.nats).await;

    lab.nas.set_faults(vec![Rule::new(Fault::Unavailable)]).unwrap();
    work(&lab.nats, 100).await;
    assert_eq!(lab.nats.info("I").await["state"]["messages"], 100, "nothing of it is on the NAS");
    if killed {
        daemon.kill();
        // The dead one's reader would hold what it was not given yet for another minute.
        let names = lab.nats.api("CONSUMER.NAMES.I", Value::Null).await;
        for name in names["consumers"].as_array().unwrap().iter().filter_map(Value::as_str) {
            if !["app", "cim-tier-archive"].contains(&name) {
                lab.nats.api(&format!("CONSUMER.DELETE.I.{name}"), Value::Null).await;
            }
        }
    } else {
        // It gives up on a NAS that does not come back.
        daemon.stop().await;
    }
    lab.nas.set_faults(vec![]).unwrap();
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("I", "nas", 130).await;
    until_empty(&lab.nats).await;
    work(&lab.nats, 10).await;
    lab.manager.reaches("I", "nas", 140).await;
    until_empty(&lab.nats).await;
    daemon.stop().await;

    let report = lab.manager.json(&["verify"]);
    assert_eq!(report["streams"][0]["messages"], 140, "{report}");
    let held = lab.manager.json(&["streams"]);
    assert_eq!(held["streams"][0]["consumers"], 1, "the anchor is not archived: {held}");
    let before = fingerprint(&lab.nats, "I").await;
    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "I"]);
    assert_eq!(fingerprint(&nats, "I").await["last_seq"], before["last_seq"]);
    let names = nats.api("CONSUMER.NAMES.I", Value::Null).await;
    assert_eq!(names["consumers"], json!(["app"]));
}

/// Such a consumer is not durable, and stays without its client for as long as it was told to.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_consumer_waits_for_that_outlives_its_client_comes_back() {
    let mut lab = Lab::with().faulty_nas().start().await;
    lab.nats.create("I", json!({ "retention": "interest" })).await;
    let day = 24 * 3_600_000_000_000_u64;
    let config = json!({ "name": "app", "ack_policy": "explicit", "inactive_threshold": day });
    let done = json!({ "durable_name": "done", "ack_policy": "explicit" });
    for (name, config) in [("app", config), ("done", done)] {
        let body = json!({ "stream_name": "I", "config": config });
        lab.nats.api(&format!("CONSUMER.CREATE.I.{name}"), body).await;
    }
    let daemon = lab.manager.tier().await;
    work(&lab.nats, 3).await;
    lab.nats.publish("I", 3).await;
    work_through(&lab.nats, "done", 6).await;
    lab.manager.reaches("I", "nas", 6).await;
    daemon.stop().await;
    lab.nats.kill();

    let Host { mut nats, manager } = lab.host("new").await;
    manager.json(&["restore", "I"]);
    // A server that starts lets go of what no consumer waits for.
    nats.crash_and_start().await;
    let state = nats.info("I").await["state"].clone();
    assert_eq!((&state["messages"], &state["first_seq"]), (&json!(3), &json!(4)), "{state}");
    let app = nats.api("CONSUMER.INFO.I.app", Value::Null).await;
    assert_eq!(app["ack_floor"]["stream_seq"], 3, "{app}");
    assert_eq!(app["config"]["inactive_threshold"], day, "{app}");
    assert_eq!(app["config"]["durable_name"], Value::Null, "{app}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_worked_through_while_the_nas_was_away_is_archived() {
    nas_away(Version::Current, false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_worked_through_before_a_kill_is_archived() {
    nas_away(Version::Current, true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_worked_through_before_a_kill_is_archived_with_debians_old_server() {
    nas_away(Version::Old, true).await;
}
