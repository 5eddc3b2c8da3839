//! Segments without data, for tests of decisions.

use cim_core::archive::{ArchiveKey, LastMessage, Segment, Sha256};
use jiff::Timestamp;

/// Returns a segment of stream `S` with a message of one byte for each sequence. A sealed one is another file.
pub(crate) fn segment(timeline: u32, first_seq: u64, last_seq: u64, sealed: bool) -> Segment {
    let (time, sha256) = (Timestamp::UNIX_EPOCH, Sha256::of(b""));
    let hash = Sha256::of(if sealed { b"sealed" } else { b"" }).short();
    let stream = "S".parse().unwrap();
    let key = ArchiveKey::Segment { stream, timeline, first_seq, last_seq, hash };
    let messages = last_seq.saturating_sub(first_seq).saturating_add(1);
    Segment {
        part: None,
        key: key.to_string(),
        timeline,
        first_seq,
        last_seq,
        first_time: time,
        last_time: time,
        messages,
        bytes: messages,
        size: messages,
        sha256,
        last: LastMessage { seq: last_seq, time, sha256 },
        sealed,
    }
}
