//! Wasabi's own levels: what lies there in many objects goes there once more, in one, and takes their place.
//!
//! Messages come from the NAS, which has merged them already; nothing is read from Wasabi. What takes the place of
//! what is said in the next entry that is put anyway: an entry of its own would be one more object for months.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::journal::{Change, JournalState, Replacement, SegmentRecord};
use cim_core::archive::{ArchiveKey, ArchiveState, Segment};
use cim_core::names::StreamName;
use cim_runtime::error::chain;
use parquet::errors::ParquetError;
use tokio::time::Instant;

use crate::journal::merge::plan;
use crate::journal::{Commit, Journal};
use crate::s3::{S3Error, Store, Tier};
use crate::segment::{Rows, SegmentError};
use crate::tier::Context;
use crate::tier::error::FetchError;
use crate::tier::merge::{Merge, SealError};

/// Time for which segments that could not be merged are left alone.
const AGAIN: Duration = Duration::from_secs(60);

/// A merge that did not come about; Wasabi stays as it is.
#[derive(Debug, thiserror::Error)]
enum MergeError {
    #[error("stream `{stream}`: cannot merge `{key}` for Wasabi")]
    Fetch { stream: StreamName, key: String, source: FetchError },
    #[error("cannot merge segments for Wasabi")]
    Seal(#[from] SealError),
    #[error(transparent)]
    S3(#[from] S3Error),
    #[error(
        "stream `{stream}`: the NAS has other messages from {first_seq} to {last_seq} than Wasabi, where they stay as they are"
    )]
    Differs { stream: StreamName, first_seq: u64, last_seq: u64 },
}

/// The beginning of a segment of a stream.
type Place = (StreamName, u32, u64);

/// One merge.
#[derive(Debug)]
struct Job {
    stream: StreamName,
    /// These become one.
    segments: Vec<Segment>,
    /// The NAS's segments that have its messages.
    from: Vec<Segment>,
}

/// Merges that the next entry is to say, and segments that are left alone for a while.
#[derive(Debug, Default)]
pub struct Merged {
    replace: Vec<(StreamName, Replacement)>,
    taken: BTreeSet<Place>,
    failed: BTreeMap<Place, Instant>,
}

impl Merged {
    /// Merges what is due first; false when nothing is.
    pub async fn next(
        &mut self,
        context: &Arc<Context>,
        wasabi: &Store,
        journal: &Journal,
        there: &JournalState,
    ) -> bool {
        let seal = context.config.seal.size.bytes() as u64;
        self.failed.retain(|_, at| at.elapsed() < AGAIN);
        let Some(job) = self.job(context, journal, there, seal) else { return false };
        let places: Vec<Place> = job.segments.iter().map(|s| place(&job.stream, s)).collect();
        match merge(context, wasabi, &job, seal).await {
            Ok(replacement) => {
                self.taken.extend(places);
                self.replace.push((job.stream, replacement));
            }
            // The others are merged without it.
            Err(MergeError::Fetch { source, .. }) if context.locked.note_fetch(&source) => {}
            Err(error) => {
                match &error {
                    MergeError::Fetch { key, .. } => context.damaged.report(key),
                    error => tracing::error!(
                        "one merge at Wasabi failed, the others go on: {}",
                        chain(error)
                    ),
                }
                let at = Instant::now();
                self.failed.extend(places.into_iter().map(|place| (place, at)));
            }
        }
        true
    }

    fn job(
        &self,
        context: &Context,
        journal: &Journal,
        there: &JournalState,
        seal: u64,
    ) -> Option<Job> {
        let unopened = context.locked.keys();
        journal.with(|nas| {
            there.streams.iter().find_map(|(stream, archive)| {
                let nas = nas.streams.get(stream)?;
                let leave = |segment: &Segment| {
                    let place = place(stream, segment);
                    let locked = || {
                        let from = plan::merged(nas, segment).into_iter().flatten();
                        from.into_iter().any(|from| unopened.contains(&from.key))
                    };
                    self.taken.contains(&place)
                        || self.failed.contains_key(&place)
                        || (!unopened.is_empty() && locked())
                };
                let segments = plan::at_wasabi(archive, nas, seal, leave)?;
                let from = sources(nas, &segments);
                Some(Job { stream: stream.clone(), segments, from })
            })
        })
    }

    /// Adds what has been merged to what the next entry says.
    pub fn say(&mut self, commits: &mut BTreeMap<StreamName, Commit>) {
        for (stream, replacement) in std::mem::take(&mut self.replace) {
            let change = Change { replace: vec![replacement], ..Change::default() };
            commits.entry(stream).or_default().merge(Commit { change, ..Commit::default() });
        }
        self.taken.clear();
    }
}

fn place(stream: &StreamName, segment: &Segment) -> Place {
    (stream.clone(), segment.timeline, segment.first_seq)
}

/// Returns the NAS's segments with the messages of some at Wasabi, each once.
fn sources(nas: &ArchiveState, segments: &[Segment]) -> Vec<Segment> {
    let found = segments.iter().filter_map(|segment| plan::merged(nas, segment)).flatten();
    let by_place: BTreeMap<(u32, u64), &Segment> =
        found.map(|segment| ((segment.timeline, segment.first_seq), segment)).collect();
    by_place.into_values().cloned().collect()
}

/// Makes one segment of what Wasabi has in several, and puts it there.
async fn merge(
    context: &Arc<Context>,
    wasabi: &Store,
    job: &Job,
    seal: u64,
) -> Result<Replacement, MergeError> {
    let Job { stream, segments, from } = job;
    let (first, last) = (&segments[0], &segments[segments.len() - 1]);
    let (timeline, first_seq, last_seq) = (first.timeline, first.first_seq, last.last_seq);
    let mut merged = Merge::to(Tier::Wasabi);
    for segment in from {
        let fetch = |source| {
            let (stream, key) = (stream.clone(), segment.key.clone());
            MergeError::Fetch { stream, key, source }
        };
        let file = context.try_fetch(segment).await.map_err(fetch)?;
        let to_read = segment.clone();
        let append = tokio::task::spawn_blocking(move || {
            Rows::read(&to_read, &file, |rows| {
                let within = |seq: u64| (first_seq..=last_seq).contains(&seq);
                let mut messages = rows.messages().filter(|message| within(message.seq));
                messages.try_for_each(|message| merged.push(message)).map_err(ReadError::Encode)
            })
            .map(|()| merged)
        });
        merged = append.await.expect("merging does not panic").map_err(|error| match error {
            ReadError::Segment(error) => fetch(error.into()),
            ReadError::Encode(error) => SealError::from(error).into(),
        })?;
    }
    let messages: u64 = segments.iter().map(|segment| segment.messages).sum();
    let differs = || MergeError::Differs { stream: stream.clone(), first_seq, last_seq };
    if merged.messages() != messages {
        return Err(differs());
    }
    let name = stream.clone();
    let finish = tokio::task::spawn_blocking(move || merged.finish(&name, timeline, false));
    let mut finished = finish.await.expect("merging does not panic")?;
    let segment = &mut finished.segment;
    if segment.last != last.last || segment.first_seq != first_seq {
        return Err(differs());
    }
    let own = segments.iter().filter(|segment| segment.part.is_none());
    let sizes: u64 = own.map(|segment| segment.size).sum();
    segment.sealed = plan::is_final(segment.size.max(sizes), seal);
    let key = ArchiveKey::parse(&segment.key).expect("the writer spelled it");
    wasabi.put(&key, finished.file.clone()).await?;
    crate::hooks::fail_point!(ShipSegment);
    let by = vec![SegmentRecord::of(&finished.segment, None)];
    Ok(Replacement { timeline, first_seq, last_seq, by })
}

/// Why reading ended: the segment, or what is made of it.
enum ReadError {
    Segment(SegmentError),
    Encode(ParquetError),
}

impl From<SegmentError> for ReadError {
    fn from(error: SegmentError) -> Self {
        Self::Segment(error)
    }
}
