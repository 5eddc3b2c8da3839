//! Committing to a chain on a real MinIO that is replaced meanwhile.

use std::sync::Arc;

use cim_core::archive::StreamState;
use cim_core::archive::key::Chain;
use cim_storage_manager::chain::{self, CommitError, Committer, Draft};
use cim_storage_manager::s3::Store;
use tokio_util::sync::CancellationToken;

use crate::support::Lab;

fn begin() -> Draft {
    let record = r#"{"created": "2026-01-01T00:00:00Z", "config": {"name": "S"}}"#;
    Draft::first(serde_json::from_str(record).unwrap(), StreamState::default(), Vec::new())
}

/// A chain with entries 0 up to `last`.
async fn chain(store: &Arc<Store>, writer: &str, last: u64) -> Committer {
    let (store, stream) = (Arc::clone(store), "S".parse().unwrap());
    let mut committer = Committer::new(store, Chain::Manifest, stream, writer.into(), None);
    commit(&mut committer, begin()).await.unwrap();
    for _ in 0..last {
        next(&mut committer).await.unwrap();
    }
    committer
}

async fn commit(committer: &mut Committer, draft: Draft) -> Result<(), CommitError> {
    committer.commit(draft, &CancellationToken::new()).await.map(drop)
}

async fn next(committer: &mut Committer) -> Result<(), CommitError> {
    let draft = Draft::from_state(committer.state().unwrap());
    commit(committer, draft).await
}

/// Commits until it is noticed that the chain is gone; looks at the latest after three.
async fn notices(committer: &mut Committer) -> CommitError {
    for _ in 0..3 {
        if let Err(error) = next(committer).await {
            return error;
        }
    }
    committer.verify_anchor().await.unwrap().expect("it is gone")
}

/// A moment after a commit, so that no request has failed and nothing looks old.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_bucket_does_not_go_on_with_another_ones_chain() {
    let lab = Lab::start().await;
    let store = lab.store();
    let mut committer = chain(&store, "first", 2).await;
    lab.nas.replace();
    let lost = notices(&mut committer).await;
    assert!(matches!(lost, CommitError::LogMissing { .. }), "{lost}");
    assert_eq!(lab.nas.files("manifest/"), Vec::<std::path::PathBuf>::new());
    // Whoever begins anew is not in anybody's way.
    let anew = chain(&store, "second", 1).await;
    let read = chain::load_full(&store, Chain::Manifest, &"S".parse().unwrap()).await.unwrap();
    assert_eq!(read.as_ref(), anew.state());
}

/// It is another archive's, as long as this one's.
#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_with_another_chain_does_not_go_on_with_this_one() {
    let lab = Lab::start().await;
    let store = lab.store();
    let mut committer = chain(&store, "first", 2).await;
    lab.nas.replace();
    let other = chain(&store, "second", 2).await;
    let lost = notices(&mut committer).await;
    assert!(matches!(lost, CommitError::LogMissing { .. }), "{lost}");
    let read = chain::load_full(&store, Chain::Manifest, &"S".parse().unwrap()).await.unwrap();
    assert_eq!(read.as_ref(), other.state());
}

/// The bucket lost its newest entries, as a service does that answers before it has synced.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_written_behind_lost_entries_is_withdrawn() {
    let lab = Lab::start().await;
    let store = lab.store();
    let mut committer = chain(&store, "first", 5).await;
    for file in &lab.nas.files("manifest/")[3..5] {
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }
    let lost = committer.verify_anchor().await.unwrap().expect("two are gone");
    assert!(matches!(lost, CommitError::LogMissing { number: 3, .. }), "{lost}");
    let read = chain::load_full(&store, Chain::Manifest, &"S".parse().unwrap()).await.unwrap();
    assert_eq!(read.unwrap().number, 2);
}

/// Bad disks are no reason to stop archiving.
#[tokio::test(flavor = "multi_thread")]
async fn what_follows_a_damaged_entry_is_committed() {
    let lab = Lab::start().await;
    let store = lab.store();
    let mut committer = chain(&store, "first", 2).await;
    let key = Chain::Manifest.key(&"S".parse().unwrap(), 2);
    // What is looked for is the last one.
    assert!(committer.verify_anchor().await.unwrap().is_none());
    store.put(&key, "not an entry".into()).await.unwrap();
    assert!(committer.verify_anchor().await.unwrap().is_none());
    next(&mut committer).await.unwrap();
}
