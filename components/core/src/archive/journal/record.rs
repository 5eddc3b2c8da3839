//! A segment as a journal stores it, and what takes the place of others.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::archive::{ArchiveKey, LastMessage, Part, Segment, Sha256};
use crate::names::StreamName;

/// Segments of one timeline and their replacements.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replacement {
    /// The timeline.
    pub timeline: u32,
    /// First sequence of the first replaced segment.
    pub first_seq: u64,
    /// Last sequence of the last one.
    pub last_seq: u64,
    /// Segments with the same messages, or in `cut` those that were not erased, ascending.
    pub by: Vec<SegmentRecord>,
}

/// A segment, as a journal stores it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct SegmentRecord {
    /// Its object's key; absent where that is the entry's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The timeline that it was written in.
    pub timeline: u32,
    /// Sequence of its first message.
    pub first_seq: u64,
    /// Sequence of its last message.
    pub last_seq: u64,
    /// Time of its first message, in nanoseconds since 1970.
    pub first_time: i64,
    /// Time of its last message, in nanoseconds since 1970.
    pub last_time: i64,
    /// Messages in it.
    pub messages: u64,
    /// Bytes of their subjects, headers and payloads.
    pub bytes: u64,
    /// Bytes of the file, of a segment that has one of its own. Of a part: its share of its row groups' bytes in
    /// the object, for people; absent where the writer did not say it.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size: u64,
    /// SHA-256 of its file; of a part, that of the [`message_hash`](crate::archive::message_hash)es of all its
    /// messages, end to end.
    pub sha256: Sha256,
    /// [`message_hash`](crate::archive::message_hash) of its last message.
    pub last: Sha256,
    /// Of a part: its first row group, and how many there are.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub groups: Option<(u32, u32)>,
    /// True if it has its final size.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sealed: bool,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes references")]
fn is_zero(size: &u64) -> bool {
    *size == 0
}

impl SegmentRecord {
    /// Converts a segment to its stored form; `own` is the key of the entry that stores it.
    pub fn of(segment: &Segment, own: Option<&str>) -> Self {
        Self {
            key: (own != Some(&segment.key)).then(|| segment.key.clone()),
            timeline: segment.timeline,
            first_seq: segment.first_seq,
            last_seq: segment.last_seq,
            first_time: nanoseconds(segment.first_time),
            last_time: nanoseconds(segment.last_time),
            messages: segment.messages,
            bytes: segment.bytes,
            size: segment.size,
            sha256: segment.sha256,
            last: segment.last.sha256,
            groups: segment.part.as_ref().map(|part| (part.group, part.groups)),
            sealed: segment.sealed,
        }
    }

    /// Returns the segment of a stream that this describes, stored in the entry with the key `own`.
    pub fn to_segment(&self, stream: &StreamName, own: &str) -> Segment {
        let last_time = timestamp(self.last_time);
        let part =
            self.groups.map(|(group, groups)| Part { stream: stream.clone(), group, groups });
        Segment {
            key: self.key.clone().unwrap_or_else(|| own.to_owned()),
            timeline: self.timeline,
            first_seq: self.first_seq,
            last_seq: self.last_seq,
            first_time: timestamp(self.first_time),
            last_time,
            messages: self.messages,
            bytes: self.bytes,
            size: self.size,
            sha256: self.sha256,
            last: LastMessage { seq: self.last_seq, time: last_time, sha256: self.last },
            sealed: self.sealed,
            part,
        }
    }
}

fn nanoseconds(time: Timestamp) -> i64 {
    let nanoseconds = time.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into());
    i64::try_from(nanoseconds).expect("it was just clamped")
}

fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).expect("i64 nanoseconds are in range")
}

/// Refuses a segment that no writer makes: a reader would look for it in the wrong place, or count wrongly.
pub(super) fn credible(segment: &Segment, stream: &StreamName) -> Result<(), String> {
    let Segment { key, first_seq, last_seq, messages, .. } = segment;
    if *first_seq == 0 {
        return Err(format!("segment `{key}` begins before sequence 1"));
    }
    if first_seq > last_seq {
        return Err(format!("segment `{key}` ends before it begins"));
    }
    if *messages == 0 || messages - 1 > last_seq - first_seq {
        return Err(format!("segment `{key}` cannot have {messages} messages"));
    }
    if let Some(part) = &segment.part {
        let parsed = ArchiveKey::parse(key);
        if !matches!(parsed, Ok(ArchiveKey::Journal { .. } | ArchiveKey::Shared { .. })) {
            return Err(format!("segment `{key}` is no part of that object"));
        }
        if part.groups == 0 || part.group.checked_add(part.groups).is_none() {
            return Err(format!("segment `{key}` is in no row group"));
        }
    } else {
        let sha256 = &segment.sha256;
        let its = ArchiveKey::segment(stream, segment.timeline, *first_seq, *last_seq, sha256);
        if its.to_string() != *key {
            return Err(format!("segment `{key}` is not the one that its key names"));
        }
    }
    Ok(())
}
