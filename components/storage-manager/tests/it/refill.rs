//! Wasabi's bucket is lost after the NAS was: the NAS has the last of Wasabi's entries, not the first.

use std::sync::Arc;

use cim_core::archive::key::Chain;
use cim_storage_manager::chain::{self, Committer, Draft};
use cim_storage_manager::s3::Store;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::support::{Host, Lab, fingerprint};

/// So many that the first group of entries is full.
const ENTRIES: u64 = 260;

/// Decides entries that say little, as months do.
async fn decide(nas: &Arc<Store>) {
    let stream = "S".parse().unwrap();
    let state = chain::load(nas, Chain::Tertiary, &stream).await.unwrap();
    let mut committer = Committer::new(Arc::clone(nas), Chain::Tertiary, stream, "t".into(), state);
    loop {
        let state = committer.state().unwrap();
        if state.number == ENTRIES {
            return;
        }
        let mut draft = Draft::from_state(state);
        draft.state.bytes += 1;
        committer.commit(draft, &CancellationToken::new()).await.unwrap();
    }
}

async fn delete(store: &Store, prefix: &str) {
    for object in store.list(prefix, false).await.unwrap() {
        store.delete(&object.key).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_emptied_wasabi_is_filled_from_a_nas_that_does_not_know_the_first_entries() {
    // Its subject is a chain.
    let lab = Lab::with()
        .faulty_nas()
        .wasabi()
        .layout("chains")
        .settings("[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"200ms\"\n")
        .start()
        .await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 40).await;
    lab.manager.reaches("S", "wasabi", 40).await;
    daemon.stop().await;
    let bucket = lab.store();
    decide(&bucket).await;
    // A NAS that was replaced got the last group back, and not the one before.
    delete(&bucket, "v1/streams/S/tertiary/00000000/").await;
    delete(&lab.wasabi_store(), "v1/").await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 10).await;
    lab.manager.reaches("S", "wasabi", 50).await;
    daemon.stop().await;
    let report = lab.manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(report["streams"][0]["messages"], 50, "{report}");
    let before = fingerprint(&lab.nats, "S").await;
    let Host { nats: other, manager } = lab.host("other").await;
    manager.json(&["restore", "S", "--from", "wasabi"]);
    assert_eq!(fingerprint(&other, "S").await["all"], before["all"]);
}
