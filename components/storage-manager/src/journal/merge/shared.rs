//! Merges shared objects into one of the next level, and into segments of streams that have enough.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::journal::{Part, Replacement, SegmentRecord};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveKey, Segment, Sha256};
use cim_core::names::{JournalName, StreamName};
use tokio::sync::mpsc;

use super::error::MergeError;
use super::fetch::{Replacements, fetch};
use super::plan;
use crate::journal::{Journal, check_text};
use crate::s3::Tier;
use crate::segment::{Batch, Columns, Finished, SegmentError, SharedReader, SharedWriter};
use crate::tier::Context;
use crate::tier::error::FetchError;
use crate::tier::merge::{Merge, SealError};
use crate::tier::upload::{Patience, may_be_sealed, put};

/// zstd level: what is merged is kept.
const LEVEL: i32 = 3;
/// Segments that are made and not uploaded yet.
const AHEAD: usize = 2;

/// Neighbouring parts of one stream.
type Run = (StreamName, Vec<Segment>);

/// Merges some objects of a level.
pub(super) async fn merge(
    context: &Arc<Context>,
    journal: &Journal,
    level: u8,
    keys: &[String],
) -> Result<Replacements, MergeError> {
    let wanted: BTreeSet<&str> = keys.iter().map(String::as_str).collect();
    let (name, number, runs) = journal.with(|state| {
        let runs = state.streams.iter().flat_map(|(stream, archive)| {
            let runs = plan::runs(archive, &wanted).into_iter();
            runs.map(|run| (stream.clone(), run.into_iter().cloned().collect()))
        });
        (state.journal.clone(), state.next(), runs.collect::<Vec<Run>>())
    });
    let (mut files, mut locked) = (BTreeMap::new(), None);
    for segment in runs.iter().flat_map(|(_, run)| run) {
        if files.contains_key(&segment.key) {
            continue;
        }
        if context.locked.has(&segment.key) {
            locked = Some(&segment.key);
            continue;
        }
        match fetch(context, segment).await {
            Ok(file) => {
                check_text(context, journal, &segment.key, &file);
                files.insert(segment.key.clone(), file);
            }
            // It is tried again without all that there is no key of.
            Err(MergeError::Fetch { source, .. }) if context.locked.note_fetch(&source) => {
                locked = Some(&segment.key);
                files.clear();
            }
            Err(error) => return Err(error),
        }
    }
    if let Some(key) = locked {
        return Err(MergeError::Locked(key.clone()));
    }
    let (sender, mut made) = mpsc::channel::<Finished>(AHEAD);
    let seal = context.config.seal.size.bytes() as u64;
    let task = Task { name, number, level, seal };
    let merging = tokio::task::spawn_blocking(move || task.run(runs, files, &sender));
    while let Some(finished) = made.recv().await {
        put(context, &finished, Patience::Brief).await.map_err(SealError::from)?;
    }
    let (object, replacements) = merging.await.expect("merging does not panic")?;
    if let Some((key, object)) = object {
        let what = format!("writing `{key}`");
        let put =
            context.retry_until_cancelled(&what, || context.nas.put(&key, object.clone())).await;
        put.map_err(SealError::from)?;
    }
    Ok(replacements)
}

struct Task {
    name: JournalName,
    number: u64,
    level: u8,
    seal: u64,
}

/// The object that is shared, if there is one.
type Object = Option<(ArchiveKey, Bytes)>;

impl Task {
    /// Merges shared objects, on a blocking thread.
    fn run(
        &self,
        runs: Vec<Run>,
        files: BTreeMap<String, Bytes>,
        made: &mpsc::Sender<Finished>,
    ) -> Result<(Object, Replacements), MergeError> {
        let mut readers = BTreeMap::new();
        for (key, file) in files {
            let reader = SharedReader::open(&key, file).map_err(|error| damaged(&key, error))?;
            readers.insert(key, reader);
        }
        let mut replacements = Replacements::new();
        let mut writer = SharedWriter::to(Tier::Nas, LEVEL);
        let mut places: Vec<(StreamName, usize)> = Vec::new();
        for (stream, run) in runs {
            let bytes: u64 = run.iter().map(|segment| segment.bytes).sum();
            let (timeline, first_seq) = (run[0].timeline, run[0].first_seq);
            let last_seq = run[run.len() - 1].last_seq;
            let of_stream = replacements.entry(stream.clone()).or_default();
            let by = if bytes >= plan::enough(self.level) {
                let mut merged = Merge::to(Tier::Nas);
                read(&mut readers, &run, |message| {
                    Ok(merged.push(message).map_err(SealError::from)?)
                })?;
                let mut finished = merged.finish(&stream, timeline, false)?;
                finished.segment.sealed =
                    may_be_sealed() && plan::is_final(finished.segment.size, self.seal);
                let record = SegmentRecord::of(&finished.segment, None);
                // The other end hangs up only when the job has failed: then nothing is committed.
                made.blocking_send(finished).unwrap_or_default();
                vec![record]
            } else {
                let mut columns = Columns::default();
                read(&mut readers, &run, |message| {
                    columns.push(message);
                    Ok(())
                })?;
                places.push((stream.clone(), of_stream.len()));
                let batch = Batch { stream: stream.clone(), timeline, columns };
                writer.append(batch).map_err(SealError::from)?;
                Vec::new()
            };
            of_stream.push(Replacement { timeline, first_seq, last_seq, by });
        }
        let parts = writer.parts().map_err(SealError::from)?;
        if parts.is_empty() {
            return Ok((None, replacements));
        }
        let object = writer.finish(None).map_err(SealError::from)?;
        let key = ArchiveKey::Shared {
            of: JournalOf::Secondary,
            journal: self.name.clone(),
            level: self.level.saturating_add(1),
            number: self.number,
            hash: Sha256::of(&object).short(),
        };
        for ((stream, index), part) in places.into_iter().zip(parts) {
            let part = Segment { key: key.to_string(), ..part };
            let of_stream = replacements.get_mut(&stream).expect("it was put there");
            of_stream[index].by = vec![SegmentRecord::of(&part, None)];
        }
        Ok((Some((key, object)), replacements))
    }
}

/// Reads the parts of a run, one after the other.
fn read(
    readers: &mut BTreeMap<String, SharedReader>,
    run: &[Segment],
    mut each: impl FnMut(crate::segment::Message<'_>) -> Result<(), MergeError>,
) -> Result<(), MergeError> {
    for segment in run {
        let reader = readers.get_mut(&segment.key).expect("all were fetched");
        let Some(part) = &segment.part else { continue };
        let part = Part::clone(part);
        reader.read(segment, &part, |message| each(message).map_err(ReadError::Merge)).map_err(
            |error| match error {
                ReadError::Segment(error) => damaged(&segment.key, error),
                ReadError::Merge(error) => error,
            },
        )?;
    }
    Ok(())
}

/// Why reading ended: the object, or what is done with its messages.
enum ReadError {
    Segment(SegmentError),
    Merge(MergeError),
}

impl From<SegmentError> for ReadError {
    fn from(error: SegmentError) -> Self {
        Self::Segment(error)
    }
}

fn damaged(key: &str, error: SegmentError) -> MergeError {
    MergeError::Fetch { key: key.to_owned(), source: FetchError::from(error) }
}
