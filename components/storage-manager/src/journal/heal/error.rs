//! Damaged objects that stay as they are, for now at least.

use parquet::errors::ParquetError;

use crate::jetstream::ApiError;
use crate::journal::{NotCommitted, OpenError};
use crate::s3::S3Error;

/// An object that stays as it is, for now at least.
#[derive(Debug, thiserror::Error)]
pub(super) enum HealError {
    #[error(
        "`{key}` of the NAS cannot be read ({why}), and JetStream no longer has exactly these messages: {whose}; later messages of these streams wait and are not copied to Wasabi, all other streams are; put the object back from a copy of the NAS, or see docs/recovery.md#an-object-on-the-nas-is-damaged"
    )]
    Lost { key: String, why: String, whose: String },
    #[error(
        "`{key}` of the NAS cannot be read ({why}), and Wasabi has its messages in other objects only: {whose}; `restore --from wasabi` brings them back; put the object back from a copy of the NAS, or see docs/recovery.md#an-object-on-the-nas-is-damaged"
    )]
    Elsewhere { key: String, why: String, whose: String },
    #[error(
        "`{key}` of the NAS cannot be read ({why}), and Wasabi does not answer whether it has its messages; it is tried again"
    )]
    Silent { key: String, why: String, source: OpenError },
    /// It stays as it is, which was said, or its streams begin anew.
    #[error("messages without an exact copy stay damaged")]
    Settled,
    #[error(
        "`{key}` of the NAS cannot be read, nor can its messages be read from JetStream: {whose}; it is tried again"
    )]
    Api { key: String, whose: String, source: ApiError },
    /// The whole NAS may be away, which others say.
    #[error("the NAS does not answer whether its journal is there")]
    Away,
    #[error("`{key}` of the NAS cannot be read, and writing it again failed; it is tried again")]
    S3 { key: String, source: S3Error },
    /// Its damage cannot be told without its key.
    #[error("the object cannot be read without its encryption key, and stays as it is")]
    Locked(#[source] S3Error),
    #[error("`{key}` of the NAS cannot be read, and encoding it again failed")]
    Encode { key: String, source: ParquetError },
    #[error(transparent)]
    Journal(#[from] NotCommitted),
}
