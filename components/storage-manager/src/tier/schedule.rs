//! When a run of segments is due to be sealed.

use std::collections::BTreeMap;
use std::time::Duration;

use cim_core::archive::{ArchiveKey, ArchiveState, Segment};
use cim_runtime::retry::Backoff;
use jiff::Timestamp;
use tokio::time::Instant;

use crate::config::SealConfig;

/// The pause after a run that could not be sealed: what is damaged stays so, mostly, and each try
/// keeps others waiting.
const AGAIN: Backoff = Backoff { first: Duration::from_secs(5), most: Duration::from_secs(15) };

/// Decides when runs are due. Asked after each commit, so it keeps apart what is not sealed yet.
#[derive(Debug)]
pub struct CompactionSchedule {
    /// The time at which each unsealed segment was written, by timeline and first sequence.
    since: BTreeMap<(u32, u64), Instant>,
    /// The number of failures in a row of the run that was due, and when that is tried again.
    failed: Option<(u32, Instant)>,
}

impl CompactionSchedule {
    /// Creates the schedule of an archive. An unsealed segment is as old as its messages: a process or a session that
    /// lives shorter than an interval must not make it young again.
    pub fn new(state: &ArchiveState) -> Self {
        let (now, clock) = (Instant::now(), Timestamp::now());
        let written = |segment: &Segment| {
            // A clock that was set back makes ages negative: then it is new.
            let age = Duration::try_from(clock.duration_since(segment.last_time));
            now.checked_sub(age.unwrap_or_default()).unwrap_or(now)
        };
        let unsealed = state.segments.iter().filter(|(_, segment)| !segment.sealed);
        Self {
            since: unsealed.map(|(at, segment)| (*at, written(segment))).collect(),
            failed: None,
        }
    }

    /// Takes a commit into account, with what it added and replaced.
    pub fn committed(&mut self, add: &[Segment], remove: &[String]) {
        for key in remove {
            if let Ok(ArchiveKey::Segment { timeline, first_seq, .. }) = ArchiveKey::parse(key) {
                self.since.remove(&(timeline, first_seq));
                self.failed = None;
            }
        }
        let now = Instant::now();
        let unsealed = add.iter().filter(|segment| !segment.sealed);
        self.since.extend(unsealed.map(|segment| ((segment.timeline, segment.first_seq), now)));
    }

    /// Notes that the run that was due could not be sealed.
    pub fn failed(&mut self) {
        let times = self.failed.map_or(1, |(times, _)| times.saturating_add(1));
        self.failed = Some((times, Instant::now() + AGAIN.after(times)));
    }

    /// Returns the oldest run that is due: complete in size, old enough, or never to grow because another timeline or
    /// a sealed segment follows.
    pub fn next_run(&self, config: &SealConfig, state: &ArchiveState) -> Option<Vec<Segment>> {
        let (&(timeline, first_seq), since) = self.since.first_key_value()?;
        if self.failed.is_some_and(|(_, again)| Instant::now() < again) {
            return None;
        }
        let limit = config.size.bytes() as u64;
        let (mut run, mut bytes, mut complete) = (Vec::new(), 0, timeline < state.timeline());
        for segment in state.segments.range((timeline, first_seq)..).map(|(_, s)| s) {
            if segment.sealed
                || segment.timeline != timeline
                || (bytes + segment.bytes > limit && !run.is_empty())
            {
                complete = true;
                break;
            }
            bytes += segment.bytes;
            run.push(segment);
        }
        let due = complete || bytes >= limit || since.elapsed() >= config.interval;
        due.then(|| run.into_iter().cloned().collect())
    }
}

#[cfg(test)]
mod tests {
    use cim_core::archive::{Entry, Sha256};
    use serde_json::json;

    use super::*;
    use crate::chain::testing::segment;

    const NONE: [u64; 0] = [];

    /// A segment of one message, so many seconds old.
    fn aged(seq: u64, sealed: bool, seconds: i64) -> Segment {
        let time = Timestamp::now() - jiff::SignedDuration::from_secs(seconds);
        Segment { first_time: time, last_time: time, ..segment(1, seq, seq, sealed) }
    }

    fn archive(segments: &[Segment]) -> ArchiveState {
        let time = "2026-01-01T00:00:00Z";
        let last = segments.last().map_or(0, |segment| segment.last_seq);
        let state = json!({ "first_seq": 1, "last_seq": last, "messages": last, "bytes": last });
        let (fork, watermark) = (json!({ "reason": "created" }), json!({ "seq": last }));
        let entry = json!({
            "format": 2, "number": 0, "committed_at": time, "writer": "t", "timeline": 1,
            "fork": fork, "watermark": watermark, "state": state, "consumers": [],
            "stream": { "created": time, "config": {} },
            "checkpoint": {
                "segments": segments,
                "timelines": [{ "number": 1, "fork": fork, "watermark": watermark, "state": state }],
            },
        });
        let entry: Entry = serde_json::from_str(&entry.to_string()).unwrap();
        ArchiveState::open(&entry, Sha256::of(b"")).unwrap()
    }

    fn keys(run: Option<Vec<Segment>>) -> Vec<u64> {
        run.into_iter().flatten().map(|segment| segment.first_seq).collect()
    }

    #[test]
    fn what_was_archived_before_is_as_old_as_its_messages() {
        let config = SealConfig { interval: Duration::from_secs(60), ..SealConfig::default() };
        let old = archive(&[aged(1, true, 900), aged(2, false, 90), aged(3, false, 30)]);
        assert_eq!(keys(CompactionSchedule::new(&old).next_run(&config, &old)), [2, 3]);
        let young = archive(&[aged(1, true, 900), aged(2, false, 30)]);
        let mut schedule = CompactionSchedule::new(&young);
        assert_eq!(keys(schedule.next_run(&config, &young)), NONE);
        // A clock that was set back.
        let ahead = archive(&[aged(1, false, -90)]);
        assert_eq!(keys(CompactionSchedule::new(&ahead).next_run(&config, &ahead)), NONE);
        // What is committed now is new, however old its messages are.
        let added = aged(3, false, 900);
        schedule.committed(std::slice::from_ref(&added), &[]);
        let grown = archive(&[aged(1, true, 900), aged(2, false, 30), added]);
        assert_eq!(keys(schedule.next_run(&config, &grown)), NONE);
    }

    #[test]
    fn a_run_that_failed_waits() {
        let config = SealConfig { interval: Duration::ZERO, ..SealConfig::default() };
        let state = archive(&[aged(1, false, 9), aged(2, false, 9)]);
        let mut schedule = CompactionSchedule::new(&state);
        assert_eq!(keys(schedule.next_run(&config, &state)), [1, 2]);
        schedule.failed();
        assert_eq!(keys(schedule.next_run(&config, &state)), NONE);
        schedule.committed(&[], &[state.segments[&(1, 1)].key.clone()]);
        assert_eq!(keys(schedule.next_run(&config, &state)), [2]);
    }

    /// A run that cannot be sealed for hours is asked for after each commit.
    #[test]
    fn ten_thousands_of_segments_cost_little() {
        const SEGMENTS: u64 = 20_000;
        let segments: Vec<_> = (1..=SEGMENTS).map(|seq| aged(seq, false, 0)).collect();
        let state = archive(&segments);
        let config = SealConfig::default();
        let mut schedule = CompactionSchedule::new(&archive(&[]));
        let begun = Instant::now();
        for added in &segments {
            schedule.committed(std::slice::from_ref(added), &[]);
        }
        for _ in 0..100 {
            assert_eq!(keys(schedule.next_run(&config, &state)), NONE);
        }
        // Each with each would be some 10^10 comparisons.
        assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    }
}
