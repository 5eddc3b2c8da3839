//! Something that did not get to Wasabi.

use cim_core::names::StreamName;
use cim_runtime::retry::Class;

use crate::chain::{CommitError, ReadError};
use crate::s3::S3Error;
use crate::tier::error::FetchError;
use crate::tier::merge::SealError;

/// Something did not get to Wasabi. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// A chain could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The entry was not committed on the NAS.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A segment could not be read from the NAS.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A part of a segment could not be made.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Wasabi did not take it.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// Wasabi holds another entry than the NAS decided.
    #[error(
        "Wasabi holds another `{0}` than the NAS decided: two archives share this bucket; \
         give each its own"
    )]
    Diverged(String),
    /// Wasabi holds entries that the NAS has forgotten, with segments that it does not know either.
    #[error(
        "Wasabi holds entry {wasabi} of stream `{stream}` and the NAS remembers {nas}: the NAS lost what it \
         had confirmed, segments too, so nothing more is copied; give the NAS an empty bucket, and it \
         takes over the archive of Wasabi"
    )]
    Forgotten {
        /// The stream.
        stream: StreamName,
        /// The last entry at Wasabi.
        wasabi: u64,
        /// The last entry that the NAS has decided.
        nas: u64,
    },
}

/// The number of times that a segment is sent before that is an error. With the waits in between it is about half a minute.
const TRIES: u32 = 12;

impl ShipError {
    /// Classifies the error after `tries` attempts: transient if one more may succeed.
    pub(super) fn class(&self, tries: u32) -> Class {
        let (Self::S3(error) | Self::Fetch(FetchError::S3(error))) = self else {
            return Class::Permanent;
        };
        if error.kind.is_transient() && tries < TRIES { Class::Transient } else { Class::Permanent }
    }
}
