//! Leftovers of a chain on the NAS when the journal has taken its stream over, and is of no more use: segments
//! that had been replaced before, which the chain alone knows of, and its entries.
//!
//! The last group of entries stays. It begins with a checkpoint, so the chain can still be read: where a NAS loses
//! its journals, that is what its streams are begun anew with.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cim_core::archive::journal::JournalState;
use cim_core::archive::key::{Chain, GROUP, JournalOf, segment_prefixes};
use cim_core::names::StreamName;
use cim_runtime::error::chain as error_chain;
use tokio::sync::mpsc;

use super::Journal;
use super::open::{OpenError, names, open};
use crate::chain::{self, ReadError};
use crate::clock;
use crate::s3::S3Error;
use crate::tier::Context;

/// Streams that the journal held a grace period ago, each with the keys of its segments of their own then: who
/// reads since before that reads those.
pub(super) type Held = BTreeMap<StreamName, BTreeSet<String>>;

/// Returns what a checkpoint holds.
pub(super) fn held(checkpoint: &JournalState) -> Held {
    let streams = checkpoint.streams.iter().map(|(stream, archive)| {
        let own = archive.segments.values().filter(|segment| segment.part.is_none());
        (stream.clone(), own.map(|segment| segment.key.clone()).collect())
    });
    streams.collect()
}

/// Why a chain was not gone through. It is tried again behind a later checkpoint.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum LeftError {
    S3(#[from] S3Error),
    Chain(#[from] ReadError),
    Open(#[from] OpenError),
}

/// Collects for each checkpoint that is old enough. Of millions of entries that may take days: nothing waits for
/// it, and what is not done is found again.
pub(super) async fn run(context: Arc<Context>, journal: Journal, mut old: mpsc::Receiver<Held>) {
    let mut done = BTreeSet::new();
    while let Some(held) = old.recv().await {
        let others = match others(&context, &journal).await {
            Ok(others) => others,
            Err(error) => {
                tracing::error!(
                    "leftovers of chains on the NAS are kept for now, because another journal cannot be read: {}",
                    error_chain(&error)
                );
                continue;
            }
        };
        for (stream, segments) in held {
            // Of two journals that hold a stream either may have begun with its chain.
            if done.contains(&stream) || others.contains(&stream) {
                continue;
            }
            match clear(&context, &journal, &stream, &segments).await {
                Ok(true) => drop(done.insert(stream)),
                Ok(false) => {}
                Err(error) => tracing::error!(
                    stream = %stream,
                    "leftovers of its chain on the NAS are kept for now: {}",
                    error_chain(&error)
                ),
            }
        }
    }
}

/// Lists the streams that other journals in the bucket hold.
async fn others(context: &Context, journal: &Journal) -> Result<BTreeSet<StreamName>, LeftError> {
    let own = journal.with(|state| state.journal.clone());
    let mut streams = BTreeSet::new();
    for name in names(&context.nas, JournalOf::Secondary).await? {
        if name != own {
            let (state, _) = open(&context.nas, JournalOf::Secondary, &name).await?;
            streams.extend(state.streams.into_keys());
        }
    }
    Ok(streams)
}

/// Deletes what one stream's chain has left; true when nothing more will be of no use.
async fn clear(
    context: &Context,
    journal: &Journal,
    stream: &StreamName,
    held: &BTreeSet<String>,
) -> Result<bool, LeftError> {
    let nas = &context.nas;
    let groups = chain::groups(nas, Chain::Manifest, stream).await?;
    if groups.is_empty() {
        return Ok(true);
    }
    let used = |key: &str| held.contains(key) || journal.with(|state| state.uses(key));
    let mut unused: Vec<String> = Vec::new();
    for prefix in segment_prefixes(stream) {
        unused.extend(nas.list(&prefix, false).await?.into_iter().map(|object| object.key));
    }
    unused.retain(|key| !used(key));
    if unused.is_empty() && groups.len() == 1 {
        return Ok(true);
    }
    let Some(state) = chain::load(nas, Chain::Manifest, stream).await? else { return Ok(true) };
    let grace = context.config.collect.grace;
    let (now, all) = (clock::now(), state.superseded.len());
    let replaced = state.superseded.iter().filter(|s| clock::is_old(now, s.since, grace));
    let replaced: BTreeSet<&str> = replaced.map(|s| s.key.as_str()).collect();
    // What no chain has replaced may be a segment that was just uploaded, and comes to be of use.
    unused.retain(|key| replaced.contains(key.as_str()));
    for key in &unused {
        nas.delete(key).await?;
    }
    let mut entries = 0;
    for group in groups.into_iter().filter(|group| *group < state.number / GROUP) {
        for object in nas.list(&Chain::Manifest.group_prefix(stream, group), false).await? {
            nas.delete(&object.key).await?;
            entries += 1;
        }
    }
    if unused.len() + entries > 0 {
        tracing::info!(
            stream = %stream,
            "the journal has taken over its chain: {} replaced segments and {entries} entries of the chain are deleted",
            unused.len()
        );
    }
    Ok(replaced.len() == all)
}
