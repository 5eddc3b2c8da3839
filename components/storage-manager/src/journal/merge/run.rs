//! Merges what is due, one job at a time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::Segment;
use cim_core::archive::journal::{Change, Replacement, SegmentRecord};
use cim_core::names::StreamName;
use cim_runtime::error::chain;
use tokio::time::Instant;

use super::error::MergeError;
use super::fetch::{Replacements, fetch};
use super::plan::{self, Job};
use super::shared;
use crate::hooks::fail_point;
use crate::journal::expire::Expiring;
use crate::journal::{Commit, Journal, NotCommitted};
use crate::s3::Tier;
use crate::tier::Context;
use crate::tier::merge::{Merge, SealError};
use crate::tier::upload::{Patience, may_be_sealed, put};

/// The interval at which it is asked whether something is due.
const PACE: Duration = Duration::from_secs(1);
/// The time for which an object that could not be merged is left alone.
const AGAIN: Duration = Duration::from_secs(60);

/// Merges until the journal is closed. What cannot be read is left alone for a while: it stops nothing else.
pub async fn run(context: Arc<Context>, journal: Journal) {
    let closing = journal.closing().clone();
    let mut failed: BTreeMap<String, Instant> = BTreeMap::new();
    let mut expiring = Expiring::default();
    while closing.run_until_cancelled(tokio::time::sleep(PACE)).await.is_some() {
        // What is merged does not leave meanwhile, and what has left is not merged.
        match closing.run_until_cancelled(expiring.once(&context, &journal)).await {
            None | Some(Err(NotCommitted::Closed(_))) => return,
            Some(Err(error)) => {
                tracing::warn!("cannot let messages expire, trying again: {}", chain(&error));
            }
            Some(Ok(())) => {}
        }
        loop {
            failed.retain(|_, at| at.elapsed() < AGAIN);
            let mut avoid = context.damaged.keys();
            avoid.extend(failed.keys().cloned());
            avoid.extend(context.locked.keys());
            let seal = context.config.seal.size.bytes() as u64;
            let Some(job) = journal.with(|state| plan::next(state, seal, &avoid)) else { break };
            let merged = closing.run_until_cancelled(merge(&context, &journal, &job)).await;
            match merged {
                None | Some(Err(MergeError::Journal(NotCommitted::Closed(_)))) => return,
                Some(Ok(()) | Err(MergeError::Locked(_))) => {}
                Some(Err(MergeError::Fetch { key, source })) => {
                    // The others are merged without it.
                    if !context.locked.note_fetch(&source) {
                        context.damaged.report(&key);
                    }
                }
                Some(Err(error)) => {
                    tracing::error!("one merge failed, the others go on: {}", chain(&error));
                    let at = Instant::now();
                    match job {
                        Job::Shared { keys, .. } => {
                            failed.extend(keys.into_iter().map(|key| (key, at)));
                        }
                        Job::Own { segments, .. } => {
                            failed.extend(segments.into_iter().map(|segment| (segment.key, at)));
                        }
                    }
                }
            }
        }
    }
}

async fn merge(context: &Arc<Context>, journal: &Journal, job: &Job) -> Result<(), MergeError> {
    let held = context.budget.reserve_beside(bytes(journal, job), None).await;
    let replacements = match job {
        Job::Own { stream, segments } => own(context, stream, segments).await?,
        Job::Shared { level, keys } => shared::merge(context, journal, *level, keys).await?,
    };
    drop(held);
    fail_point!(SealUploaded);
    let commits = replacements.into_iter().map(|(stream, replace)| {
        (stream, Commit { change: Change { replace, ..Change::default() }, ..Commit::default() })
    });
    let due = Instant::now() + context.config.segment.flush_age;
    journal.commit(commits.collect(), Vec::new(), due).await?;
    fail_point!(SealCommitted);
    Ok(())
}

/// Returns the bytes of the messages that a job merges.
fn bytes(journal: &Journal, job: &Job) -> usize {
    let sum = match job {
        Job::Own { segments, .. } => segments.iter().map(|segment| segment.bytes).sum(),
        Job::Shared { keys, .. } => journal.with(|state| {
            let keys: BTreeSet<&str> = keys.iter().map(String::as_str).collect();
            let segments = state.streams.values().flat_map(|archive| archive.segments.values());
            segments.filter(|s| keys.contains(s.key.as_str())).map(|s| s.bytes).sum::<u64>()
        }),
    };
    usize::try_from(sum).unwrap_or(usize::MAX)
}

/// Makes one segment of neighbours.
async fn own(
    context: &Arc<Context>,
    stream: &StreamName,
    segments: &[Segment],
) -> Result<Replacements, MergeError> {
    let (timeline, first_seq) = (segments[0].timeline, segments[0].first_seq);
    let (mut merged, mut last_seq, mut size) = (Merge::to(Tier::Nas), first_seq, 0);
    for segment in segments {
        let file = fetch(context, segment).await?;
        last_seq = segment.last_seq;
        size += segment.size;
        let to_read = segment.clone();
        let append = tokio::task::spawn_blocking(move || {
            merged.append(&to_read, &file, 0)?;
            Ok::<_, SealError>(merged)
        });
        merged = append.await.expect("merging does not panic").map_err(|error| match error {
            SealError::Fetch(source) => MergeError::Fetch { key: segment.key.clone(), source },
            other => other.into(),
        })?;
    }
    let sealed = may_be_sealed() && plan::is_final(size, context.config.seal.size.bytes() as u64);
    let name = stream.clone();
    let finish = tokio::task::spawn_blocking(move || merged.finish(&name, timeline, sealed));
    let finished = finish.await.expect("merging does not panic")?;
    put(context, &finished, Patience::Brief).await.map_err(SealError::from)?;
    let by = vec![SegmentRecord::of(&finished.segment, None)];
    let replacement = Replacement { timeline, first_seq, last_seq, by };
    Ok(BTreeMap::from([(stream.clone(), vec![replacement])]))
}
