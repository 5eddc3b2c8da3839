//! A million events: measured, not judged, but for what must hold on any machine.

use std::time::Instant;

use cim_core::archive::RawJson;
use cim_core::envelope::{Envelope, EventId, NewEvent};
use cim_core::subjects::Component;
use futures_util::future::try_join_all;
use serde_json::json;

use crate::support::{Nats, peak, report};

async fn fill(nats: &Nats, from: u64, to: u64) {
    let js = nats.jetstream();
    let mut acks = Vec::new();
    for n in from..to {
        let id = n % 1000;
        let payload = json!({
            "name": format!("c{id}"), "instance": "host", "version": format!("1.0.{n}"),
            "capabilities": ["unit.create", format!("of-{}", id % 50)], "requires": [],
            "expires_after_seconds": 30,
        });
        let event = NewEvent {
            event_type: "component.registered".parse().unwrap(),
            source: Component::ComponentRegistry,
            aggregate_id: format!("c{id}.host").parse().unwrap(),
            aggregate_version: n / 1000 + 1,
            schema_version: std::num::NonZeroU32::MIN,
            content: None,
            payload: RawJson::new(payload.to_string()).unwrap(),
        };
        let event = Envelope::root(EventId::now(), "2026-01-01T00:00:00Z".parse().unwrap(), event);
        let payload = serde_json::to_vec(&event).unwrap();
        let sent = js.publish(event.subject().to_string(), payload.into()).await.unwrap();
        acks.push(sent.into_future());
        if acks.len() == 2000 {
            try_join_all(acks.drain(..)).await.unwrap();
        }
    }
    try_join_all(acks).await.unwrap();
}

/// `cargo test --release -p cim-component-registry --test it million -- --ignored --nocapture`
#[tokio::test]
#[ignore = "takes minutes; it measures"]
async fn a_million_events_are_rebuilt_in_flat_memory() {
    let nats = Nats::start().await;
    nats.events_stream().await;
    fill(&nats, 0, 100_000).await;
    let (_, tenth) = peak(&nats, &["digest", "--json"]).await;
    fill(&nats, 100_000, 1_000_000).await;
    let began = Instant::now();
    let (out, whole) = peak(&nats, &["rebuild", "--create", "--json"]).await;
    let took = began.elapsed();
    let rebuilt: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&rebuilt["events"], &rebuilt["unknown"]), (&json!(1_000_000), &json!(0)));
    println!(
        "rebuild of 1,000,000 events: {took:?}; peak memory {tenth} KiB at 100,000, {whole} KiB at 1,000,000"
    );
    assert!(whole < tenth * 3 / 2, "memory grows with the log: {tenth} KiB, {whole} KiB");
    let digest = report(&nats, &["digest"]);
    assert_eq!(digest["digest"], rebuilt["digest"]);
}
