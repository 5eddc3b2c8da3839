//! Checkpoints: what the entries add up to, so that opening an archive does not go back to entry 0.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cim_core::archive::ArchiveKey;
use cim_core::archive::journal::JournalState;
use cim_runtime::error::chain;
use tokio_util::sync::CancellationToken;

use super::closed::Committed;
use super::handle::Journal;
use super::tiers::tier_of;
use crate::crypt::seal;
use crate::hooks::fail_point;
use crate::s3::{S3Error, Store};

/// The interval at which it is asked whether one is due.
const PACE: Duration = Duration::from_secs(1);
/// Entries that are not worth a checkpoint.
const FEW: u64 = 256;
/// zstd level: hashes do not shrink, names and numbers do.
const LEVEL: i32 = 3;

/// Returns true if a checkpoint is worth its bytes: it costs as much as the entries that it saves to read.
pub(super) fn due(committed: Committed, last_size: u64) -> bool {
    committed.entries >= FEW && committed.bytes >= last_size
}

/// Writes checkpoints of a journal that is being written, until it is closed.
pub async fn run(store: Arc<Store>, journal: Journal, mut known: Option<u64>) {
    let closing = journal.closing().clone();
    let committed = journal.committed();
    let mut ticks = tokio::time::interval(PACE);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while closing.run_until_cancelled(ticks.tick()).await.is_some() {
        let behind = *committed.borrow();
        if !due(behind, known.unwrap_or_default()) && !journal.is_to_be_restated(behind.entries) {
            continue;
        }
        // In a bucket that has just taken the place of another it would restate what is not there.
        match closing.run_until_cancelled(journal.look()).await {
            None => return,
            Some(false) => continue,
            Some(true) => {}
        }
        let state = journal.with(JournalState::clone);
        match write(&store, state, &closing).await {
            Ok(None) => return,
            Ok(Some(size)) => {
                known = Some(size);
                journal.checkpointed(behind);
            }
            Err(error) => tracing::warn!(
                "cannot write a checkpoint; the entries keep all of it, and the next try follows: {}",
                chain(&error)
            ),
        }
    }
}

/// Writes the checkpoint of a state; its size, or `None` where `stop` came first.
///
/// # Errors
/// When S3 does not take it.
pub async fn write(
    store: &Store,
    state: JournalState,
    stop: &CancellationToken,
) -> Result<Option<u64>, S3Error> {
    let Some((number, ..)) = state.last else { return Ok(Some(0)) };
    let key = ArchiveKey::Checkpoint { of: state.of, journal: state.journal.clone(), number };
    let made = tokio::task::spawn_blocking(move || seal(tier_of(state.of), object(&state)));
    let object = made.await.expect("restating does not panic");
    let size = object.len() as u64;
    fail_point!(CheckpointBefore);
    let put = stop.run_until_cancelled(store.put(&key, object)).await;
    fail_point!(CheckpointAfter if matches!(put, Some(Ok(()))));
    put.transpose().map(|put| put.map(|()| size))
}

fn object(state: &JournalState) -> Bytes {
    let text = state.checkpoint().map(|checkpoint| checkpoint.to_bytes()).unwrap_or_default();
    let packed = zstd::stream::encode_all(&text[..], LEVEL);
    Bytes::from(packed.expect("packing in memory does not fail"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_checkpoint_costs_no_more_than_what_it_saves() {
        let committed = |entries, bytes| Committed { entries, bytes };
        assert!(!due(committed(255, 1 << 40), 0));
        assert!(due(committed(256, 10), 0));
        assert!(!due(committed(1000, 999), 1000));
        assert!(due(committed(1000, 1000), 1000));
    }
}
