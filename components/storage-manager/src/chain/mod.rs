//! A stream's chain of manifest entries on one tier: reading it, and committing to it.
//!
//! - What is committed was durable before: segments first, then the entry that names them.
//! - A commit that failed may still have happened. So a commit is retried with the same bytes under
//!   the same number until the service says which entry is there, and if it is ours, it was us.
//! - When somebody else's entry is there, the commit is a [`CommitError::Conflict`]: the caller
//!   throws its state away and starts again from the chain, which is the truth.
//! - An empty bucket takes any number, and a NAS can be replaced by an empty one at any moment. So the
//!   chain is looked for every second and after each failure, from the entry that was its last when it was
//!   seen before: what was written behind a missing one is withdrawn, and the commit is
//!   [`CommitError::LogMissing`].

mod commit;
mod draft;
mod log;
mod read;

pub use commit::Committer;
pub use draft::Draft;
pub use log::{CommitError, EntryRef, Log};
pub use read::{ReadError, entry, first, groups, load, load_full, streams};
