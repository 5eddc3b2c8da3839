//! Content that cannot be written or read.

use cim_core::names::ContentId;

/// Content that cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ContentError {
    /// It is not there, and could not be had elsewhere.
    #[error(
        "content `{0}` is not in bucket `{1}`: `put` it, `import` a CAR file that has it, or name a server that has it with `--second-url`"
    )]
    Missing(ContentId, String),
    /// Its bytes are not those of its id, and it could not be healed.
    #[error(
        "content `{id}` is damaged in bucket `{bucket}`: {why}; restore stream `OBJ_{bucket}` from the archive onto a server of its own and name that with `--second-url`, or `put --anew` the file"
    )]
    Damaged {
        /// The content.
        id: ContentId,
        /// The bucket.
        bucket: String,
        /// The damage.
        why: String,
    },
    /// Its id is of a hash function that is not computed here.
    #[error("content `{0}` cannot be checked: its hash function is not SHA-256")]
    Unchecked(ContentId),
    /// The object store.
    #[error("bucket `{bucket}` cannot be used: {why}")]
    Bucket {
        /// The bucket.
        bucket: String,
        /// The reason.
        why: String,
    },
    /// A file or a pipe.
    #[error("cannot read or write content: {0}")]
    File(#[from] std::io::Error),
}
