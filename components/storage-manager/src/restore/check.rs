//! Checks before a restore is begun.

use std::collections::{BTreeMap, BTreeSet};

use cim_core::archive::Segment;
use cim_core::names::StreamName;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::plan::Plan;
use super::run::RestoreError;
use super::source::Source;
use crate::jetstream::JetStream;
use crate::s3::{S3Error, Store};

/// Questions that are asked at once.
const AT_ONCE: usize = 16;

/// Checks, before anything is begun, that nothing known stands against restores. Where `again` says so, streams
/// that an earlier run has restored are no hindrance: they are taken out of the plans, and returned.
pub async fn check(
    jetstream: &JetStream,
    source: &Source,
    plans: &mut Vec<Plan>,
    again: bool,
) -> Result<Vec<StreamName>, RestoreError> {
    let asked = stream::iter(&*plans).map(|plan| is_restored(jetstream, plan, again));
    let restored: Vec<bool> = asked.buffered(AT_ONCE).try_collect().await?;
    let mut restored = restored.into_iter();
    let there = plans.extract_if(.., |_| restored.next().is_some_and(|restored| restored));
    let there = there.map(|plan| plan.target).collect();
    check_segments(source, plans).await?;
    Ok(there)
}

/// Returns whether a stream is there already, just as it would be restored. Any other one is in the way.
async fn is_restored(
    jetstream: &JetStream,
    plan: &Plan,
    again: bool,
) -> Result<bool, RestoreError> {
    if plan.in_memory() && jetstream.server_version() < (2, 15, 0) {
        return Err(RestoreError::MemoryOnOldServer(plan.target.to_string()));
    }
    match jetstream.stream_info(plan.target.as_str(), false).await {
        Ok(info) if info.state.last_seq == 0 => Err(RestoreError::Empty(plan.target.to_string())),
        // A stream that was made anew has another time of creation, and one that is used more sequences.
        Ok(info)
            if again
                && info.record.created == plan.created
                && info.state.last_seq == plan.last_seq =>
        {
            Ok(true)
        }
        Ok(_) => Err(RestoreError::Exists(plan.target.to_string())),
        Err(error) if error.not_found() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// The objects of the folders that were listed, by key, with their sizes: streams share some folders.
type Folders = BTreeMap<String, BTreeMap<String, u64>>;

/// Every segment is there and has its size: found out before the server hears of the restore. What the first
/// tier has counts: a file there that is cut short is not replaced by the other's.
async fn check_segments(source: &Source, plans: &[Plan]) -> Result<(), RestoreError> {
    let segments = || plans.iter().flat_map(|plan| plan.pieces.iter().map(|piece| &piece.0));
    let first = list(&source.tier, segments()).await?;
    let missing: Vec<&Segment> =
        segments().filter(|segment| is_there(&first, segment) != Some(true)).collect();
    if missing.is_empty() {
        return Ok(());
    }
    // The other tier is asked only where it is needed: it may be away, and not to answer takes long.
    let other = match &source.fallback {
        Some(fallback) => list(fallback, missing.iter().copied()).await.unwrap_or_default(),
        None => Folders::default(),
    };
    let mut absent = missing.into_iter().filter(|segment| {
        is_there(&first, segment).is_some() || is_there(&other, segment) != Some(true)
    });
    match absent.next() {
        Some(Segment { key, .. }) => {
            let (key, tier) = (key.clone(), source.tier.tier());
            Err(RestoreError::Missing { key, tier })
        }
        None => Ok(()),
    }
}

/// Lists the folders in which segments are.
async fn list(store: &Store, segments: impl Iterator<Item = &Segment>) -> Result<Folders, S3Error> {
    let folders: BTreeSet<&str> = segments.map(|segment| folder(&segment.key)).collect();
    let listed = stream::iter(folders).map(async |folder| {
        let objects = store.list(folder, false).await?;
        let sizes = objects.into_iter().map(|object| (object.key, object.size)).collect();
        Ok((folder.to_owned(), sizes))
    });
    listed.buffered(AT_ONCE).try_collect().await
}

/// Returns whether a segment's object is there, in a folder that was listed.
fn is_there(listed: &Folders, segment: &Segment) -> Option<bool> {
    let size = listed.get(folder(&segment.key))?.get(&segment.key)?;
    // The size of an object that is shared is not stated; what it lacks is found when it is read.
    Some(segment.part.is_some() || *size == segment.size)
}

fn folder(key: &str) -> &str {
    key.rfind('/').map_or("", |end| &key[..=end])
}
