//! Checks that an entry's object from Wasabi is what it was: its decision, and the messages of every part of it that the
//! NAS's journal names.

use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::journal::{JournalEntry, JournalState};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveKey, Part, Segment};
use cim_core::names::{JournalName, StreamName};

use crate::journal::Journal;
use crate::journal::object::{ObjectError, read_entry};
use crate::segment::{SegmentError, SharedReader};
use crate::tier::Context;

/// Bytes of messages from which on rows of another stream begin a row group: beside one stream's rows there are at
/// most so many in one.
const BESIDE: u64 = 1 << 20;

/// An object that is not what it was.
#[derive(Debug, thiserror::Error)]
pub(super) enum IntegrityError {
    /// It is no entry.
    #[error(transparent)]
    Entry(#[from] ObjectError),
    /// It is an entry, and another one.
    #[error("it is entry {number} of journal `{journal}`")]
    Other {
        /// The messages of the part.
        journal: JournalName,
        /// Its number.
        number: u64,
    },
    /// It cannot be read.
    #[error(transparent)]
    Object(#[from] SegmentError),
    /// Messages in it are not what they were.
    #[error("stream `{stream}`, sequences {first_seq} to {last_seq}")]
    Part {
        /// Their stream.
        stream: StreamName,
        /// The first of them.
        first_seq: u64,
        /// The last.
        last_seq: u64,
        /// The reason.
        source: Box<SegmentError>,
    },
}

/// Reads all that the journal names in the object with this key; `None` where that is nothing any more. The rows
/// that it takes are in the budget.
pub(super) async fn check(
    context: &Arc<Context>,
    journal: &Journal,
    key: &str,
    object: Bytes,
) -> Result<Option<Bytes>, IntegrityError> {
    let (entry, _) = read_entry(&object)?;
    let (of, number) = (JournalOf::Tertiary, entry.number);
    let own = ArchiveKey::Journal { of, journal: entry.journal.clone(), number };
    if own.to_string() != key {
        return Err(IntegrityError::Other { journal: entry.journal, number });
    }
    let parts = parts(&entry, |stream, timeline, first_seq| {
        journal.stream(stream, |state| {
            let named = state.segments.get(&(timeline, first_seq));
            named.filter(|segment| segment.key == key).cloned()
        })?
    });
    let Some(most) = parts.iter().map(|(_, segment)| segment.bytes).max() else { return Ok(None) };
    let most = usize::try_from(most.saturating_add(BESIDE)).unwrap_or(usize::MAX);
    let _held = context.budget.reserve_beside(most, None).await;
    let (key, to_read) = (key.to_owned(), object.clone());
    let read = tokio::task::spawn_blocking(move || read(&key, to_read, &parts));
    read.await.expect("reading does not panic").map(|()| Some(object))
}

/// Reads all that a state names in the object with this key.
pub(super) async fn check_all(
    state: &JournalState,
    key: &str,
    object: Bytes,
) -> Result<(), IntegrityError> {
    let segments = state.streams.values().flat_map(|archive| archive.segments.values());
    let parts = segments.filter(|segment| segment.key == key).filter_map(|segment| {
        let part = segment.part.clone()?;
        Some((part, segment.clone()))
    });
    let (parts, key): (Vec<_>, _) = (parts.collect(), key.to_owned());
    let read = tokio::task::spawn_blocking(move || read(&key, object, &parts));
    read.await.expect("reading does not panic")
}

/// Returns the parts that an entry has in its own object and `named` knows of, in the order in which they stand
/// there.
fn parts(
    entry: &JournalEntry,
    named: impl Fn(&StreamName, u32, u64) -> Option<Segment>,
) -> Vec<(Part, Segment)> {
    let mut parts = Vec::new();
    for (stream, change) in &entry.streams {
        let added = change.add.iter().chain(change.replace.iter().flat_map(|r| &r.by));
        let own = added.filter(|record| record.key.is_none() && record.groups.is_some());
        let mut own: Vec<_> = own.map(|record| (record.timeline, record.first_seq)).collect();
        own.sort_unstable();
        parts.extend(own.into_iter().filter_map(|(timeline, first_seq)| {
            let segment = named(stream, timeline, first_seq)?;
            Some((segment.part.clone()?, segment))
        }));
    }
    parts
}

fn read(key: &str, object: Bytes, parts: &[(Part, Segment)]) -> Result<(), IntegrityError> {
    let mut reader = SharedReader::open(key, object)?;
    for (part, segment) in parts {
        let read = reader.read(segment, part, |_| Ok::<_, SegmentError>(()));
        read.map_err(|source| IntegrityError::Part {
            stream: part.stream.clone(),
            first_seq: segment.first_seq,
            last_seq: segment.last_seq,
            source: Box::new(source),
        })?;
    }
    Ok(())
}
