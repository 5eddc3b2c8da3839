//! Leftovers of a chain when a journal has taken its stream over: deleted when the grace period has passed, but
//! for what is needed to read it.

use std::collections::BTreeSet;

use cim_core::archive::ArchiveState;
use cim_core::archive::key::Chain;
use cim_storage_manager::chain;
use cim_storage_manager::s3::Store;
use serde_json::json;

use crate::support::{Host, Lab, fingerprint, wait_until};

fn settings(grace: &str) -> String {
    format!(
        "[segment]\nflush_age = \"5ms\"\n[seal]\ninterval = \"2s\"\n[collect]\ngrace = \"{grace}\"\n"
    )
}

/// The chain of `S`, as its last group says.
async fn chain_of(nas: &Store) -> ArchiveState {
    let state = chain::load(nas, Chain::Manifest, &"S".parse().unwrap()).await.unwrap();
    state.expect("there is a chain")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_chain_had_replaced_and_its_entries_are_collected() {
    let mut lab = Lab::with().layout("chains").settings(settings("1h")).start().await;
    let nas = lab.store();
    let replaced = async || {
        let state = chain_of(&nas).await;
        state.superseded.into_iter().map(|s| s.key).collect::<BTreeSet<_>>()
    };
    for name in ["S", "T"] {
        lab.nats.create(name, json!({})).await;
    }
    let daemon = lab.manager.tier().await;
    wait_until("the chain is long", async || {
        lab.nats.publish("S", 1).await;
        lab.nats.publish("T", 1).await;
        let groups = nas.list("v1/streams/S/manifest/", true).await.unwrap();
        if groups.len() > 1 { Ok(()) } else { Err("it is not".into()) }
    })
    .await;
    wait_until("small segments are replaced", async || {
        let replaced = replaced().await.len();
        if replaced > 50 { Ok(()) } else { Err(format!("{replaced}")) }
    })
    .await;
    daemon.stop().await;
    let left = replaced().await;
    let before = chain_of(&nas).await;
    let there = async || {
        let listed = nas.list("v1/streams/S/segments/", false).await.unwrap();
        listed.into_iter().map(|object| object.key).collect::<BTreeSet<_>>()
    };
    assert!(there().await.is_superset(&left));

    lab.configure(|settings| {
        (settings.layout, settings.more) = ("journal".into(), self::settings("1s"));
    });
    let daemon = lab.manager.tier().await;
    wait_until("what is left of the chain is collected", async || {
        lab.nats.publish("S", 1).await;
        lab.nats.publish("T", 1).await;
        let segments = there().await.intersection(&left).count();
        let entries = nas.list("v1/streams/S/manifest/00000000/", false).await.unwrap().len();
        if segments + entries == 0 { Ok(()) } else { Err(format!("{segments}, {entries}")) }
    })
    .await;
    // It can still be read, and what it had at last is there, or was replaced by the journal.
    assert_eq!(chain_of(&nas).await, before);
    let sealed = before.segments.into_values().filter(|segment| segment.sealed);
    let sealed: BTreeSet<_> = sealed.map(|segment| segment.key).collect();
    assert!(!sealed.is_empty() && there().await.is_superset(&sealed));
    let mut live = Vec::new();
    for name in ["S", "T"] {
        lab.manager.reaches(name, "nas", lab.nats.last_seq(name).await).await;
        live.push(fingerprint(&lab.nats, name).await);
    }
    daemon.stop().await;
    lab.manager.json(&["verify"]);
    lab.nats.kill();

    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "--all"]);
    for (name, live) in ["S", "T"].into_iter().zip(&live) {
        assert_eq!(&fingerprint(&nats, name).await, live, "{name}");
    }
}
