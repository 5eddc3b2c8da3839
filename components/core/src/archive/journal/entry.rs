//! The stored form of one commit to a journal.
//!
//! Stored in a Parquet object's metadata, under the key `cim.entry`, as `{"sha256":"…","entry":{…}}`; the
//! hash is over the bytes of `entry` as they stand there.
//!
//! Unknown fields are refused, as in [`Entry`](crate::archive::Entry): a new field means a new
//! [`JOURNAL_FORMAT`].

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::checkpoint::StreamCheckpoint;
use super::deletes::DeletesKnown;
use super::erased::Erasure;
use super::record::{Replacement, SegmentRecord};
use super::retention::{Absent, Expired};
use super::served::Served;
use crate::archive::entry::believed;
use crate::archive::format::JOURNAL_FORMAT;
use crate::archive::{
    ConsumerRecord, Deliveries, EntryError, Fork, SeqRange, Sha256, StreamRecord, StreamState,
    Watermark,
};
use crate::names::{ConsumerName, JournalName, StreamName};

/// One commit to a journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct JournalEntry {
    /// [`JOURNAL_FORMAT`] of the writer.
    pub format: u32,
    /// The journal that it belongs to.
    pub journal: JournalName,
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
    /// The decisions, by stream.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub streams: BTreeMap<StreamName, Change>,
    /// Keys of replaced objects that have been deleted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub collected: Vec<String>,
}

/// The decisions of an entry for one stream. An absent field stays as it was.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Change {
    /// Everything about the stream: in its first entry, alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub begin: Option<StreamCheckpoint>,
    /// Opens the next timeline.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fork: Option<Fork>,
    /// Segments that are part of the current timeline from here on, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub add: Vec<SegmentRecord>,
    /// Segments that take the place of others; same messages.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replace: Vec<Replacement>,
    /// Sequences that were archived and have been deleted from the stream since.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deleted: Vec<SeqRange>,
    /// Sequences that the stream had dropped before they could be archived.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missed: Vec<SeqRange>,
    /// Archived sequences that the live stream has lost by damage, all of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost: Option<Vec<SeqRange>>,
    /// The tier's end; absent where that is the last message of `add`, as far as before, or in a new
    /// timeline to where it forks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watermark: Option<Watermark>,
    /// The stream's own counts, when they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<StreamState>,
    /// Its creation and configuration, when they differ.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream: Option<StreamRecord>,
    /// All its durable consumers, when one differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<Vec<ConsumerRecord>>,
    /// By whom it is served, when that differs. Since format 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub served: Option<Served>,
    /// The age of the view of deletes, when that differs: what a message in `add` behind it took away may not be in
    /// `deleted` yet. Absent too in a new timeline of which it is not known. Since format 6.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletes_known: Option<DeletesKnown>,
    /// The knowledge that consumers have of single messages, by consumer: all of it, when one differs. In a new timeline nothing is
    /// known. Since format 7.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deliveries: Option<BTreeMap<ConsumerName, Deliveries>>,
    /// Notes of messages that were erased for good, to be added to those that there are. Since format 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub erased: Vec<Erasure>,
    /// Segments, sealed ones too, that take the place of others without the messages that `erased` names. Since
    /// format 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub cut: Vec<Replacement>,
    /// Whole segments that leave the archive by rule. They were there before the entry, or another tier had them. Since
    /// format 8.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expired: Vec<Expired>,
    /// The stream's absence from JetStream, when that differs. Since format 8.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub absent: Option<Absent>,
}

impl Change {
    /// Reports whether it says more than that the stream begins.
    pub(super) fn says_more(&self) -> bool {
        *self != Self { begin: self.begin.clone(), ..Self::default() }
    }
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    sha256: Sha256,
    entry: Box<RawValue>,
}

impl JournalEntry {
    /// Returns the text to store, and the hash that the next entry stores as `previous`.
    pub fn to_text(&self) -> (String, Sha256) {
        let entry = serde_json::value::to_raw_value(self).expect("an entry is always JSON");
        let sha256 = Sha256::of(entry.get().as_bytes());
        let text = serde_json::to_string(&Stored { sha256, entry }).expect("so is its wrapping");
        (text, sha256)
    }

    /// Reads a stored text, after its hash was verified.
    ///
    /// # Errors
    /// It is cut short, damaged, or of a newer format.
    pub fn from_text(text: &str) -> Result<(Self, Sha256), EntryError> {
        let stored: Stored = serde_json::from_str(text).map_err(EntryError::Unreadable)?;
        believed(&stored.entry, stored.sha256, JOURNAL_FORMAT, EntryError::TooNewJournal)
    }
}
