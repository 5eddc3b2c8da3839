//! Deletes what nothing uses any more and holds what was erased, at once: no grace period is waited for.

use std::collections::BTreeSet;
use std::sync::Arc;

use cim_core::archive::ArchiveKey;
use cim_core::archive::journal::JournalState;
use cim_core::archive::key::{Chain, JournalOf, segment_prefixes};
use cim_core::names::{JournalName, StreamName};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::plan::Wanted;
use super::scan::{Seen, may_hold};
use crate::journal::{checkpoints, write_checkpoint};
use crate::s3::{ErrorKind, S3Error, Store};

/// Objects that are read at once.
const FETCHES: usize = 16;

/// Returns the prefixes under which messages of a stream may lie, whether or not anything names them.
pub fn prefixes(name: &JournalName, stream: &StreamName) -> Vec<String> {
    let logs = [JournalOf::Secondary, JournalOf::Tertiary].into_iter();
    let logs = logs.flat_map(|of| [of.entries(name), format!("{}{name}/shared/", of.prefix())]);
    logs.chain(segment_prefixes(stream)).collect()
}

/// Finds objects that no journal uses and in which messages lie that are to be erased, or that cannot be read. The last
/// entry stays.
///
/// # Errors
/// When S3 does not answer, or an object is encrypted with a key that is not here.
pub async fn leftovers(
    store: &Store,
    state: &JournalState,
    others: &[JournalState],
    wanted: &Arc<Wanted>,
    seen: &Seen,
) -> Result<Vec<String>, S3Error> {
    let last = state.last.map(|(number, ..)| {
        let (of, journal) = (state.of, state.journal.clone());
        ArchiveKey::Journal { of, journal, number }.to_string()
    });
    let mut unused = Vec::new();
    for prefix in prefixes(&state.journal, &wanted.stream) {
        let listed = store.list(&prefix, false).await?.into_iter().map(|object| object.key);
        unused.extend(listed.filter(|key| {
            // What comes behind the last entry is not known here.
            let behind = state.of.entries(&state.journal) == prefix && last.as_ref() <= Some(key);
            !behind && !state.uses(key) && !others.iter().any(|other| other.uses(key))
        }));
    }
    let looked = stream::iter(unused).map(|key| async move {
        let holds = may_hold(store, &key, wanted, seen).await?;
        Ok(holds.then_some(key))
    });
    looked.buffered(FETCHES).try_filter_map(async |key| Ok(key)).try_collect().await
}

/// The outcome of deleting.
#[derive(Debug, Default)]
pub struct Deleted {
    /// The keys that are gone.
    pub gone: BTreeSet<String>,
    /// Those that the key may not delete.
    pub refused: Vec<String>,
}

/// Deletes objects; one that may not be deleted keeps no other.
///
/// # Errors
/// When S3 does not answer.
pub async fn delete(store: &Store, keys: Vec<String>) -> Result<Deleted, S3Error> {
    let mut deleted = Deleted::default();
    for key in keys {
        match store.delete(&key).await {
            Ok(()) => drop(deleted.gone.insert(key)),
            Err(error) if matches!(error.kind, ErrorKind::Denied(_)) => deleted.refused.push(key),
            Err(error) => return Err(error),
        }
    }
    Ok(deleted)
}

/// Writes the checkpoint of a journal's last entry, where that is not the newest.
///
/// # Errors
/// When S3 does not take it.
pub async fn restate(store: &Store, state: &JournalState) -> Result<(), S3Error> {
    let Some((last, ..)) = state.last else { return Ok(()) };
    if checkpoints(store, state.of, &state.journal).await?.last() != Some(&last) {
        write_checkpoint(store, state.clone(), &CancellationToken::new()).await?;
    }
    Ok(())
}

/// Returns whether entries are gone between an older checkpoint and the newest: an erasure ended before it had put that
/// right.
///
/// # Errors
/// When S3 does not answer.
pub async fn is_unfinished(store: &Store, state: &JournalState) -> Result<bool, S3Error> {
    let (of, name) = (state.of, &state.journal);
    let numbers = checkpoints(store, of, name).await?;
    let (Some(first), Some(last)) = (numbers.first(), numbers.last()) else { return Ok(false) };
    let listed = store.list(&of.entries(name), false).await?;
    let there = listed.iter().filter(|object| match ArchiveKey::parse(&object.key) {
        Ok(ArchiveKey::Journal { number, .. }) => (first + 1..=*last).contains(&number),
        _ => false,
    });
    Ok((there.count() as u64) < last - first)
}

/// Deletes checkpoints before the one of entry `number`: the entries behind them may be gone, and what they name is.
///
/// # Errors
/// When S3 does not answer.
pub async fn drop_checkpoints(
    store: &Store,
    state: &JournalState,
    number: u64,
) -> Result<Deleted, S3Error> {
    let numbers = checkpoints(store, state.of, &state.journal).await?;
    let older = numbers.into_iter().filter(|found| *found < number).map(|number| {
        let (of, journal) = (state.of, state.journal.clone());
        ArchiveKey::Checkpoint { of, journal, number }.to_string()
    });
    delete(store, older.collect()).await
}

/// Deletes the entries of a stream's old chain, which the journal has taken over: they name segments that are gone.
///
/// # Errors
/// When S3 does not answer.
pub async fn drop_chain(store: &Store, stream: &StreamName) -> Result<Deleted, S3Error> {
    let mut keys = Vec::new();
    for chain in [Chain::Manifest, Chain::Tertiary] {
        let listed = store.list(&chain.prefix(stream), false).await?;
        keys.extend(listed.into_iter().map(|object| object.key));
    }
    delete(store, keys).await
}
