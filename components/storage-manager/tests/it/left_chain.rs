//! Leftovers of a chain when a journal has taken its stream over: deleted when the grace period has passed, but
//! for what is needed to read it.

use std::collections::BTreeSet;

use cim_core::archive::ArchiveState;
use cim_core::archive::key::Chain;
use cim_storage_manager::chain;
use cim_storage_manager::s3::Store;
use serde_json::json;

use crate::chain::store;
use crate::support::{Manager, Minio, Nats, Settings, fingerprint, wait_until};

fn settings(nats: &str, nas: &str, layout: &str, grace: &str) -> Settings {
    let mut settings = Settings::new(nats, nas);
    settings.layout = layout.into();
    settings.more = format!(
        "[segment]\nflush_age = \"5ms\"\n[seal]\ninterval = \"2s\"\n[collect]\ngrace = \"{grace}\"\n"
    );
    settings
}

/// The chain of `S`, as its last group says.
async fn chain_of(nas: &Store) -> ArchiveState {
    let state = chain::load(nas, Chain::Manifest, &"S".parse().unwrap()).await.unwrap();
    state.expect("there is a chain")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_chain_had_replaced_and_its_entries_are_collected() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    let nas = store(dir.path(), &minio.url);
    let replaced = async || {
        let state = chain_of(&nas).await;
        state.superseded.into_iter().map(|s| s.key).collect::<BTreeSet<_>>()
    };
    for name in ["S", "T"] {
        nats.create(name, json!({})).await;
    }
    let chains =
        Manager::new(dir.path(), "chains", &settings(&nats.url, &minio.url, "chains", "1h"));
    let daemon = chains.tier().await;
    wait_until("the chain is long", async || {
        nats.publish("S", 1).await;
        nats.publish("T", 1).await;
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

    let settings = settings(&nats.url, &minio.url, "journal", "1s");
    let manager = Manager::new(dir.path(), "journal", &settings);
    let daemon = manager.tier().await;
    wait_until("what is left of the chain is collected", async || {
        nats.publish("S", 1).await;
        nats.publish("T", 1).await;
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
        manager.reaches(name, "nas", nats.last_seq(name).await).await;
        live.push(fingerprint(&nats, name).await);
    }
    daemon.stop().await;
    manager.json(&["verify"]);
    drop(nats);

    let nats = Nats::start(&dir.path().join("new")).await;
    let settings = Settings { nats: nats.url.clone(), ..settings };
    Manager::new(dir.path(), "new", &settings).json(&["restore", "--all"]);
    for (name, live) in ["S", "T"].into_iter().zip(&live) {
        assert_eq!(&fingerprint(&nats, name).await, live, "{name}");
    }
}
