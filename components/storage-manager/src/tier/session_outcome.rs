//! The end of a session: well, or with an error after which the next one begins at the manifest.

use cim_core::names::StreamName;

use super::error::{FetchError, ReaderError, UploadError};
use super::history::HistoryError;
use crate::chain::{CommitError, ReadError};
use crate::jetstream::ApiError;
use crate::journal::{JournalClosed, NotCommitted, Refused};
use crate::s3::S3Error;

/// Why a session ended well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionOutcome {
    /// The stream is gone.
    StreamDeleted,
    /// The stream has changed as was waited for, or may have.
    StreamChanged,
    /// A part of its archive is to be archived anew.
    ArchiveAnew,
    /// Everything is to end, and everything is committed.
    ShutDown,
}

/// Why a session ended otherwise. The next one begins at the manifest.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum SessionError {
    /// JetStream.
    Api(#[from] ApiError),
    /// The archive could not be read.
    Read(#[from] ReadError),
    /// A commit did not happen.
    Commit(#[from] CommitError),
    /// The histories could not be compared.
    History(#[from] HistoryError),
    /// Reading the stream failed.
    Reader(#[from] ReaderError),
    /// A segment did not get to the NAS.
    Upload(#[from] UploadError),
    /// A segment could not be read.
    Fetch(#[from] FetchError),
    /// S3.
    S3(#[from] S3Error),
    /// The journal was closed.
    Journal(#[from] JournalClosed),
    /// The journal did not take what the stream has to say.
    Refused(#[from] Refused),
    /// The live stream became another one.
    #[error("stream `{0}` was deleted and created again: its archive begins a new timeline")]
    Recreated(StreamName),
    /// A chain was to commit messages without a segment.
    #[error(
        "stream `{0}` has messages without a segment, which a chain cannot take: its session begins again; this is a bug, please report it"
    )]
    NoSegment(StreamName),
    /// The journal does not have the stream whose session goes on.
    #[error(
        "stream `{0}` is no longer in the journal that its session writes: its archive is opened again"
    )]
    NotInJournal(StreamName),
}

impl From<NotCommitted> for SessionError {
    fn from(error: NotCommitted) -> Self {
        match error {
            NotCommitted::Closed(closed) => closed.into(),
            NotCommitted::Refused(refused) => refused.into(),
        }
    }
}
