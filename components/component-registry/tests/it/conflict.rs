//! Two writers of one log.

use std::collections::BTreeMap;

use cim_core::envelope::EventId;
use futures_util::future::join_all;

use crate::support::{Nats, Program, insist, registration, report, wait_until};

#[tokio::test]
async fn two_processes_decide_on_what_the_log_has() {
    let nats = Nats::start().await;
    let (one, two) = (Program::start(&nats, "one").await, Program::start(&nats, "two").await);
    // All of them change the same component: each decision depends on the one before it.
    let calls = (0..60).map(|n| {
        let body =
            registration("units", &format!("1.0.{n}"), &["a", if n % 2 == 0 { "b" } else { "c" }]);
        let client = nats.client.clone();
        async move { insist(&client, "component.register", EventId::now(), &body).await }
    });
    let answers = join_all(calls).await;
    let events = nats.events().await;
    let registered = events.iter().filter(|e| e.event_type.as_str() == "component.registered");
    assert_eq!(
        registered.count(),
        answers.iter().filter(|a| a.as_ref().unwrap()["changed"] == true).count()
    );
    let ids: std::collections::BTreeSet<_> = events.iter().map(|e| e.id).collect();
    assert_eq!(ids.len(), events.len(), "no event is there twice");
    let versions: Vec<_> = events.iter().map(|e| e.aggregate_version).collect();
    let contiguous: Vec<_> = (1..=events.len() as u64).collect();
    assert_eq!(versions, contiguous, "each writer knew the event before its own");
    // `a` is gained once; `b` and `c` change places with each change between even and odd.
    let mut held: BTreeMap<String, bool> = BTreeMap::new();
    for event in &events {
        let name = event.payload.value()["capability"].as_str().unwrap_or_default().to_owned();
        match event.event_type.as_str() {
            "capability.added" => assert!(!held.insert(name, true).unwrap_or(false)),
            "capability.removed" => assert_eq!(held.insert(name, false), Some(true)),
            _ => {}
        }
    }
    let metrics = |program: &Program| program.get("/metrics").unwrap().1;
    let both = format!("{}\n{}", metrics(&one), metrics(&two));
    let conflicts: u64 = both
        .lines()
        .filter_map(|line| line.strip_prefix("cim_component_conflicts_total "))
        .map(|n| n.parse::<u64>().unwrap())
        .sum();
    assert!(conflicts > 0, "the writers met:\n{both}");
    let digest = report(&nats, &["digest"]);
    wait_until("views are those of the log", async || {
        let rebuilt = report(&nats, &["rebuild"]);
        assert_eq!(rebuilt["digest"], digest["digest"]);
        if rebuilt["views_changed"] == 0 { Ok(()) } else { Err(rebuilt.to_string()) }
    })
    .await;
}
