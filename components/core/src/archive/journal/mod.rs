//! The journal: one numbered log of the newest messages of all streams.
//!
//! Invariants, in the order in which a reader may rely on them:
//!
//! 1. Entry `n` is one Parquet object, `…/entries/<n>.parquet`. Its rows are the messages of every stream that
//!    had new ones; its metadata holds the decision ([`JournalEntry`]). It is written with `If-None-Match: *`,
//!    so data and decision become durable together, and only one of two writers gets a number.
//! 2. Entries are numbered from 0 without gaps, and each carries the hash of the one before it.
//! 3. Everything that an entry names besides its own rows (segments of their own, merged objects) was
//!    durable before it.
//! 4. Folding the entries in order gives the [`JournalState`]: an [`ArchiveState`](crate::archive::ArchiveState)
//!    for each stream. A [`JournalCheckpoint`] restates it, so a reader takes the newest one and reads the
//!    entries behind it.
//! 5. What was erased for good is named by signed notes ([`Erasure`]); segments without it have taken the place of
//!    those that had it.
//! 6. A segment that shares its object with others ([`Part`]) is checked by the hash of its messages; one that
//!    has an object of its own by the hash of its file.

mod checkpoint;
mod deletes;
mod entry;
mod erased;
mod erasures;
mod expired;
mod fold;
mod record;
mod retention;
mod served;
mod state;

pub use super::format::JOURNAL_FORMAT;
pub use super::part::Part;
pub use checkpoint::{CheckpointHead, JournalCheckpoint, StreamCheckpoint};
pub use deletes::DeletesKnown;
pub use entry::{Change, JournalEntry};
pub use erased::{ErasedFrom, ErasedIn, Erasure, ErasureNote};
pub use record::{Replacement, SegmentRecord};
pub use retention::{Absent, Expired, LeftAt, Retention};
pub use served::Served;
pub use state::{JournalError, JournalState};
