//! A manifest entry: the stored form of one commit.
//!
//! Stored as `{"sha256":"…","entry":{…}}`; the hash is over the bytes of `entry` as they stand in
//! the object, so a flipped bit is found before any value is used, in the newest entry too.
//!
//! Unknown fields are refused: a reader that ignored, say, deletes would restore another stream
//! than the one that was archived. So a new field means a new [`FORMAT`], an old reader says that
//! it is too old, and a new reader reads the old format. An old writer refuses to add to a chain
//! whose head it cannot read.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::format::{FORMAT, JOURNAL_FORMAT};
use crate::archive::{Part, RawJson, SeqRange, Sha256};
use crate::names::ConsumerName;

/// One commit to a stream's archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// [`FORMAT`] of the writer.
    pub format: u32,
    /// 0, 1, 2, … without gaps.
    pub number: u64,
    /// SHA-256 of the previous entry's `entry` bytes; absent in entry 0.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<Sha256>,
    /// The time of the commit, by the writer's clock.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub committed_at: Timestamp,
    /// Node and process that wrote it, for people; nothing depends on it.
    pub writer: String,
    /// The timeline that this entry extends; counts from 1.
    pub timeline: u32,
    /// Present when this entry opens its timeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<Fork>,
    /// Segments that are part of the stream from here on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<Segment>,
    /// Keys of segments that the added ones replace; same range, same messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remove: Vec<String>,
    /// Keys of replaced segments whose objects have been deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collected: Vec<String>,
    /// Sequences that were archived and have been deleted from the stream since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<SeqRange>,
    /// Sequences that the stream had dropped before they could be archived.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<SeqRange>,
    /// Archived sequences that the live stream has lost by damage: no deletes, so a restore brings
    /// them back. Present when they differ from the previous entry's. Since format 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Vec<SeqRange>>,
    /// The tier's end with this entry.
    pub watermark: Watermark,
    /// The stream's own counts when the entry was made.
    pub state: StreamState,
    /// Present when the configuration differs from the previous entry's, and in checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamRecord>,
    /// All durable consumers; present when one differs from the previous entry's, and in checkpoints.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<Vec<ConsumerRecord>>,
    /// The whole state after this entry; in every 256th.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub checkpoint: Option<Checkpoint>,
}

/// An immutable Parquet file of consecutive messages.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Segment {
    /// Its object's key.
    pub key: String,
    /// The timeline that it was written in.
    pub timeline: u32,
    /// Sequence of its first message.
    pub first_seq: u64,
    /// Sequence of its last message. What lies between and is not in the file did not exist, and so
    /// it is with what lies between one segment and the next.
    pub last_seq: u64,
    /// Time of its first message.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub first_time: Timestamp,
    /// Time of its last message.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub last_time: Timestamp,
    /// Messages in the file.
    pub messages: u64,
    /// Bytes of subjects, headers and payloads in the file, uncompressed.
    pub bytes: u64,
    /// Bytes of the file.
    pub size: u64,
    /// SHA-256 of the file.
    pub sha256: Sha256,
    /// The last message, to tell histories apart without reading the file.
    pub last: LastMessage,
    /// True if it has its final size: only such segments go to Wasabi, and they are never replaced.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
    /// Its place, when it shares its object with others. Only a journal has such segments, and it
    /// stores them in a form of its own.
    #[serde(skip)]
    pub part: Option<Part>,
}

/// A message that identifies a point in a stream's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LastMessage {
    /// Its sequence.
    pub seq: u64,
    /// Its time.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// Its [`message_hash`](crate::archive::message_hash).
    pub sha256: Sha256,
}

/// A tier's end.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Watermark {
    /// The last sequence that the tier holds durably; 0 when there is none.
    pub seq: u64,
    /// The last message at or before it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last: Option<LastMessage>,
}

/// The reason and the place of a timeline's beginning.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Fork {
    /// The part that the new timeline inherits; absent when it shares nothing with what was there before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<ParentTimeline>,
    /// For people: `created`, `recreated`, `goes on from an earlier point` (restored to it, or the server
    /// lost what came after; older archives: `restored to an earlier point`), or `restored from an
    /// earlier timeline`.
    pub reason: String,
}

impl Fork {
    /// The reason of a timeline that archives a stream anew, starting where the previous one is damaged. The live
    /// stream was the same all the time.
    pub const ANEW: &str = "a damaged part is archived anew";
}

/// The part of another timeline that this one continues.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ParentTimeline {
    /// Its number.
    pub timeline: u32,
    /// The last sequence that both have.
    pub last_seq: u64,
}

/// A timeline, as a checkpoint restates it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TimelineRecord {
    /// Counts from 1.
    pub number: u32,
    /// The reason and the place of its beginning.
    pub fork: Fork,
    /// Sequences deleted after they were archived.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<SeqRange>,
    /// Sequences dropped before they were archived.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<SeqRange>,
    /// Archived sequences that the live stream has lost by damage. Since format 2.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lost: Vec<SeqRange>,
    /// This timeline's end.
    pub watermark: Watermark,
    /// The stream's counts when the timeline was last extended.
    pub state: StreamState,
    /// The stream as it was when another timeline took over; never of the current one. Since format 3.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left: Option<TimelineEnd>,
}

impl TimelineRecord {
    /// Returns a stream's first timeline, with no message yet.
    pub fn first(state: StreamState) -> Self {
        Self {
            number: 1,
            fork: Fork { parent: None, reason: "created".into() },
            deleted: Vec::new(),
            missed: Vec::new(),
            lost: Vec::new(),
            watermark: Watermark { seq: 0, last: None },
            state,
            left: None,
        }
    }
}

/// A stream as a timeline left it: a restore of that timeline brings this back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Left")]
pub struct TimelineEnd {
    /// The stream.
    pub stream: StreamRecord,
    /// Its durable consumers.
    pub consumers: Vec<ConsumerRecord>,
}

/// The stream's counts, as the server reports them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamState {
    /// First sequence that the stream still holds; one past the last in an empty stream.
    pub first_seq: u64,
    /// Last sequence that it ever gave out.
    pub last_seq: u64,
    /// Messages.
    pub messages: u64,
    /// Bytes, as the server counts them.
    pub bytes: u64,
}

/// The stream's identity: creation and configuration.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamRecord {
    /// The stream's creation time; another value under the same name is another history.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created: Timestamp,
    /// Its configuration as the server printed it.
    pub config: RawJson,
}

/// A durable consumer and its position.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ConsumerRecord {
    /// Its name.
    pub name: ConsumerName,
    /// Its creation time.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub created: Timestamp,
    /// Its configuration as the server printed it.
    pub config: RawJson,
    /// The last message that was delivered.
    pub delivered: Position,
    /// The last message up to which all are acknowledged.
    pub ack_floor: Position,
    /// Delivered and not yet acknowledged.
    pub ack_pending: u64,
}

/// A place in a consumer's and in the stream's sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// The consumer's own count.
    pub consumer_seq: u64,
    /// The stream's.
    pub stream_seq: u64,
}

/// A segment that was replaced and whose object is still there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Superseded {
    /// Its object's key.
    pub key: String,
    /// The time of its replacement.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub since: Timestamp,
}

/// The whole state, restated so that a reader need not go back to entry 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Checkpoint {
    /// Every timeline; the last is the current one.
    pub timelines: Vec<TimelineRecord>,
    /// Every segment, by timeline and first sequence.
    pub segments: Vec<Segment>,
    /// Replaced segments whose objects are still there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub superseded: Vec<Superseded>,
}

/// An object that is not an intact manifest entry.
#[derive(Debug, thiserror::Error)]
pub enum EntryError {
    /// Not JSON of the right shape: cut short, or written by something else.
    #[error("manifest entry cannot be read: it is cut short or not one")]
    Unreadable(#[source] serde_json::Error),
    /// Its bytes are not those that were written.
    #[error("manifest entry is damaged: its SHA-256 is {actual}, it says {stated}")]
    Damaged {
        /// The hash that it states.
        stated: Sha256,
        /// The hash of its bytes.
        actual: Sha256,
    },
    /// Written by a newer version.
    #[error("manifest entry has format {0}, this version reads up to {FORMAT}: use a newer one")]
    TooNew(u32),
    /// A journal's, written by a newer version.
    #[error("it has format {0}, this version reads up to {JOURNAL_FORMAT}: use a newer one")]
    TooNewJournal(u32),
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    sha256: Sha256,
    entry: Box<RawValue>,
}

#[derive(Deserialize)]
struct FormatOnly {
    format: u32,
}

/// Reads a stored text with its hash, if the hash agrees and the format is not above `newest`.
pub(super) fn believed<T: DeserializeOwned>(
    text: &RawValue,
    stated: Sha256,
    newest: u32,
    too_new: fn(u32) -> EntryError,
) -> Result<(T, Sha256), EntryError> {
    let text = text.get();
    let actual = Sha256::of(text.as_bytes());
    if actual != stated {
        return Err(EntryError::Damaged { stated, actual });
    }
    let FormatOnly { format } = serde_json::from_str(text).map_err(EntryError::Unreadable)?;
    if format > newest {
        return Err(too_new(format));
    }
    let read = serde_json::from_str(text).map_err(EntryError::Unreadable)?;
    Ok((read, actual))
}

impl Entry {
    /// Returns the object's bytes, and the hash that the next entry stores as `previous`.
    pub fn to_object(&self) -> (Vec<u8>, Sha256) {
        let entry = serde_json::value::to_raw_value(self).expect("an entry is always JSON");
        let sha256 = Sha256::of(entry.get().as_bytes());
        let object = serde_json::to_vec(&Stored { sha256, entry }).expect("so is its wrapping");
        (object, sha256)
    }

    /// Reads an object, after its hash was verified.
    pub fn from_object(bytes: &[u8]) -> Result<(Self, Sha256), EntryError> {
        let stored: Stored = serde_json::from_slice(bytes).map_err(EntryError::Unreadable)?;
        believed(&stored.entry, stored.sha256, FORMAT, EntryError::TooNew)
    }
}
