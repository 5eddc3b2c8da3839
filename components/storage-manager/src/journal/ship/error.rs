//! Entries that did not get to Wasabi.

use crate::chain::CommitError;
use crate::journal::open::OpenError;
use crate::s3::S3Error;

/// Something did not get to Wasabi. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// A journal could not be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The entry was not decided on the NAS.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A tier did not answer.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// The entry does not follow from what Wasabi says.
    #[error(transparent)]
    Journal(#[from] cim_core::archive::journal::JournalError),
    /// What was decided is damaged before it got to Wasabi, and the NAS has messages there alone.
    #[error("`{key}` was decided for Wasabi and is damaged on the NAS before it got there: {why}")]
    Undecided {
        /// Its key.
        key: String,
        /// How.
        why: String,
    },
    /// Wasabi has another entry than was decided.
    #[error(
        "Wasabi holds another `{0}` than the NAS decided: two archives share this bucket; give each its own"
    )]
    Diverged(String),
}
