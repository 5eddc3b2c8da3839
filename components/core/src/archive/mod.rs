//! The archive: the content of a tier's bucket, and how to read it without this project.
//!
//! Invariants, in the order in which a reader may rely on them:
//!
//! 1. A **segment** is a Parquet file of consecutive messages. Its key ends in its own hash, so a key
//!    is never written twice with different bytes. A segment that no manifest entry names belongs to
//!    no archive: its writer died before it committed.
//! 2. A **manifest entry** is one commit. Entries are numbered from 0 without gaps and each carries
//!    the hash of the one before it. An entry exists or it does not: it is written with
//!    `If-None-Match: *`, never changed, and everything that it names was durable before it was.
//! 3. Folding the entries in order gives the [`ArchiveState`]. Entry `n` with `n % 256 == 0` is a
//!    checkpoint that restates the whole state, so a reader lists the groups, takes the last one and
//!    reads at most 256 objects.
//! 4. The same layout holds on every tier. Only the set of segments differs: all of them on
//!    the NAS, only sealed ones at Wasabi.
//!
//! [`key`] alone knows how keys are spelled; [`entry`] is the stored form of a commit; [`state`] is
//! the fold.

pub mod anchor;
pub mod deliveries;
pub mod entry;
pub mod format;
pub mod hash;
pub mod journal;
pub mod key;
pub mod part;
pub mod ranges;
pub mod raw;
pub mod state;

pub use anchor::{ANCHOR, anchor};
pub use deliveries::{Deliveries, Pending, PendingRun, Redelivered, RedeliveredRun};
pub use entry::{
    Checkpoint, ConsumerRecord, Entry, EntryError, Fork, LastMessage, ParentTimeline, Position,
    Segment, StreamRecord, StreamState, Superseded, TimelineEnd, TimelineRecord, Watermark,
};
pub use format::FORMAT;
pub use hash::{Sha256, message_hash};
pub use journal::DeletesKnown;
pub use key::{ArchiveKey, KeyError};
pub use part::Part;
pub use ranges::{SeqRange, SeqRanges};
pub use raw::RawJson;
pub use state::{ArchiveState, ChainError, Piece};
