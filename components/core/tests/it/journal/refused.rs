//! Entries that no writer makes. They are refused, and leave the state unchanged.

use std::collections::BTreeMap;

use cim_core::archive::journal::{
    Change, DeletesKnown, JOURNAL_FORMAT, JournalEntry, JournalState, Replacement, Retention,
    SegmentRecord, Served, StreamCheckpoint,
};
use cim_core::archive::{
    ArchiveKey, Fork, LastMessage, ParentTimeline, RawJson, Sha256, StreamRecord, StreamState,
    TimelineRecord, Watermark,
};
use cim_core::names::StreamName;
use jiff::Timestamp;

use super::{empty, journal};

pub(super) fn stream() -> StreamName {
    StreamName::new("S").unwrap()
}

/// A part of the entry that says it.
pub(super) fn part(timeline: u32, first_seq: u64, last_seq: u64) -> SegmentRecord {
    SegmentRecord {
        key: None,
        timeline,
        first_seq,
        last_seq,
        first_time: 0,
        last_time: 0,
        messages: last_seq.saturating_sub(first_seq).saturating_add(1),
        bytes: 0,
        size: 0,
        sha256: Sha256::of(b"a part"),
        last: Sha256::of(&last_seq.to_le_bytes()),
        groups: Some((0, 1)),
        sealed: false,
    }
}

/// A segment with an object of its own.
pub(super) fn own(timeline: u32, first_seq: u64, last_seq: u64) -> SegmentRecord {
    let sha256 = Sha256::of(b"a file");
    let key = ArchiveKey::segment(&stream(), timeline, first_seq, last_seq, &sha256).to_string();
    let part = part(timeline, first_seq, last_seq);
    SegmentRecord { key: Some(key), sha256, size: 100, groups: None, ..part }
}

fn shared(timeline: u32, first_seq: u64, last_seq: u64) -> SegmentRecord {
    let key = "v2/journal/main/shared/1/000000000001-0123456789abcdef.parquet".into();
    SegmentRecord { key: Some(key), ..part(timeline, first_seq, last_seq) }
}

fn timeline(number: u32, parent: Option<ParentTimeline>, end: u64) -> TimelineRecord {
    TimelineRecord {
        number,
        fork: Fork { parent, reason: "created".into() },
        deleted: Vec::new(),
        missed: Vec::new(),
        lost: Vec::new(),
        watermark: Watermark { seq: end, last: None },
        state: StreamState::default(),
        left: None,
    }
}

fn begin(timelines: Vec<TimelineRecord>, segments: Vec<SegmentRecord>) -> Change {
    let config = RawJson::new("{}".into()).unwrap();
    let begin = StreamCheckpoint {
        timelines,
        segments,
        stream: StreamRecord { created: Timestamp::UNIX_EPOCH, config },
        consumers: Vec::new(),
        served: None,
        deletes_known: None,
        deliveries: BTreeMap::new(),
        erased: Vec::new(),
        retention: Retention::default(),
        number: 0,
        committed_at: Timestamp::UNIX_EPOCH,
    };
    Change { begin: Some(begin), ..Change::default() }
}

/// Returns the next entry of a state, about one stream.
fn entry(state: &JournalState, stream: &StreamName, change: Change) -> JournalEntry {
    JournalEntry {
        format: JOURNAL_FORMAT,
        journal: journal(),
        number: state.next(),
        previous: state.hash(),
        committed_at: Timestamp::UNIX_EPOCH,
        writer: "one".into(),
        streams: [(stream.clone(), change)].into(),
        collected: Vec::new(),
    }
}

pub(super) fn say(state: &mut JournalState, change: Change) -> Result<(), String> {
    let entry = entry(state, &stream(), change);
    let (_, hash) = entry.to_text();
    let before = state.clone();
    let said = state.apply(&entry, hash).map_err(|error| error.to_string());
    assert!(said.is_ok() || *state == before, "what is refused changes nothing");
    said
}

/// Sequences 1 to 40 of timeline 1 in four segments, the first with an object of its own.
pub(super) fn filled() -> JournalState {
    let mut state = empty();
    say(&mut state, begin(vec![timeline(1, None, 0)], Vec::new())).unwrap();
    let add = vec![own(1, 1, 10), part(1, 11, 20), part(1, 21, 30), part(1, 31, 40)];
    say(&mut state, Change { add, ..Change::default() }).unwrap();
    state
}

fn added(add: Vec<SegmentRecord>) -> Change {
    Change { add, ..Change::default() }
}

fn forked(parent: Option<(u32, u64)>, add: Vec<SegmentRecord>) -> Change {
    let parent = parent.map(|(timeline, last_seq)| ParentTimeline { timeline, last_seq });
    Change { fork: Some(Fork { parent, reason: "recreated".into() }), add, ..Change::default() }
}

fn replaced(first_seq: u64, last_seq: u64, by: Vec<SegmentRecord>) -> Replacement {
    Replacement { timeline: 1, first_seq, last_seq, by }
}

fn merged(replace: Vec<Replacement>) -> Change {
    Change { replace, ..Change::default() }
}

fn watermark(seq: u64, last: Option<u64>) -> Change {
    let last = last.map(|seq| LastMessage {
        seq,
        time: Timestamp::UNIX_EPOCH,
        sha256: Sha256::of(&seq.to_le_bytes()),
    });
    Change { watermark: Some(Watermark { seq, last }), ..Change::default() }
}

pub(super) fn hold(state: &JournalState, cases: Vec<(Change, &str)>) {
    for (at, (change, wrong)) in cases.into_iter().enumerate() {
        match say(&mut state.clone(), change) {
            Ok(()) => assert_eq!(wrong, "", "case {at} should be refused"),
            Err(error) => {
                assert!(!wrong.is_empty() && error.contains(wrong), "case {at}: {error}");
            }
        }
    }
}

#[test]
fn segments_that_are_not_behind_the_end_are_refused() {
    let max = u64::MAX;
    hold(
        &filled(),
        vec![
            (added(vec![part(1, 41, 50), own(1, 51, 60)]), ""),
            (added(vec![part(1, 41, max)]), ""),
            (added(vec![part(1, max, max)]), ""),
            (added(vec![part(1, 40, 50)]), "overlaps"),
            (added(vec![part(1, 41, 50), part(1, 50, 60)]), "overlaps"),
            (added(vec![part(1, 51, 60), part(1, 41, 50)]), "overlaps"),
            (added(vec![part(1, 41, max), part(1, max, max)]), "overlaps"),
            (added(vec![part(1, 50, 41)]), "ends before it begins"),
            (added(vec![part(2, 41, 50)]), "of another timeline"),
            (Change { ..watermark(49, None) }, ""),
            (watermark(39, None), "watermark 39 is behind 40"),
            (watermark(50, Some(51)), "watermark 50 is before message 51"),
            (Change { add: vec![part(1, 41, 50)], ..watermark(49, None) }, "is behind 50"),
        ],
    );
}

#[test]
fn a_segment_that_cannot_be_is_refused() {
    let with = |change: &dyn Fn(&mut SegmentRecord), mut segment: SegmentRecord| {
        change(&mut segment);
        added(vec![segment])
    };
    let elsewhere = StreamName::new("T").unwrap();
    let other = ArchiveKey::segment(&elsewhere, 1, 41, 50, &own(1, 41, 50).sha256).to_string();
    hold(
        &filled(),
        vec![
            (with(&|s| s.messages = 1, part(1, 41, 50)), ""),
            (with(&|s| s.messages = 0, part(1, 41, 50)), "cannot have 0 messages"),
            (with(&|s| s.messages = 11, part(1, 41, 50)), "cannot have 11 messages"),
            (with(&|s| s.groups = Some((3, 0)), part(1, 41, 50)), "is in no row group"),
            (with(&|s| s.groups = Some((u32::MAX, 1)), part(1, 41, 50)), "is in no row group"),
            (with(&|s| s.groups = None, shared(1, 41, 50)), "is not the one that its key names"),
            (with(&|s| s.groups = None, part(1, 41, 50)), "is not the one that its key names"),
            (with(&|s| s.groups = Some((0, 1)), own(1, 41, 50)), "is no part of that object"),
            (with(&|s| s.key = Some(other.clone()), own(1, 41, 50)), "is not the one that"),
            (with(&|s| s.sha256 = Sha256::of(b""), own(1, 41, 50)), "is not the one that"),
        ],
    );
}

#[test]
fn a_timeline_forks_from_what_is_there() {
    let mut state = filled();
    hold(
        &state,
        vec![
            (forked(Some((1, 25)), vec![part(2, 26, 35)]), ""),
            (forked(Some((1, 40)), Vec::new()), ""),
            (forked(None, vec![part(2, 1, 35)]), ""),
            (forked(Some((1, 41)), Vec::new()), "behind its end 40"),
            (forked(Some((1, u64::MAX)), Vec::new()), "behind its end 40"),
            (forked(Some((2, 1)), Vec::new()), "forks from timeline 2, which is not there"),
            (forked(Some((1, 25)), vec![part(2, 25, 35)]), "overlaps"),
            (forked(Some((1, 25)), vec![part(1, 41, 50)]), "of another timeline"),
            (
                Change { fork: forked(Some((1, 25)), Vec::new()).fork, ..watermark(24, None) },
                "behind 25",
            ),
        ],
    );
    say(&mut state, forked(Some((1, 25)), Vec::new())).unwrap();
    hold(
        &state,
        vec![
            (added(vec![part(2, 26, 35)]), ""),
            (added(vec![part(2, 25, 35)]), "overlaps"),
            (forked(Some((2, 25)), Vec::new()), ""),
            (forked(Some((2, 26)), Vec::new()), "behind its end 25"),
        ],
    );
    let mut last = empty();
    say(&mut last, begin(vec![timeline(u32::MAX, None, 0)], Vec::new())).unwrap();
    hold(&last, vec![(forked(None, Vec::new()), "there is no timeline after the last")]);
}

#[test]
fn only_whole_runs_are_replaced_and_each_once() {
    let state = filled();
    let short = SegmentRecord { messages: 9, ..shared(1, 11, 20) };
    hold(
        &state,
        vec![
            (merged(vec![replaced(11, 30, vec![shared(1, 11, 30)])]), ""),
            (merged(vec![replaced(1, 40, vec![own(1, 1, 40)])]), ""),
            (merged(vec![replaced(11, 20, vec![shared(1, 11, 15), shared(1, 16, 20)])]), ""),
            (
                merged(vec![
                    replaced(31, 40, vec![shared(1, 31, 40)]),
                    replaced(11, 30, vec![shared(1, 11, 30)]),
                ]),
                "",
            ),
            (
                merged(vec![
                    replaced(11, 20, vec![shared(1, 11, 15), shared(1, 16, 20)]),
                    replaced(11, 20, vec![shared(1, 11, 20)]),
                ]),
                "replaces sequences 11 to 20 of timeline 1 twice",
            ),
            (
                merged(vec![
                    replaced(11, 30, vec![shared(1, 11, 30)]),
                    replaced(21, 40, vec![shared(1, 21, 40)]),
                ]),
                "twice",
            ),
            (merged(vec![replaced(11, 25, vec![shared(1, 11, 25)])]), "no whole segments"),
            (merged(vec![replaced(12, 20, vec![shared(1, 12, 20)])]), "no whole segments"),
            (merged(vec![replaced(0, 10, vec![own(1, 1, 10)])]), "no whole segments"),
            (merged(vec![replaced(20, 11, Vec::new())]), "which is nothing"),
            (merged(vec![replaced(11, 20, Vec::new())]), "10 messages by 0"),
            (merged(vec![replaced(11, 20, vec![short])]), "10 messages by 9"),
            (merged(vec![replaced(11, 20, vec![shared(1, 11, 21)])]), "covers more"),
            (merged(vec![replaced(11, 20, vec![shared(1, 10, 19)])]), "overlaps"),
            (merged(vec![replaced(11, 20, vec![shared(2, 11, 20)])]), "covers more"),
            (
                merged(vec![replaced(11, 20, vec![shared(1, 11, 16), shared(1, 16, 20)])]),
                "overlaps",
            ),
        ],
    );
}

#[test]
fn what_is_sealed_is_final_and_may_be_what_was_there() {
    let mut state = filled();
    let sealed = SegmentRecord { sealed: true, ..own(1, 1, 10) };
    say(&mut state, merged(vec![replaced(1, 10, vec![sealed])])).unwrap();
    assert!(state.superseded.is_empty(), "the object is the same");
    hold(&state, vec![(merged(vec![replaced(1, 10, vec![own(1, 1, 10)])]), "is sealed")]);
}

#[test]
fn a_stream_begins_once_alone_and_sound() {
    let parent = |timeline, last_seq| Some(ParentTimeline { timeline, last_seq });
    let one = |end, segments| begin(vec![timeline(1, None, end)], segments);
    let served = Served { name: "a".into(), account: None };
    let known = DeletesKnown { seq: 1, at: Timestamp::UNIX_EPOCH };
    let two =
        |segments| begin(vec![timeline(1, None, 20), timeline(2, parent(1, 15), 30)], segments);
    hold(
        &empty(),
        vec![
            (one(0, Vec::new()), ""),
            (one(20, vec![own(1, 1, 10), own(1, 11, 20)]), ""),
            (two(vec![own(1, 1, 20), own(2, 16, 30)]), ""),
            (Change { consumers: Some(Vec::new()), ..one(0, Vec::new()) }, "says more of it"),
            (Change { served: Some(served), ..one(0, Vec::new()) }, "says more of it"),
            (Change { deletes_known: Some(known), ..one(0, Vec::new()) }, "says more of it"),
            (Change { deliveries: Some(BTreeMap::new()), ..one(0, Vec::new()) }, "says more of it"),
            (Change { add: vec![part(1, 1, 10)], ..one(0, Vec::new()) }, "says more of it"),
            (one(20, vec![own(1, 1, 21)]), "outside of timeline 1"),
            (one(20, vec![own(1, 0, 10)]), "begins before sequence 1"),
            (one(20, vec![own(1, 1, 10), own(1, 10, 20)]), "overlap"),
            (one(20, vec![own(2, 1, 10)]), "timeline 2, which is not there"),
            (two(vec![own(1, 1, 20), own(2, 15, 30)]), "outside of timeline 2"),
            (begin(Vec::new(), Vec::new()), "it has no timeline"),
            (added(vec![part(1, 1, 10)]), "it is not there"),
        ],
    );
    hold(&filled(), vec![(one(0, Vec::new()), "begins a stream that is there")]);
}

/// Checks that an object that one stream drops and another one adds in the same entry is in use.
#[test]
fn an_object_that_is_taken_up_again_is_in_use() {
    let mut state = filled();
    let other = StreamName::new("T").unwrap();
    let hash = |entry: &JournalEntry| entry.to_text().1;
    let begins = entry(&state, &other, begin(vec![timeline(1, None, 0)], Vec::new()));
    state.apply(&begins, hash(&begins)).unwrap();
    say(&mut state, merged(vec![replaced(11, 20, vec![shared(1, 11, 20)])])).unwrap();
    let key = shared(1, 11, 20).key.unwrap();
    let mut both = entry(&state, &other, added(vec![shared(1, 1, 10)]));
    both.streams.insert(stream(), merged(vec![replaced(11, 20, vec![part(1, 11, 20)])]));
    state.apply(&both, hash(&both)).unwrap();
    assert!(state.shares(&key));
    assert!(state.superseded.iter().all(|s| s.key != key));
    // A segment that was replaced before, and whose object still exists.
    let own_key = own(1, 1, 10).key.unwrap();
    say(&mut state, merged(vec![replaced(1, 10, vec![part(1, 1, 10)])])).unwrap();
    assert!(state.superseded.iter().any(|s| s.key == own_key));
    say(&mut state, merged(vec![replaced(1, 10, vec![own(1, 1, 10)])])).unwrap();
    assert!(state.superseded.iter().all(|s| s.key != own_key));
    // A checkpoint that says otherwise is not believed.
    let mut checkpoint = state.checkpoint().unwrap();
    checkpoint.superseded =
        vec![cim_core::archive::Superseded { key: own_key, since: Timestamp::UNIX_EPOCH }];
    let opened = JournalState::open(state.of, &checkpoint).unwrap();
    assert_eq!(opened, state);
}

#[test]
fn the_last_number_of_all_has_no_entry() {
    let mut checkpoint = filled().checkpoint().unwrap();
    checkpoint.number = u64::MAX;
    let mut state = JournalState::open(filled().of, &checkpoint).unwrap();
    assert!(say(&mut state, Change::default()).unwrap_err().contains("is broken"));
}
