//! The outcome of a restore, and its progress until then.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

/// A restored stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// Messages.
    pub messages: u64,
    /// Their bytes.
    pub bytes: u64,
    /// First sequence.
    pub first_seq: u64,
    /// Last sequence.
    pub last_seq: u64,
    /// Sequences behind that one which the stream has given out since.
    pub added: u64,
    /// Messages that it has let go of since, as far as that is sure.
    pub dropped: u64,
    /// `snapshot v1` or `snapshot v2`.
    pub method: &'static str,
    /// From the server's first answer to its last.
    pub sending: Duration,
}

/// Progress of a restore, of one stream or of several.
#[derive(Debug, Default)]
pub struct Progress {
    /// Messages sent.
    pub messages: AtomicU64,
    /// Streams that are done with.
    pub streams: AtomicU64,
}
