//! Events that this program does not know, and one that nothing can read.

use async_nats::jetstream;
use cim_core::archive::RawJson;
use cim_core::envelope::{Envelope, EventId, NewEvent};
use cim_core::names::EventType;
use cim_core::subjects::Component;
use serde_json::json;

use crate::support::{Nats, Program, call, registration, report, run, wait_until};

fn event(event_type: &str, version: u32, payload: &str) -> Envelope {
    let event = NewEvent {
        event_type: EventType::new(event_type).unwrap(),
        source: Component::ComponentRegistry,
        aggregate_id: "units.host".parse().unwrap(),
        aggregate_version: 1,
        schema_version: version.try_into().unwrap(),
        content: None,
        payload: RawJson::new(payload.into()).unwrap(),
    };
    Envelope::root(EventId::now(), "2026-01-01T00:00:00Z".parse().unwrap(), event)
}

async fn publish(jetstream: &jetstream::Context, event: &Envelope) -> u64 {
    let payload = serde_json::to_vec(event).unwrap();
    let sent = jetstream.publish(event.subject().to_string(), payload.into()).await.unwrap();
    sent.await.unwrap().sequence
}

#[tokio::test]
async fn events_of_an_unknown_version_or_type_are_kept_and_reported() {
    let nats = Nats::start().await;
    let registry = Program::start(&nats, "one").await;
    let newer = event("component.registered", 99, r#"{"something":"else"}"#);
    let foreign = event("component.praised", 1, "{}");
    let js = nats.jetstream();
    for event in [&newer, &foreign, &newer] {
        publish(&js, event).await;
    }
    let metric = "cim_component_unknown_events 3";
    wait_until("they are counted", async || {
        let (_, text) = registry.get("/metrics")?;
        if text.lines().any(|line| line == metric) { Ok(()) } else { Err(text) }
    })
    .await;
    let log = registry.log();
    assert!(
        log.contains("event 1 is `component.registered v99`, which component-registry"),
        "{log}"
    );
    assert!(log.contains("event 2 is `component.praised v1`"), "{log}");
    assert_eq!(log.matches("does not know").count(), 2, "each kind is said once: {log}");
    // It works on, behind them.
    let done =
        call(&nats.client, "component.register", None, &registration("a", "1.0.0", &[])).await;
    assert_eq!(done.unwrap()["sequence"], 4);
    let report = report(&nats, &["digest"]);
    assert_eq!((&report["events"], &report["unknown"]), (&json!(4), &json!(3)));
    // They are in the log as they were.
    let events = nats.events().await;
    assert_eq!((&events[0], &events[1]), (&newer, &foreign));
}

#[tokio::test]
async fn an_event_that_cannot_be_read_stops_it_with_the_way_out() {
    let nats = Nats::start().await;
    let mut registry = Program::start(&nats, "one").await;
    call(&nats.client, "component.register", None, &registration("a", "1.0.0", &[])).await.unwrap();
    let poison = event("component.registered", 1, r#"{"name":"units"}"#);
    let sequence = publish(&nats.jetstream(), &poison).await;
    let status = registry.ended().await;
    let said = format!(
        "error: event {sequence} of stream `EVENTS` cannot be read: `cim.event.registry.component.registered` is of a known version, and its content is not: restore the stream from the archive, or start with `--skip {sequence}` to go on without it: missing field"
    );
    assert_eq!(status.code(), Some(4));
    assert!(registry.log().contains(&said), "{}", registry.log());
    let (status, _, err) = run(&nats, &["digest"]);
    assert_eq!(status, Some(4), "{err}");
    let skipped = report(&nats, &["digest", "--skip", &sequence.to_string()]);
    assert_eq!((&skipped["sequence"], &skipped["unknown"]), (&json!(sequence), &json!(1)));
}

#[test]
fn the_command_line_says_what_is_wrong() {
    let (status, _, err) = crate::support::offline(&["schema", "nothing/v1"]);
    assert_eq!(status, Some(2));
    assert!(
        err.starts_with("error: `nothing/v1` is no schema: there are component-done/v1, "),
        "{err}"
    );
    let (status, out, _) = crate::support::offline(&["schema"]);
    assert_eq!(status, Some(0));
    insta::assert_snapshot!(out);
    let (status, out, _) = crate::support::offline(&["completions", "bash"]);
    assert_eq!(status, Some(0));
    assert!(out.contains("cim-component-registry"), "{out}");
}
