//! A year at Wasabi, of a stream with an event of 200 bytes a second: by the planner and the collector, without
//! the data. Entries are there for all streams, the rest for each.

use std::collections::BTreeMap;
use std::time::Duration;

use cim_core::archive::journal::{Change, JournalState, Replacement, SegmentRecord};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveKey, Sha256};
use jiff::{SignedDuration, Timestamp};

use crate::journal::gc::{is_free, superseded};
use crate::journal::merge::plan;
use crate::journal::testing::{apply, apply_at, begin, empty, record, stream};

const STREAMS: usize = 100;
const DAY: Duration = Duration::from_secs(24 * 3600);
/// The defaults of `seal.interval`, `seal.size` and `collect.tertiary_age`.
const INTERVAL: Duration = Duration::from_secs(300);
const SEAL: u64 = 32 << 20;
const AGE: Duration = Duration::from_secs(90 * 24 * 3600);
/// An event's bytes, and what they take in a file, as `quiet_streams_bytes` of the benchmarks measures them.
const BYTES: u64 = 214;
const STORED: u64 = 52;
/// The least number of entries behind a checkpoint.
const CHECKPOINT: u64 = 256;

/// A bucket without bytes.
struct Bucket {
    /// The time at which each object was put.
    objects: BTreeMap<String, Timestamp>,
    /// The states of the checkpoints.
    checkpoints: BTreeMap<u64, JournalState>,
}

impl Bucket {
    fn delete(&mut self, key: &str, now: Timestamp) {
        let put = self.objects.remove(key).unwrap_or_else(|| panic!("`{key}` is not there"));
        let age = now.duration_since(put);
        assert!(age >= SignedDuration::try_from(AGE).unwrap(), "`{key}` is only {age:#} old");
    }

    /// Deletes what lies behind the newest checkpoint that is old enough.
    fn sweep(&mut self, state: &JournalState, now: Timestamp) {
        let old = |made: &JournalState| crate::clock::is_old(now, made.last.unwrap().2, AGE);
        let Some((number, old)) = self.checkpoints.iter().rev().find(|(_, made)| old(made)) else {
            return;
        };
        let (number, old) = (*number, old.clone());
        let end = entry(state, number);
        let free = |key: &String| {
            key.contains("/entries/") && is_free(key, &end, &old, |key| state.shares(key))
        };
        let free: Vec<String> = self.objects.keys().filter(|key| free(key)).cloned().collect();
        for key in free {
            self.delete(&key, now);
        }
        let later = self.checkpoints.split_off(&number);
        for earlier in std::mem::replace(&mut self.checkpoints, later).into_keys() {
            self.delete(&checkpoint(state, earlier), now);
        }
    }
}

fn entry(state: &JournalState, number: u64) -> String {
    ArchiveKey::Journal { of: state.of, journal: state.journal.clone(), number }.to_string()
}

fn checkpoint(state: &JournalState, number: u64) -> String {
    ArchiveKey::Checkpoint { of: state.of, journal: state.journal.clone(), number }.to_string()
}

/// A NAS that has merged everything.
fn merged() -> JournalState {
    let mut nas = empty(JournalOf::Secondary);
    let begun = Change { begin: Some(begin()), ..Change::default() };
    apply(&mut nas, BTreeMap::from([(stream(0), begun)]));
    let (last, hash) = (1 << 40, Sha256::of(b""));
    let key = ArchiveKey::segment(&stream(0), 1, 1, last, &hash).to_string();
    let own = SegmentRecord { sealed: true, ..record(Some(key), 1, last, last, 1) };
    let change = Change { add: vec![own], ..Change::default() };
    apply(&mut nas, BTreeMap::from([(stream(0), change)]));
    nas
}

#[test]
fn a_year_of_a_hundred_streams_is_at_most_40_000_objects_and_none_is_deleted_before_its_time() {
    let nas = merged();
    let nas = &nas.streams[&stream(0)];
    let mut state = empty(JournalOf::Tertiary);
    let begun = Change { begin: Some(begin()), ..Change::default() };
    apply(&mut state, BTreeMap::from([(stream(0), begun)]));
    let mut bucket = Bucket { objects: BTreeMap::new(), checkpoints: BTreeMap::new() };
    let (mut now, mut next, mut most) = (Timestamp::UNIX_EPOCH, 1, 0);
    for interval in 0_u64..(365 * DAY.as_secs() / INTERVAL.as_secs()) {
        now += INTERVAL;
        let events = INTERVAL.as_secs();
        let add = vec![record(None, next, next + events - 1, events, events * BYTES)];
        next += events;
        let mut change = Change { add, ..Change::default() };
        // It is asked after each entry; an hour more or less makes no difference here.
        let run = || plan::at_wasabi(&state.streams[&stream(0)], nas, SEAL, |_| false);
        if let Some(run) = interval.is_multiple_of(12).then(run).flatten() {
            let (first_seq, last_seq) = (run[0].first_seq, run[run.len() - 1].last_seq);
            let messages = last_seq - first_seq + 1;
            let sha256 = Sha256::of(&[first_seq.to_le_bytes(), last_seq.to_le_bytes()].concat());
            let key = ArchiveKey::segment(&stream(0), 1, first_seq, last_seq, &sha256).to_string();
            bucket.objects.insert(key.clone(), now);
            let own = record(Some(key), first_seq, last_seq, messages, messages * BYTES);
            let sizes = run.iter().map(|segment| segment.size).sum::<u64>();
            let size = messages * STORED;
            let sealed = plan::is_final(size.max(sizes), SEAL);
            let by = vec![SegmentRecord { size, sha256, sealed, ..own }];
            change.replace.push(Replacement { timeline: 1, first_seq, last_seq, by });
        }
        let collected = superseded(&state, now, AGE);
        for key in &collected {
            bucket.delete(key, now);
        }
        let number = state.next();
        apply_at(&mut state, now, BTreeMap::from([(stream(0), change)]), collected);
        bucket.objects.insert(entry(&state, number), now);
        if number.is_multiple_of(CHECKPOINT) {
            bucket.objects.insert(checkpoint(&state, number), now);
            bucket.checkpoints.insert(number, state.clone());
            bucket.sweep(&state, now);
        }
        most = most.max(state.streams[&stream(0)].segments.len());
    }
    let own = bucket.objects.keys().filter(|key| key.starts_with("v1/")).count();
    let objects = bucket.objects.len() - own + own * STREAMS;
    assert!(objects <= 40_000, "{objects} objects, {own} of them of each stream");
    // A reader of all streams holds so many records.
    assert!(most * STREAMS <= 65_536, "{most} segments of a stream");
    println!("{objects} objects, {own} segments of each stream, {most} records of each at most");
}

/// They stay for months, and each entry of a journal that is opened comes by.
#[test]
fn thousands_of_replaced_segments_cost_an_entry_little() {
    const REPLACED: u64 = 6_000;
    let own = |version: u64| {
        let sha256 = Sha256::of(&version.to_le_bytes());
        let key = ArchiveKey::segment(&stream(0), 1, 1, 10, &sha256).to_string();
        SegmentRecord { sha256, size: 1, ..record(Some(key), 1, 10, 10, 10) }
    };
    let mut state = empty(JournalOf::Tertiary);
    let mut say = |change| apply(&mut state, BTreeMap::from([(stream(0), change)]));
    say(Change { begin: Some(begin()), ..Change::default() });
    say(Change { add: vec![own(0)], ..Change::default() });
    let begun = std::time::Instant::now();
    for version in 1..=REPLACED {
        let replacement =
            Replacement { timeline: 1, first_seq: 1, last_seq: 10, by: vec![own(version)] };
        say(Change { replace: vec![replacement], ..Change::default() });
    }
    // To parse each key for each entry would be eighteen million times.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    assert_eq!(state.superseded.len() as u64, REPLACED);
}
