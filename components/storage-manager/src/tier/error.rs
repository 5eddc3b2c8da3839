//! Errors of reading, uploading and fetching that several parts of tiering share.

use parquet::errors::ParquetError;

use crate::jetstream::ApiError;
use crate::s3::{ErrorKind, S3Error};
use crate::segment::SegmentError;
use crate::wire::WireError;

/// Reading that cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum ReaderError {
    /// The connection or the consumer.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// JetStream refused.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// A segment could not be made.
    #[error(transparent)]
    Upload(#[from] UploadError),
}

/// A segment that did not get to the tier.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Encoding failed.
    #[error("cannot encode a segment")]
    Encode(#[from] ParquetError),
    /// S3 did not take it before the end.
    #[error(transparent)]
    S3(#[from] S3Error),
}

/// A segment's file that could not be had.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// S3 does not give it.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// It is not what it should be.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// A damaged manifest names it by something that is not a key.
    #[error("the manifest names `{0}`, which is not a key of an archive: the manifest is damaged")]
    Key(String),
}

impl FetchError {
    /// Returns whether there is no key of it, which says nothing of its being damaged.
    pub fn is_locked(&self) -> bool {
        matches!(self, Self::S3(S3Error { kind: ErrorKind::Locked(_), .. }))
    }
}
