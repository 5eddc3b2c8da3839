//! The ways in which a commit ends, and the count of commits behind a checkpoint.

use std::sync::Arc;

use super::validate::Refused;

/// The journal was closed: its log is another one, or cannot be written. It is opened anew.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the journal was closed: {0}")]
pub struct JournalClosed(pub(super) Arc<str>);

/// A commit that did not come about, or of which a part did not.
#[derive(Debug, Clone, thiserror::Error)]
#[error(transparent)]
pub enum NotCommitted {
    /// The journal was closed: whether the entry was committed, reading it again will tell.
    Closed(#[from] JournalClosed),
    /// One of its streams' share. The rest of it was committed.
    Refused(#[from] Refused),
}

/// The number of entries behind the last checkpoint, and their bytes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Committed {
    /// The entries' number.
    pub entries: u64,
    /// Their objects' bytes.
    pub bytes: u64,
}
