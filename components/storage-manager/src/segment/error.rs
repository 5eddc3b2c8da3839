//! A segment that cannot be believed.

use cim_core::archive::Sha256;
use parquet::errors::ParquetError;

/// A segment that is not what the manifest says it is.
#[derive(Debug, thiserror::Error)]
pub enum SegmentError {
    /// Other bytes than were written.
    #[error("segment `{key}` is damaged: its SHA-256 is {actual}, the manifest says {stated}")]
    Damaged {
        /// Its key.
        key: String,
        /// The manifest's value.
        stated: Sha256,
        /// The value of its bytes.
        actual: Sha256,
    },
    /// The right bytes, but not a segment that this version reads.
    #[error("segment `{key}` cannot be read")]
    Unreadable {
        /// Its key.
        key: String,
        /// Why.
        source: ParquetError,
    },
    /// The rows are not those that the manifest counted.
    #[error("segment `{key}` does not hold what the manifest says: {what}")]
    Contradiction {
        /// Its key.
        key: String,
        /// The difference.
        what: String,
    },
}
