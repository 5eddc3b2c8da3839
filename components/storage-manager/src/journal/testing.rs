//! Journals without data, for tests of what decides: only what entries say.

use std::collections::BTreeMap;

use cim_core::archive::journal::{
    Change, JOURNAL_FORMAT, JournalEntry, JournalState, Retention, SegmentRecord, StreamCheckpoint,
};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{RawJson, Sha256, StreamRecord, StreamState, TimelineRecord};
use cim_core::names::{JournalName, StreamName};
use jiff::Timestamp;

/// An empty journal.
pub fn empty(of: JournalOf) -> JournalState {
    JournalState::empty(of, JournalName::new("main").unwrap())
}

/// Folds in an entry that says this.
pub fn apply(state: &mut JournalState, streams: BTreeMap<StreamName, Change>) {
    apply_at(state, Timestamp::UNIX_EPOCH, streams, Vec::new());
}

/// The same, committed at some time; and that objects were deleted.
pub fn apply_at(
    state: &mut JournalState,
    committed_at: Timestamp,
    streams: BTreeMap<StreamName, Change>,
    collected: Vec<String>,
) {
    let entry = JournalEntry {
        format: JOURNAL_FORMAT,
        journal: state.journal.clone(),
        number: state.next(),
        previous: state.hash(),
        committed_at,
        writer: "t".into(),
        streams,
        collected,
    };
    let hash = Sha256::of(&entry.number.to_be_bytes());
    state.apply(&entry, hash).unwrap();
}

/// A stream's name.
pub fn stream(index: usize) -> StreamName {
    format!("S{index}").parse().unwrap()
}

/// A stream that begins, empty.
pub fn begin() -> StreamCheckpoint {
    let timeline = TimelineRecord::first(StreamState::default());
    let config = RawJson::new("{}".into()).unwrap();
    StreamCheckpoint {
        timelines: vec![timeline],
        segments: Vec::new(),
        stream: StreamRecord { created: Timestamp::UNIX_EPOCH, config },
        consumers: Vec::new(),
        served: None,
        deletes_known: None,
        deliveries: BTreeMap::new(),
        erased: Vec::new(),
        retention: Retention::default(),
        number: 0,
        committed_at: Timestamp::UNIX_EPOCH,
    }
}

/// A segment without data; with a key of its own it is a file, else a part.
pub fn record(
    key: Option<String>,
    first: u64,
    last: u64,
    messages: u64,
    bytes: u64,
) -> SegmentRecord {
    let hash = Sha256::of(b"");
    SegmentRecord {
        groups: key.as_ref().is_none_or(|key| key.contains("/shared/")).then_some((0, 1)),
        key,
        timeline: 1,
        first_seq: first,
        last_seq: last,
        first_time: 0,
        last_time: 0,
        messages,
        bytes,
        size: 0,
        sha256: hash,
        last: hash,
        sealed: false,
    }
}
