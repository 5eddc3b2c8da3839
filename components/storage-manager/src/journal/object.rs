//! One entry as an object: rows of all streams, and the decision in its metadata.

use std::collections::BTreeMap;

use bytes::Bytes;
use cim_core::archive::journal::{
    Change, JOURNAL_FORMAT, JournalEntry, JournalState, SegmentRecord,
};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveKey, EntryError, Segment, Sha256};
use cim_core::names::{JournalName, StreamName};
use parquet::errors::ParquetError;

use super::tiers::tier_of;
use crate::s3::Store;
use crate::segment::{Batch, Columns, SharedWriter, entry_text};
use crate::{clock, crypt};

/// zstd level of entries: they are made while messages wait, and merged soon.
const LEVEL: i32 = 1;

/// The content of an entry for a stream.
#[derive(Debug)]
pub enum Item {
    /// A segment that has an object of its own, which is on the tier.
    Segment(Box<Segment>),
    /// Messages that go into the entry's own object.
    Rows(Columns),
}

/// One stream's share of an entry.
#[derive(Debug, Default)]
pub struct Commit {
    /// The decision. Its `add` is filled from `items`.
    pub change: Change,
    /// The new content, ascending.
    pub items: Vec<Item>,
    /// The timeline that it is new in.
    pub timeline: u32,
}

impl Commit {
    /// Puts what belongs to the same stream into one.
    pub fn merge(&mut self, other: Self) {
        let Self { mut change, items, timeline } = other;
        self.change.replace.append(&mut change.replace);
        self.change.expired.append(&mut change.expired);
        let replace = std::mem::take(&mut self.change.replace);
        let expired = std::mem::take(&mut self.change.expired);
        let absent = change.absent.take().or(self.change.absent.take());
        if change != Change::default() {
            self.change = change;
        }
        (self.change.replace, self.change.expired, self.change.absent) = (replace, expired, absent);
        if !items.is_empty() {
            (self.items, self.timeline) = (items, timeline);
        }
    }
}

/// An entry that is ready to be put.
#[derive(Debug)]
pub struct Made {
    /// Its content.
    pub entry: JournalEntry,
    /// Its hash.
    pub hash: Sha256,
    /// Its object.
    pub object: Bytes,
}

/// The place of an entry in its journal.
#[derive(Debug, Clone)]
pub struct Place {
    /// The tier whose journal it is.
    pub of: JournalOf,
    /// The journal.
    pub journal: JournalName,
    /// The entry's number.
    pub number: u64,
    /// The hash of the entry before it.
    pub previous: Option<Sha256>,
    /// The hash of that entry's object, which an encrypted entry says in the clear.
    pub before: Option<Sha256>,
}

impl Place {
    /// Returns the place behind the last entry.
    pub fn after(state: &JournalState) -> Self {
        let journal = state.journal.clone();
        Self { of: state.of, journal, number: state.next(), previous: state.hash(), before: None }
    }

    /// Adds the hash of the object before it, where entries are encrypted: `last` is the last one that was written,
    /// and where that is another the store is asked. An entry without that hash serves all readers but one without a
    /// key.
    pub async fn behind(self, store: &Store, last: Option<(u64, Sha256)>) -> Self {
        let Some(number) = self.number.checked_sub(1) else { return self };
        if crypt::installed().writes(tier_of(self.of)).is_none() {
            return self;
        }
        let known = last.filter(|(last, _)| *last == number).map(|(_, hash)| hash);
        let before = if known.is_some() {
            known
        } else {
            let key = Self { number, ..self.clone() }.key();
            let object = store.get_as_is(&key.to_string()).await.ok();
            object.map(|object| Sha256::of(&object))
        };
        Self { before, ..self }
    }

    /// Returns the key of the entry's object.
    pub fn key(&self) -> ArchiveKey {
        ArchiveKey::Journal { of: self.of, journal: self.journal.clone(), number: self.number }
    }
}

/// Makes the entry of some commits. CPU-bound: milliseconds per MiB.
pub fn make(
    place: Place,
    commits: BTreeMap<StreamName, Commit>,
    collected: Vec<String>,
    writer: &str,
) -> Result<Made, ParquetError> {
    let own = place.key().to_string();
    let mut rows = SharedWriter::behind(place.before, tier_of(place.of), LEVEL);
    let mut streams = BTreeMap::new();
    // A record is known when its row group is; until then its place is kept.
    let mut places: Vec<(StreamName, usize)> = Vec::new();
    for (stream, Commit { mut change, items, timeline }) in commits {
        for item in items {
            match item {
                Item::Segment(segment) => change.add.push(SegmentRecord::of(&segment, None)),
                Item::Rows(columns) if columns.is_empty() => {}
                Item::Rows(columns) => {
                    places.push((stream.clone(), change.add.len()));
                    rows.append(Batch { stream: stream.clone(), timeline, columns })?;
                    change.add.push(unknown());
                }
            }
        }
        streams.insert(stream, change);
    }
    for ((stream, index), part) in places.into_iter().zip(rows.parts()?) {
        let part = Segment { key: own.clone(), ..part };
        let change = streams.get_mut(&stream).expect("it was just put there");
        change.add[index] = SegmentRecord::of(&part, Some(&own));
    }
    let entry = JournalEntry {
        format: JOURNAL_FORMAT,
        journal: place.journal,
        number: place.number,
        previous: place.previous,
        committed_at: clock::now(),
        writer: writer.into(),
        streams,
        collected,
    };
    let (text, hash) = entry.to_text();
    Ok(Made { entry, hash, object: rows.finish(Some(text))? })
}

impl Commit {
    /// Returns what the entry will say was added, but for what decides nothing: hashes, sizes, row groups.
    pub fn outline(&self) -> Vec<SegmentRecord> {
        let items = self.items.iter().filter_map(|item| match item {
            Item::Segment(segment) => Some(SegmentRecord::of(segment, None)),
            Item::Rows(columns) => {
                let last = columns.len().checked_sub(1)?;
                Some(SegmentRecord {
                    timeline: self.timeline,
                    first_seq: columns.message(0).seq,
                    last_seq: columns.message(last).seq,
                    messages: columns.len() as u64,
                    groups: Some((0, 1)),
                    ..unknown()
                })
            }
        });
        items.collect()
    }
}

/// Keeps the place of a record that is not known yet.
fn unknown() -> SegmentRecord {
    let none = Sha256::of(b"");
    SegmentRecord {
        key: None,
        timeline: 0,
        first_seq: 0,
        last_seq: 0,
        first_time: 0,
        last_time: 0,
        messages: 0,
        bytes: 0,
        size: 0,
        sha256: none,
        last: none,
        groups: None,
        sealed: false,
    }
}

/// An object that is not a journal's entry.
#[derive(Debug, thiserror::Error)]
pub enum ObjectError {
    /// It is no Parquet file, or cut short.
    #[error("the object is cut short, or is not a Parquet file")]
    Cut,
    /// It is a Parquet file without an entry.
    #[error("the object has no entry in its metadata")]
    Bare,
    /// Its entry cannot be believed.
    #[error(transparent)]
    Entry(#[from] EntryError),
}

/// Reads an entry from its object.
///
/// # Errors
/// When the object is no entry, or damaged.
pub fn read_entry(object: &Bytes) -> Result<(JournalEntry, Sha256), ObjectError> {
    read_entry_at_end(object, object.len() as u64)
}

/// Reads an entry from the end of an object of `size` bytes: messages are before it.
pub(super) fn read_entry_at_end(
    tail: &Bytes,
    size: u64,
) -> Result<(JournalEntry, Sha256), ObjectError> {
    let text = entry_text(tail, size).map_err(|_| ObjectError::Cut)?;
    Ok(JournalEntry::from_text(&text.ok_or(ObjectError::Bare)?)?)
}
