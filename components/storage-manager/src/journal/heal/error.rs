//! Damaged objects that stay as they are, for now at least.

use parquet::errors::ParquetError;

use crate::jetstream::ApiError;
use crate::journal::{NotCommitted, OpenError};
use crate::s3::S3Error;

/// An object that stays as it is, for now at least.
#[derive(Debug, thiserror::Error)]
pub(super) enum HealError {
    #[error(
        "`{key}` of the nas cannot be read ({why}), and JetStream does not have exactly these messages any more: {whose}: of these streams nothing behind them gets to wasabi, all else does; put the object back from a copy of the nas, or see docs/recovery.md#an-object-on-the-nas-is-damaged"
    )]
    Lost { key: String, why: String, whose: String },
    #[error(
        "`{key}` of the nas cannot be read ({why}), and wasabi has its messages in other objects only: {whose}; `restore --from wasabi` brings them back; put the object back from a copy of the nas, or see docs/recovery.md#an-object-on-the-nas-is-damaged"
    )]
    Elsewhere { key: String, why: String, whose: String },
    #[error(
        "`{key}` of the nas cannot be read ({why}), and wasabi does not say whether it has its messages"
    )]
    Silent { key: String, why: String, source: OpenError },
    /// It stays as it is, which was said, or its streams begin anew.
    #[error("what nothing has exactly any more stays damaged")]
    Settled,
    #[error(
        "`{key}` of the nas cannot be read, and neither its messages from JetStream: {whose}; it is tried again"
    )]
    Api { key: String, whose: String, source: ApiError },
    /// The whole NAS may be away, which others say.
    #[error("nor does the nas say whether its journal is there")]
    Away,
    #[error("`{key}` of the nas cannot be read, nor written anew; it is tried again")]
    S3 { key: String, source: S3Error },
    /// Whether it is damaged cannot be told without its key.
    #[error("what is there cannot be looked at, and stays as it is")]
    Locked(#[source] S3Error),
    #[error("`{key}` of the nas cannot be read, nor encoded anew")]
    Encode { key: String, source: ParquetError },
    #[error(transparent)]
    Journal(#[from] NotCommitted),
}
