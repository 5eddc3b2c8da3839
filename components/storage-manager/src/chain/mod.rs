//! A stream's chain of manifest entries on one tier: reading it, and committing to it.
//!
//! | step | file | function |
//! |---|---|---|
//! | read the chain | `chain/read.rs` | `load` |
//! | draft an entry | `chain/draft.rs` | `Draft::from_state`, `Draft::into_entry` |
//! | commit it | `chain/commit.rs` | `Committer::commit` |
//! | write it under its number | `chain/log.rs` | `Log::put` |
//! | verify that the log is there still | `chain/log.rs` | `Log::verify_anchor` |
//!
//! It owns the entries of chains, and for chains and journals alike the conditional write of the next number.
//!
//! It does not own segments, which are durable before an entry names them, nor the decision what an entry says: sessions
//! (`crate::tier`) draft it.
//!
//! Invariants
//! - What is committed was durable before: segments first, then the entry that names them.
//! - A commit that failed may still have happened. So a commit is retried with the same bytes under
//!   the same number until the service says which entry is there, and if it is ours, it was us.
//! - When the entry of another writer is there, the commit is a [`CommitError::Conflict`]: the caller
//!   throws its state away and starts again from the chain, which is the truth.
//! - An empty bucket takes any number, and a NAS can be replaced by an empty one at any moment. So the
//!   chain is looked for every second and after each failure, from the entry that was its last when it was
//!   seen before: what was written behind a missing one is rolled back, and the commit is
//!   [`CommitError::LogMissing`].

mod read; // reading
mod draft; // what an entry is to say
mod commit; // one chain
mod log; // numbered entries, of chains and journals
#[cfg(test)]
pub(crate) mod testing; // segments without data

pub use commit::Committer;
pub use draft::Draft;
pub use log::{CommitError, EntryRef, Log};
pub use read::{ReadError, entry, first, groups, load, load_full, streams};
