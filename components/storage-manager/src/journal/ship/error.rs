//! Something that did not get to Wasabi. It is tried again.

use cim_core::names::StreamName;
use parquet::errors::ParquetError;

use crate::chain::{CommitError, ReadError};
use crate::journal::JournalClosed;
use crate::journal::open::OpenError;
use crate::s3::S3Error;
use crate::tier::error::FetchError;

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
    /// A decided entry is damaged before it got to Wasabi, and the NAS has messages there alone.
    #[error("`{key}` was decided for Wasabi and is damaged on the NAS before it got there: {why}")]
    Undecided {
        /// Its key.
        key: String,
        /// The reason.
        why: String,
    },
    /// Wasabi has another entry than was decided.
    #[error(
        "Wasabi holds another `{0}` than the NAS decided: two archives share this bucket; give each its own"
    )]
    Diverged(String),
}

/// Why something did not get to Wasabi. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// Its journal.
    #[error(transparent)]
    Decide(#[from] OutboxError),
    /// Wasabi did not answer.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// The entry could not be made.
    #[error("cannot encode a journal entry")]
    Encode(#[from] ParquetError),
    /// A segment could not be read from the NAS.
    #[error("cannot copy `{key}` to Wasabi")]
    Fetch {
        /// Its key.
        key: String,
        /// Why.
        source: FetchError,
    },
    /// Wasabi has another history of a stream.
    #[error(
        "stream `{stream}`: Wasabi has another message {seq} than the NAS, so the stream is not copied; keep that bucket, and give the archive of this host another one"
    )]
    OtherHistory {
        /// The stream.
        stream: StreamName,
        /// The sequence at which they differ.
        seq: u64,
    },
    /// The chain of a stream at Wasabi, which its journal goes on with.
    #[error(transparent)]
    Chain(ReadError),
    /// The NAS's journal was closed.
    #[error(transparent)]
    Journal(#[from] JournalClosed),
}

/// The way out where Wasabi's journal cannot be read, and the NAS does not have the entry either.
const DAMAGED: &str = "nothing gets to Wasabi until then: put the object back from a copy, or give Wasabi a new, empty \
     bucket, into which everything is copied anew, and keep this one";

impl ShipError {
    /// Returns what to do, where Wasabi's journal is damaged.
    pub(super) fn way_out(&self) -> Option<&'static str> {
        let damaged = match self {
            Self::Decide(OutboxError::Open(OpenError::S3(error))) => error.kind.is_damage(),
            Self::Decide(OutboxError::Open(_) | OutboxError::Undecided { .. }) => true,
            _ => false,
        };
        damaged.then_some(DAMAGED)
    }

    /// Returns whether it keeps one stream from Wasabi, and no other.
    pub(super) fn is_of_one_stream(&self) -> bool {
        match self {
            Self::OtherHistory { .. } => true,
            Self::Chain(error) => !matches!(error, ReadError::S3(_)),
            _ => false,
        }
    }
}
