//! Streams that have a damaged segment in their newest timeline, whose messages are nowhere else exactly as they were
//! archived. What the live stream still has from there on is archived anew, in a timeline that begins before that
//! segment: so the newest timeline is whole again, and the damage belongs to one that was left.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use cim_core::archive::{ArchiveState, LastMessage, ParentTimeline, Segment};
use cim_core::names::StreamName;
use tokio::time::Instant;

/// The places from which streams are to be archived again.
#[derive(Debug, Default)]
pub struct RearchiveQueue(Mutex<BTreeMap<StreamName, Noted>>);

#[derive(Debug, Clone, Copy)]
struct Noted {
    /// The timeline and the first sequence of the first damaged segment.
    place: (u32, u64),
    since: Instant,
}

impl RearchiveQueue {
    /// Takes note of a damaged segment; returns for how long its stream has not been opened since the first note.
    pub fn note(&self, stream: &StreamName, segment: &Segment) -> Duration {
        let place = (segment.timeline, segment.first_seq);
        let mut all = self.lock();
        let noted = all.entry(stream.clone()).or_insert(Noted { place, since: Instant::now() });
        noted.place = noted.place.min(place);
        noted.since.elapsed()
    }

    /// Returns whether a stream's archive is to be opened anew.
    pub fn wants(&self, stream: &StreamName) -> bool {
        self.lock().contains_key(stream)
    }

    /// Forgets a stream's note, and returns the place of its first damaged segment.
    pub fn take(&self, stream: &StreamName) -> Option<(u32, u64)> {
        Some(self.lock().remove(stream)?.place)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<StreamName, Noted>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The place before a damaged segment from which a stream's archive goes on.
#[derive(Debug)]
pub struct Cut {
    /// The damaged segment.
    pub damaged: Segment,
    /// The history that the new timeline shares with the archive so far.
    pub parent: Option<ParentTimeline>,
    /// The last message of that.
    pub last: Option<LastMessage>,
}

impl Cut {
    /// Finds the segment that has its place in the newest timeline, or in what that shares with an earlier one.
    pub fn before(state: &ArchiveState, place: (u32, u64)) -> Option<Self> {
        let pieces = state.pieces(state.timeline(), 1, u64::MAX);
        let is_it = |segment: &Segment| (segment.timeline, segment.first_seq) == place;
        let index = pieces.iter().position(|piece| is_it(piece.segment))?;
        let before = index.checked_sub(1).map(|before| pieces[before]);
        let parent = before.map(|piece| ParentTimeline {
            timeline: piece.segment.timeline,
            last_seq: piece.last_seq,
        });
        let whole = before.filter(|piece| piece.segment.last.seq <= piece.last_seq);
        let last = whole.map(|piece| piece.segment.last.clone());
        Some(Self { damaged: pieces[index].segment.clone(), parent, last })
    }
}

#[cfg(test)]
mod tests {
    use cim_core::archive::{Entry, Sha256};
    use serde_json::{Value, json};

    use super::*;

    fn segment(timeline: u32, first: u64, last: u64) -> Value {
        let (time, none) = ("2026-01-01T00:00:00Z", Sha256::of(b""));
        json!({
            "key": format!("{timeline}-{first}"), "timeline": timeline, "first_seq": first, "last_seq": last,
            "first_time": time, "last_time": time, "messages": last - first + 1, "bytes": 1, "size": 1,
            "sha256": none, "last": { "seq": last, "time": time, "sha256": none }, "sealed": false,
        })
    }

    /// Timeline 2 goes on from sequence 15 of timeline 1, in the middle of its second segment.
    fn archive() -> ArchiveState {
        let time = "2026-01-01T00:00:00Z";
        let counts = json!({ "first_seq": 1, "last_seq": 30, "messages": 30, "bytes": 1 });
        let fork = json!({ "reason": "test", "parent": { "timeline": 1, "last_seq": 15 } });
        let first = json!({
            "number": 1, "fork": { "reason": "created" }, "watermark": { "seq": 20 }, "state": counts,
        });
        let second =
            json!({ "number": 2, "fork": fork, "watermark": { "seq": 40 }, "state": counts });
        let entry = json!({
            "format": 3, "number": 0, "committed_at": time, "writer": "t", "timeline": 2,
            "watermark": { "seq": 40 }, "state": counts, "consumers": [],
            "stream": { "created": time, "config": {} },
            "checkpoint": {
                "segments": [segment(1, 1, 10), segment(1, 11, 20), segment(2, 16, 30), segment(2, 31, 40)],
                "timelines": [first, second],
            },
        });
        let entry: Entry = serde_json::from_str(&entry.to_string()).unwrap();
        ArchiveState::open(&entry, Sha256::of(b"")).unwrap()
    }

    #[test]
    fn the_new_timeline_begins_before_the_damaged_segment() {
        let state = archive();
        let cut = |timeline, first_seq| {
            let cut = Cut::before(&state, (timeline, first_seq))?;
            Some((cut.parent.map(|p| (p.timeline, p.last_seq)), cut.last.map(|last| last.seq)))
        };
        assert_eq!(cut(2, 31), Some((Some((2, 30)), Some(30))));
        // What is shared with an earlier timeline ends within a segment, whose last message is not shared.
        assert_eq!(cut(2, 16), Some((Some((1, 15)), None)));
        assert_eq!(cut(1, 11), Some((Some((1, 10)), Some(10))));
        assert_eq!(cut(1, 1), Some((None, None)));
        assert_eq!(cut(2, 1), None);
    }

    #[test]
    fn of_several_damaged_segments_the_first_counts() {
        let (anew, stream) = (RearchiveQueue::default(), StreamName::new("S").unwrap());
        let all: Vec<Segment> = archive().segments.into_values().collect();
        assert!(!anew.wants(&stream));
        anew.note(&stream, &all[2]);
        anew.note(&stream, &all[1]);
        anew.note(&stream, &all[3]);
        assert!(anew.wants(&stream));
        assert_eq!(anew.take(&stream), Some((1, 11)));
        assert!(!anew.wants(&stream));
    }
}
