//! State, views and snapshots are made anew from the log.

use cim_core::envelope::EventId;
use serde_json::json;

use crate::support::{Nats, Program, call, insist, registration, report, wait_until};

async fn some(nats: &Nats) {
    for n in 0..12 {
        let body = registration(&format!("c{}", n % 5), &format!("1.0.{n}"), &["a", "b"][..=n % 2]);
        insist(&nats.client, "component.register", EventId::now(), &body).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_rebuilt_is_what_was() {
    let nats = Nats::start().await;
    let registry = Program::start(&nats, "one").await;
    some(&nats).await;
    let all = call(&nats.client, "component.list", None, &json!({})).await.unwrap();
    registry.stop().await;
    let views = nats.views().await;
    let digest = report(&nats, &["digest"]);
    assert_eq!(digest["digest"].as_str().unwrap().len(), 64);

    // Views that are lost, false, or of nothing are found and mended; then there is nothing to mend.
    let bucket = nats.jetstream().get_key_value("component-registry").await.unwrap();
    bucket.purge("component.c1.host").await.unwrap();
    bucket
        .put("capability.a", r#"{"position":1,"value":{"capability":"a","components":[]}}"#.into())
        .await
        .unwrap();
    bucket.put("component.ghost.host", r#"{"position":1,"value":{}}"#.into()).await.unwrap();
    let rebuilt = report(&nats, &["rebuild"]);
    assert_eq!(rebuilt["views_changed"], 3);
    assert_eq!(rebuilt["digest"], digest["digest"]);
    assert_eq!(nats.views().await, views);
    assert_eq!(report(&nats, &["rebuild"])["views_changed"], 0);

    // A snapshot is only a cache: one of other code, or of another form, is passed over.
    for snapshot in [r#"{"code":"another","folded":1}"#, "{"] {
        bucket.put("snapshot", snapshot.into()).await.unwrap();
        let registry = Program::start(&nats, "one").await;
        assert_eq!(call(&nats.client, "component.list", None, &json!({})).await.unwrap(), all);
        registry.stop().await;
    }
    // The whole bucket may be lost.
    nats.jetstream().delete_key_value("component-registry").await.unwrap();
    let registry = Program::start(&nats, "one").await;
    wait_until("the views are there again", async || {
        let now = nats.views().await;
        if now == views { Ok(()) } else { Err(format!("{now:?}")) }
    })
    .await;
    registry.stop().await;

    // The digest at a sequence does not depend on what came later.
    let half = report(&nats, &["digest", "--at", "7"]);
    assert_eq!(half["sequence"], 7);
    assert_ne!(half["digest"], digest["digest"]);
    let registry = Program::start(&nats, "one").await;
    let body = registration("later", "1.0.0", &[]);
    insist(&nats.client, "component.register", EventId::now(), &body).await.unwrap();
    registry.stop().await;
    assert_eq!(report(&nats, &["digest", "--at", "7"])["digest"], half["digest"]);
}

#[tokio::test]
async fn a_log_that_was_restored_to_an_earlier_point_makes_an_earlier_state() {
    let nats = Nats::start().await;
    let registry = Program::start(&nats, "one").await;
    some(&nats).await;
    registry.stop().await;
    let early = report(&nats, &["digest", "--at", "7"]);
    // Snapshot and views are those of later events, which the host's loss took.
    let stream = nats.events_stream().await;
    let kept = nats.events().await;
    let jetstream = nats.jetstream();
    drop(stream);
    jetstream.delete_stream("EVENTS").await.unwrap();
    nats.events_stream().await;
    for event in kept.iter().take(7) {
        let payload = serde_json::to_vec(event).unwrap();
        let sent = jetstream.publish(event.subject().to_string(), payload.into()).await.unwrap();
        sent.await.unwrap();
    }
    let registry = Program::start(&nats, "one").await;
    assert!(registry.log().contains("it was restored to an earlier point"), "{}", registry.log());
    let settled = report(&nats, &["digest"]);
    // What was owed at the seventh event is owed again, with the same ids, and nothing else is new.
    let now = nats.events().await;
    assert_eq!(now[..7], kept[..7]);
    let owed: Vec<_> = now[7..].iter().map(|event| event.id).collect();
    let before: Vec<_> = kept[7..7 + owed.len()].iter().map(|event| event.id).collect();
    assert_eq!(owed, before);
    if owed.is_empty() {
        assert_eq!(settled["digest"], early["digest"]);
    }
    // It decides on from there.
    insist(&nats.client, "component.register", EventId::now(), &registration("new", "1.0.0", &[]))
        .await
        .unwrap();
    registry.stop().await;
    assert_eq!(report(&nats, &["rebuild"])["views_changed"], 0);
}
