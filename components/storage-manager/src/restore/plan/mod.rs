//! A restore, worked out before anything is sent.
//!
//! It owns the pieces, the sequences that must not come back and the configuration that the server gets. It does not
//! own what takes reading to know (`resolve`), nor whether the server takes it (`check`).

mod build; // from the state of an archive
mod stream_config; // limits and replicas

pub(super) use build::pieces;
pub use build::plan;

use std::collections::BTreeMap;

use cim_core::archive::journal::Expired;
use cim_core::archive::{
    ConsumerRecord, DeletesKnown, Deliveries, LastMessage, Segment, SeqRange, SeqRanges,
    StreamState,
};
use cim_core::names::{ConsumerName, StreamName, SubjectFilter};
use jiff::Timestamp;
use serde_json::Value;

use super::frame::CHUNK;
use super::partial_batch::PartialBatch;
use super::rolled_up::{RolledUp, Tail};

/// The user's request.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Another name for the restored stream.
    pub rename: Option<StreamName>,
    /// Other subjects for the restored stream.
    pub subjects: Option<Vec<String>>,
    /// Another number of replicas for the restored stream, and no more for its consumers.
    pub replicas: Option<u8>,
    /// Only up to this sequence.
    pub until_seq: Option<u64>,
    /// Only what comes before the first message that is later than this.
    pub until_time: Option<Timestamp>,
    /// Only these subjects.
    pub subject: Option<SubjectFilter>,
    /// Another timeline than the current one.
    pub timeline: Option<u32>,
    /// Under another name, too, with all that reaches the live system.
    pub keep_links: bool,
    /// Also what the stream had dropped by its limits, purges and deletes, as far as it was archived.
    pub with_dropped: bool,
    /// Make the whole snapshot in memory before the server hears of it.
    pub staged: bool,
}

/// Something that the archive cannot give.
#[derive(Debug, thiserror::Error)]
pub enum PlanError {
    /// No such timeline.
    #[error("stream `{stream}` has no timeline {timeline} in the archive: it has 1 to {last}")]
    NoTimeline {
        /// The stream.
        stream: StreamName,
        /// The one asked for.
        timeline: u32,
        /// The newest.
        last: u32,
    },
    /// All of it has left the archive by rule.
    #[error(
        "stream `{stream}`, timeline {timeline}: all its messages up to sequence {last_seq} left the archive by `{rule}` on {}; the other tier may keep them longer", at.strftime("%F")
    )]
    Left {
        /// The stream.
        stream: StreamName,
        /// The timeline.
        timeline: u32,
        /// The last sequence that it had.
        last_seq: u64,
        /// The rule.
        rule: String,
        /// When the last of them left.
        at: Timestamp,
    },
}

/// A restore, worked out.
#[derive(Debug, Clone)]
pub struct Plan {
    /// The archived stream.
    pub stream: StreamName,
    /// Its name on the server.
    pub target: StreamName,
    /// Its configuration.
    pub config: Value,
    /// When it was created.
    pub created: Timestamp,
    /// The timeline that is restored.
    pub timeline: u32,
    /// Those that stand in for what it does not have yet, and the sequences for which they do.
    pub stand_ins: Vec<(u32, SeqRange)>,
    /// The first sequence that may be in it.
    pub first_seq: u64,
    /// The last sequence that comes back.
    pub last_seq: u64,
    /// The last sequence that the stream is known to have given out.
    pub given_out: u64,
    /// The followers that name it, in words.
    pub followers: Vec<String>,
    /// The sequences that it is not to give out again.
    pub fence: Option<Fence>,
    /// The time of the last message that it has given out, though that may be gone.
    pub last_time: i64,
    /// The last message that was archived of it up to there, though that may be gone; `None` where it takes
    /// reading to know.
    pub last: Option<LastMessage>,
    /// Its counts as the server gave them last, where all of it is restored.
    pub counts: Option<StreamState>,
    /// The messages that would come back otherwise and have left the archive by rule.
    pub expired: Vec<Expired>,
    /// Where its messages are: the segment, and the first and last sequence that count.
    pub pieces: Vec<Piece>,
    /// Sequences that must not come back.
    pub removed: SeqRanges,
    /// The end of it that may say of more.
    pub tail: Option<Tail>,
    /// Its content; known when it was read.
    pub rolled_up: RolledUp,
    /// The batch that it would end in; known when that was read.
    pub partial_batch: Option<PartialBatch>,
    /// The parts that take reading were read.
    pub resolved: bool,
    /// Up to where deletes were known when it was archived last, and when that was.
    pub deletes_known: Option<DeletesKnown>,
    /// When something of it was archived last.
    pub archived_at: Timestamp,
    /// Only what comes before the first message that is later than this.
    pub until_time: Option<i64>,
    /// The first message that is known to be later without reading any.
    pub later: Option<FirstLater>,
    /// Segments from there on, as many as are looked at for messages that are not later again.
    pub segments_after: Vec<Segment>,
    /// Only these subjects.
    pub subject: Option<SubjectFilter>,
    /// Its consumers.
    pub consumers: Vec<ConsumerRecord>,
    /// Their state of single messages, as far as that is archived.
    pub deliveries: BTreeMap<ConsumerName, Deliveries>,
    /// The number of messages between its first and its last that were erased for good, and why, each run once.
    pub erased: Vec<(u64, String)>,
    /// The parts of the stream that do not come back, in words.
    pub left_out: Vec<String>,
    /// Make the whole snapshot in memory before the server hears of it.
    pub staged: bool,
    /// The form that the server takes.
    pub capabilities: Capabilities,
}

/// Sequences behind the last one that are not given out again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The last of them.
    pub last_seq: u64,
    /// The followers that may have seen some of them, in words; none where the user asked for it.
    pub followers: Vec<String>,
}

/// The form of a snapshot that a server takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capabilities {
    /// Bytes of a chunk.
    pub chunk: usize,
    /// True if it reads blocks that are compressed.
    pub compressed: bool,
    /// True if it takes note of the messages of a stream in memory, to know them when they are sent again.
    pub duplicates: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { chunk: CHUNK, compressed: false, duplicates: false }
    }
}

/// A message that is later than a point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FirstLater {
    /// Its sequence.
    pub seq: u64,
    /// True if one after it is not: a clock was set back.
    pub back: bool,
}

/// A segment, and the first and the last sequence of it that count.
pub type Piece = (Segment, u64, u64);

impl Plan {
    /// Returns the number of messages at most; fewer if some are removed or filtered out.
    pub fn messages(&self) -> u64 {
        let in_piece = |(segment, first, last): &Piece| segment.messages.min(last - first + 1);
        self.pieces.iter().map(in_piece).sum()
    }

    /// Returns the bytes of messages at most.
    pub fn bytes(&self) -> u64 {
        self.pieces.iter().fold(0, |sum: u64, (segment, ..)| sum.saturating_add(segment.bytes))
    }

    /// Returns the last sequence of the restored stream, after which it goes on.
    pub fn end(&self) -> u64 {
        self.fence.as_ref().map_or(self.last_seq, |fence| fence.last_seq.max(self.last_seq))
    }

    /// Returns true if the stream lives in memory.
    pub fn in_memory(&self) -> bool {
        self.config["storage"] == "memory"
    }

    /// Returns the sequences of a piece that must not come back.
    pub fn removed_in(&self, first_seq: u64, last_seq: u64) -> Vec<SeqRange> {
        self.removed.within(first_seq, last_seq).collect()
    }
}
