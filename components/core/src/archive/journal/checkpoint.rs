//! The sum of a journal's entries, restated so that a reader need not go back to entry 0.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::deletes::DeletesKnown;
use super::erased::{Erasure, notes};
use super::record::{SegmentRecord, credible};
use super::retention::Retention;
use super::served::Served;
use crate::archive::entry::believed;
use crate::archive::format::JOURNAL_FORMAT;
use crate::archive::state::{Timeline, validate};
use crate::archive::{
    ArchiveState, Checkpoint, ConsumerRecord, Deliveries, EntryError, Segment, Sha256,
    StreamRecord, Superseded, TimelineRecord,
};
use crate::names::{ConsumerName, JournalName, StreamName};

/// A journal after one of its entries. Stored as `{"sha256":"…","checkpoint":{…}}`, compressed with zstd.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JournalCheckpoint {
    /// [`JOURNAL_FORMAT`] of the writer.
    pub format: u32,
    /// The journal that it belongs to.
    pub journal: JournalName,
    /// The number of the last entry that is in it.
    pub number: u64,
    /// That entry's hash.
    pub hash: Sha256,
    /// The time of that entry's commit, by its writer's clock.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub committed_at: Timestamp,
    /// Every stream.
    pub streams: BTreeMap<StreamName, StreamCheckpoint>,
    /// Replaced objects that are still there, but for journal objects.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub superseded: Vec<Superseded>,
}

/// One stream's archive, restated.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamCheckpoint {
    /// Every timeline; the last is the current one.
    pub timelines: Vec<TimelineRecord>,
    /// Every segment, by timeline and first sequence.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub segments: Vec<SegmentRecord>,
    /// The stream.
    pub stream: StreamRecord,
    /// Its durable consumers.
    pub consumers: Vec<ConsumerRecord>,
    /// By whom it was served, where that is known. Since format 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
    /// The age of the last timeline's view of deletes, if known. Since format 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletes_known: Option<DeletesKnown>,
    /// The knowledge that its consumers have of single messages, by consumer. Since format 7.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub deliveries: BTreeMap<ConsumerName, Deliveries>,
    /// Notes of what was erased of it for good. Since format 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erased: Vec<Erasure>,
    /// Messages that have left its archive by a rule, and the facts that rules go by. Since format 8.
    #[serde(default, skip_serializing_if = "Retention::is_empty")]
    pub retention: Retention,
    /// The number of the last entry that said something about it; 0 where it begins.
    pub number: u64,
    /// The time of that commit, by its writer's clock.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub committed_at: Timestamp,
}

impl StreamCheckpoint {
    /// Restates a stream's archive.
    pub fn of(state: &ArchiveState) -> Self {
        Self {
            timelines: state.timelines.iter().map(|(number, t)| t.to_record(*number)).collect(),
            segments: state.segments.values().map(|s| SegmentRecord::of(s, None)).collect(),
            stream: state.stream.clone(),
            consumers: state.consumers.clone(),
            served: state.served.clone(),
            deletes_known: state.deletes_known.clone(),
            deliveries: state.deliveries.clone(),
            erased: state.erased.clone(),
            retention: state.retention.clone(),
            number: state.number,
            committed_at: state.committed_at,
        }
    }

    /// Returns the restated archive; `own` is the key of the object that holds the checkpoint.
    pub(super) fn open(&self, stream: &StreamName, own: &str) -> Result<ArchiveState, String> {
        let segments: Vec<_> = self.segments.iter().map(|s| s.to_segment(stream, own)).collect();
        let restated =
            Checkpoint { timelines: self.timelines.clone(), segments, superseded: Vec::new() };
        if restated.timelines.is_empty() {
            return Err("it has no timeline".into());
        }
        validate(&restated)?;
        notes(&self.erased, stream)?;
        for segment in &restated.segments {
            credible(segment, stream)?;
            within(segment, &restated.timelines)?;
        }
        let mut retention = self.retention.clone();
        let left = restated.timelines.split_last().map_or(&[][..], |(_, left)| left);
        retention.left_by(left.iter().map(|record| record.number), self.committed_at);
        Ok(ArchiveState {
            number: self.number,
            // A stream's share of a journal has no chain of its own.
            hash: Sha256::of(b""),
            committed_at: self.committed_at,
            timelines: restated.timelines.iter().map(Timeline::from_record).collect(),
            segments: restated
                .segments
                .into_iter()
                .map(|s| ((s.timeline, s.first_seq), s))
                .collect(),
            stream: self.stream.clone(),
            consumers: self.consumers.clone(),
            served: self.served.clone(),
            deletes_known: self.deletes_known.clone(),
            deliveries: self.deliveries.clone(),
            erased: self.erased.clone(),
            retention,
            superseded: Vec::new(),
        })
    }
}

/// Refuses a segment outside its timeline, because segments added behind the watermark could overlap it.
fn within(segment: &Segment, timelines: &[TimelineRecord]) -> Result<(), String> {
    let Segment { key, timeline, first_seq, last_seq, .. } = segment;
    let Some(record) = timelines.iter().find(|record| record.number == *timeline) else {
        return Err(format!("its segment `{key}` is of timeline {timeline}, which is not there"));
    };
    let inherited = record.fork.parent.as_ref().map_or(0, |parent| parent.last_seq);
    if *first_seq <= inherited || *last_seq > record.watermark.seq {
        return Err(format!("its segment `{key}` is outside of timeline {timeline}"));
    }
    Ok(())
}

/// The entry that a checkpoint restates, without the state.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CheckpointHead {
    /// The journal that it belongs to.
    pub journal: JournalName,
    /// The number of the last entry in it.
    pub number: u64,
    /// That entry's hash.
    pub hash: Sha256,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    sha256: Sha256,
    checkpoint: Box<RawValue>,
}

impl JournalCheckpoint {
    /// Returns the object's bytes, not compressed.
    pub fn to_bytes(&self) -> Vec<u8> {
        let checkpoint = serde_json::value::to_raw_value(self).expect("it is always JSON");
        let sha256 = Sha256::of(checkpoint.get().as_bytes());
        serde_json::to_vec(&Stored { sha256, checkpoint }).expect("so is its wrapping")
    }

    /// Reads an object's bytes, after their hash was verified.
    ///
    /// # Errors
    /// It is cut short, damaged, or of a newer format.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, EntryError> {
        read(bytes)
    }

    /// Reads only the entry that a checkpoint restates, after the hash of all its bytes was verified.
    ///
    /// # Errors
    /// It is cut short, damaged, or of a newer format.
    pub fn head(bytes: &[u8]) -> Result<CheckpointHead, EntryError> {
        read(bytes)
    }
}

fn read<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, EntryError> {
    let stored: Stored = serde_json::from_slice(bytes).map_err(EntryError::Unreadable)?;
    let too_new = EntryError::TooNewJournal;
    let read = believed(&stored.checkpoint, stored.sha256, JOURNAL_FORMAT, too_new);
    read.map(|(checkpoint, _)| checkpoint)
}
