//! Why a stream was not restored.

use std::io;
use std::time::Duration;

use crate::archive::ArchiveError;
use crate::crypt::Locked;
use crate::jetstream::ApiError;
use crate::s3::{ErrorKind, S3Error, Tier};
use crate::segment::SegmentError;

/// A restore that the server did not accept.
#[derive(Debug, thiserror::Error)]
pub enum SendError {
    /// It refused.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// It did not answer, or the connection broke.
    #[error("NATS did not answer within {} s while stream `{stream}` was restored", after.as_secs())]
    NoResponse {
        /// The stream.
        stream: String,
        /// The time that was waited.
        after: Duration,
    },
    /// Nothing could be sent.
    #[error("cannot send to NATS: {0}")]
    Publish(String),
}

/// A message that no snapshot can hold: the archive has it from another program, for no server takes such a one.
#[derive(Debug, thiserror::Error)]
#[error("message {seq} has {what} of {bytes} bytes, and a snapshot holds {most}")]
pub struct Unencodable {
    /// Its sequence.
    pub seq: u64,
    /// The part of it that is too long.
    pub what: &'static str,
    /// The bytes of that part.
    pub bytes: usize,
    /// The most that a snapshot holds.
    pub most: u64,
}

impl From<Unencodable> for io::Error {
    fn from(error: Unencodable) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// A restore that did not happen; the server has no part of it. The way out is told apart from it
/// ([`RestoreError::remedy`]).
#[derive(Debug, thiserror::Error)]
pub enum RestoreError {
    /// The stream is there already.
    #[error("stream `{stream}` exists on the server{how}")]
    Exists {
        /// The stream.
        stream: String,
        /// The difference from the archive, as the end of a sentence.
        how: String,
    },
    /// The stream is there already, and nothing was ever in it.
    #[error("stream `{0}` exists on the server, and never had a message")]
    Empty(String),
    /// The archive's record of the stream cannot be read.
    #[error(transparent)]
    Archive(ArchiveError),
    /// There is no key of an object.
    #[error(
        "{tier}: `{key}` is encrypted with key `{}`, which the configuration does not have",
        locked.key
    )]
    Locked {
        /// The tier.
        tier: Tier,
        /// The object.
        key: String,
        /// The key that it takes.
        locked: Box<Locked>,
    },
    /// A segment is not where the manifest says.
    #[error("segment `{key}` is missing or cut short on {tier}")]
    Missing {
        /// The segment.
        key: String,
        /// Its first sequence.
        first_seq: u64,
        /// The tier.
        tier: Tier,
    },
    /// A segment is not what it was.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// The tier does not answer.
    #[error(transparent)]
    S3(S3Error),
    /// The server does not answer.
    #[error(transparent)]
    Api(#[from] ApiError),
    /// The server did not accept it.
    #[error(transparent)]
    Send(#[from] SendError),
    /// The server is too old for memory streams.
    #[error("stream `{0}` is kept in memory, which servers before 2.15 cannot restore")]
    MemoryOnOldServer(String),
    /// The server is too old for what the stream, or a consumer of it, does.
    #[error("stream `{stream}` needs level {needs} of the server's API, and this one has {has}")]
    TooNew {
        /// The stream.
        stream: String,
        /// The level that it needs.
        needs: u64,
        /// The level that the server has.
        has: u64,
    },
    /// The server is too old for a setting that no level tells of.
    #[error("stream `{stream}` has {what}, which servers before {}.{} do not know", since.0, since.1)]
    Unknown {
        /// The stream.
        stream: String,
        /// The setting, and whose it is.
        what: String,
        /// The first version that knows it.
        since: (u64, u64),
    },
    /// The server has dropped settings without a word.
    #[error("stream `{stream}` came without {what}, which this server does not know{}", if *kept { "" } else { ": it was deleted again" })]
    Shorn {
        /// The stream.
        stream: String,
        /// The settings.
        what: String,
        /// True if it was left on the server, for something has come behind it since.
        kept: bool,
    },
    /// The server is alone and the stream has replicas.
    #[error("stream `{0}` has replicas, and this server is not one of a cluster")]
    Alone(String),
    /// Another stream has subjects of this one.
    #[error(
        "stream `{stream}` is on `{subject}`, which overlaps `{theirs}` of stream `{other}`{whose}"
    )]
    Overlaps {
        /// The stream.
        stream: String,
        /// A subject of it.
        subject: String,
        /// The other's subject.
        theirs: String,
        /// The other stream.
        other: String,
        /// Where that one is, as the end of a sentence.
        whose: &'static str,
    },
    /// A message is larger than this server takes into a memory stream.
    #[error(
        "stream `{stream}` has a message of {bytes} bytes at sequence {seq}, and `{limit}` is {most} here"
    )]
    TooLarge {
        /// The stream.
        stream: String,
        /// The message's sequence.
        seq: u64,
        /// Its bytes.
        bytes: u64,
        /// The limit's name.
        limit: &'static str,
        /// The bytes that it may have.
        most: u64,
    },
    /// The account has no room.
    #[error("stream `{stream}` has no room: {what}")]
    NoRoom {
        /// The stream.
        stream: String,
        /// The limit of the account.
        limit: &'static str,
        /// The need, and the supply.
        what: String,
    },
    /// The server has another stream than was sent.
    #[error("stream `{stream}` was restored with {what}")]
    Differs {
        /// The stream.
        stream: String,
        /// The difference.
        what: String,
    },
    /// Interrupted.
    #[error("interrupted: nothing was restored of stream `{0}`")]
    Interrupted(String),
    /// The pipe to the sender broke: its error comes instead of this one.
    #[error("the snapshot was cut off")]
    SnapshotTruncated(#[source] io::Error),
    /// A message does not fit into a snapshot.
    #[error(transparent)]
    Unencodable(Unencodable),
}

impl From<io::Error> for RestoreError {
    fn from(error: io::Error) -> Self {
        match error.downcast::<Unencodable>() {
            Ok(error) => Self::Unencodable(error),
            Err(error) => Self::SnapshotTruncated(error),
        }
    }
}

impl From<S3Error> for RestoreError {
    fn from(error: S3Error) -> Self {
        Self::locked(&error).unwrap_or(Self::S3(error))
    }
}

impl From<ArchiveError> for RestoreError {
    fn from(error: ArchiveError) -> Self {
        error.s3().and_then(Self::locked).unwrap_or(Self::Archive(error))
    }
}

impl RestoreError {
    /// Returns that there is no key of an object, where that is what went wrong.
    fn locked(error: &S3Error) -> Option<Self> {
        let ErrorKind::Locked(locked) = &error.kind else { return None };
        Some(Self::Locked { tier: error.tier, key: error.key.clone(), locked: locked.clone() })
    }

    /// Returns whether another stream may come through all the same: this one is damaged, or there is no key of it, or the
    /// server does not take it, or it is not what was sent.
    pub fn is_of_one_stream(&self) -> bool {
        match self {
            Self::Archive(error) => error.s3().is_none_or(|error| error.kind.is_damage()),
            Self::S3(error) => error.kind.is_damage(),
            Self::Api(error) | Self::Send(SendError::Api(error)) => {
                matches!(error, ApiError::Refused { .. })
            }
            Self::Exists { .. }
            | Self::Empty(_)
            | Self::Locked { .. }
            | Self::Missing { .. }
            | Self::Segment(_)
            | Self::MemoryOnOldServer(_)
            | Self::TooNew { .. }
            | Self::Unknown { .. }
            | Self::Shorn { .. }
            | Self::Alone(_)
            | Self::Overlaps { .. }
            | Self::TooLarge { .. }
            | Self::NoRoom { .. }
            | Self::Unencodable(_)
            | Self::Differs { .. } => true,
            Self::Send(_) | Self::Interrupted(_) | Self::SnapshotTruncated(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_one_stream_does_not_end_the_others() {
        let s3 = |kind| {
            let bucket = Box::new("archive".parse().unwrap());
            let (tier, operation, key) = (Tier::Nas, "get", "k".to_owned());
            RestoreError::from(S3Error { tier, bucket, operation, key, kind })
        };
        let refused = ApiError::Refused {
            subject: "s".into(),
            code: 400,
            err_code: 10_058,
            description: "stream name already in use".into(),
        };
        for one in [
            s3(ErrorKind::NotFound),
            s3(ErrorKind::Withheld("503".into())),
            RestoreError::Send(SendError::Api(refused)),
            RestoreError::Empty("S".into()),
            RestoreError::from(io::Error::from(Unencodable {
                seq: 7,
                what: "a subject",
                bytes: 70_000,
                most: 65_535,
            })),
        ] {
            assert!(one.is_of_one_stream(), "{one}");
        }
        for all in [
            s3(ErrorKind::Timeout),
            s3(ErrorKind::Denied("AccessDenied".into())),
            RestoreError::Send(SendError::Publish("closed".into())),
            RestoreError::Interrupted("S".into()),
            RestoreError::from(io::Error::from(io::ErrorKind::UnexpectedEof)),
        ] {
            assert!(!all.is_of_one_stream(), "{all}");
        }
    }
}
