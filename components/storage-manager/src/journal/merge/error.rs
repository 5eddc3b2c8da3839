//! Merges that did not come about.

use crate::journal::NotCommitted;
use crate::tier::error::FetchError;
use crate::tier::merge::SealError;

/// A merge that did not come about; what was to be merged stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// An object could not be read.
    #[error("cannot merge `{key}`")]
    Fetch {
        /// Its key.
        key: String,
        /// Why.
        source: FetchError,
    },
    /// There is no key of an object. The others are merged without it.
    #[error("cannot merge `{0}` without its encryption key")]
    Locked(String),
    /// The result could not be made, or S3 did not take it.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// The journal was closed, or did not take it.
    #[error(transparent)]
    Journal(#[from] NotCommitted),
}
