//! The fold of a stream's entries.

use std::path::Path;

use cim_core::archive::{ArchiveKey, ArchiveState, Entry, Fork, ParentTimeline, Segment, Sha256};
use cim_core::names::StreamName;

fn example(name: &str) -> Entry {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/schemas/archive-entry");
    serde_json::from_slice(&std::fs::read(folder.join("examples/v2").join(name)).unwrap()).unwrap()
}

/// Returns entry 0 of a stream, as a writer of this format made it.
fn first(format: u32) -> Entry {
    Entry { format, ..example("first.json") }
}

/// Returns the entry after a state, which changes nothing yet.
fn next(state: &ArchiveState, format: u32) -> Entry {
    Entry {
        number: state.number + 1,
        previous: Some(state.hash),
        timeline: state.timeline(),
        fork: None,
        stream: None,
        consumers: None,
        checkpoint: None,
        ..first(format)
    }
}

/// Returns a stream that was deleted and made again with another description.
fn recreated(format: u32) -> (ArchiveState, Entry) {
    let first = first(format);
    let mut state = ArchiveState::open(&first, Sha256::of(b"0")).unwrap();
    let stream = serde_json::to_string(&first.stream).unwrap().replace(r#""s.>""#, r#""t.>""#);
    let fork = Entry {
        timeline: 2,
        fork: Some(Fork { parent: None, reason: "recreated".into() }),
        stream: serde_json::from_str(&stream).unwrap(),
        ..next(&state, format)
    };
    state.apply(&fork, Sha256::of(b"1")).unwrap();
    (state, first)
}

#[test]
fn a_timeline_is_left_with_the_stream_that_it_had() {
    let (state, first) = recreated(3);
    let before = first.stream.unwrap();
    assert_eq!(state.stream_of(1).0, &before);
    assert_eq!(state.stream_of(2).0, &state.stream);
    assert_ne!(state.stream, before);
    // A checkpoint carries it on.
    let again = Entry {
        checkpoint: Some(state.checkpoint()),
        stream: Some(state.stream.clone()),
        consumers: Some(state.consumers.clone()),
        ..next(&state, 3)
    };
    let read = ArchiveState::open(&again, Sha256::of(b"2")).unwrap();
    assert_eq!(read.stream_of(1).0, &before);
}

/// Checks that checkpoints of earlier formats, which lack the stream that a timeline left, are no contradiction.
#[test]
fn a_checkpoint_restates_what_its_format_knows() {
    let (state, _) = recreated(2);
    let mut without = state.checkpoint();
    without.timelines.iter_mut().for_each(|timeline| timeline.left = None);
    for (format, accepted) in [(2, true), (3, false)] {
        let entry = Entry {
            checkpoint: Some(without.clone()),
            stream: Some(state.stream.clone()),
            consumers: Some(state.consumers.clone()),
            ..next(&state, format)
        };
        let outcome = state.clone().apply(&entry, Sha256::of(b"2"));
        assert_eq!(outcome.is_ok(), accepted, "format {format}: {outcome:?}");
    }
}

/// Returns a segment of a timeline from one sequence to another.
fn segment(timeline: u32, first_seq: u64, last_seq: u64) -> Segment {
    let known = example("append.json").add.remove(0);
    let stream = StreamName::new("S").unwrap();
    let key =
        ArchiveKey::segment(&stream, timeline, first_seq, last_seq, &known.sha256).to_string();
    Segment { key, timeline, first_seq, last_seq, messages: 10, ..known }
}

/// Returns an archive of sequences 1 to 30 in three segments.
fn filled() -> ArchiveState {
    let mut state = ArchiveState::open(&first(3), Sha256::of(b"0")).unwrap();
    let mut entry = next(&state, 3);
    entry.add = vec![segment(1, 1, 10), segment(1, 11, 20), segment(1, 21, 30)];
    entry.watermark.seq = 30;
    state.apply(&entry, Sha256::of(b"1")).unwrap();
    state
}

/// Checks that overlapping segments are refused. No writer makes them, but a forger can forge an entry and its
/// hash, and a restore that accepted it would return messages twice, or count backwards.
#[test]
fn segments_that_overlap_are_no_archive() {
    let state = filled();
    let key = |first, last| segment(1, first, last).key;
    let fork = |parent: Option<u64>| {
        let parent = parent.map(|last_seq| ParentTimeline { timeline: 1, last_seq });
        Some(Fork { parent, reason: "recreated".into() })
    };
    let base = || {
        let mut entry = next(&state, 3);
        entry.watermark.seq = 60;
        entry
    };
    let forked = |parent, add| Entry { timeline: 2, fork: fork(parent), add, ..base() };
    let merged = |remove, add| Entry { remove, add, ..base() };
    let added = |add| merged(Vec::new(), add);
    let cases = [
        (added(vec![segment(1, 31, 40), segment(1, 41, 50)]), ""),
        (added(vec![segment(1, 30, 40)]), "overlaps"),
        (added(vec![segment(1, 31, 40), segment(1, 40, 50)]), "overlaps"),
        (added(vec![segment(1, 41, 50), segment(1, 31, 45)]), "overlaps"),
        (added(vec![segment(1, 31, 40), segment(1, 31, 40)]), "overlaps"),
        (added(vec![segment(1, 40, 31)]), "ends before it begins"),
        (added(vec![segment(7, 31, 40)]), "is of another timeline"),
        (forked(None, vec![segment(2, 1, 10), segment(2, 11, 20)]), ""),
        (forked(None, vec![segment(2, 1, 10), segment(2, 2, 20)]), "overlaps"),
        (forked(None, vec![segment(2, 20, 11)]), "ends before it begins"),
        (forked(Some(25), vec![segment(2, 26, 35)]), ""),
        (forked(Some(25), vec![segment(2, 25, 35)]), "overlaps"),
        (forked(Some(25), vec![segment(1, 26, 35)]), "is of another timeline"),
        (merged(vec![key(1, 10)], vec![segment(1, 1, 10)]), ""),
        (
            merged(vec![key(1, 10), key(11, 20)], vec![segment(1, 1, 10), segment(1, 9, 20)]),
            "overlaps",
        ),
        (merged(vec![key(1, 10), key(21, 30)], vec![segment(1, 1, 30)]), "overlaps"),
        (merged(vec![key(1, 10)], vec![segment(2, 1, 10)]), "covers more than it replaces"),
    ];
    for (at, (entry, wrong)) in cases.into_iter().enumerate() {
        match state.clone().apply(&entry, Sha256::of(b"2")) {
            Ok(()) => assert_eq!(wrong, "", "case {at} should be refused"),
            Err(error) => {
                let error = error.to_string();
                assert!(!wrong.is_empty() && error.contains(wrong), "case {at}: {error}");
            }
        }
    }
}

#[test]
fn an_archive_that_lacks_messages_is_told_by_the_streams_count() {
    let mut state = filled();
    let timeline = state.timeline();
    let archived: u64 = state.segments.values().map(|s| s.messages).sum();
    let current = state.timelines.get_mut(&timeline).unwrap();
    current.state.first_seq = 1;
    current.state.last_seq = current.watermark.seq;
    current.state.messages = archived;
    assert_eq!(state.missing_messages(), 0);
    let (key, last) = state.segments.pop_last().unwrap();
    assert_eq!(state.missing_messages(), last.messages);
    // A tier that is behind the observation reports no missing messages.
    state.timelines.get_mut(&timeline).unwrap().watermark.seq -= 1;
    assert_eq!(state.missing_messages(), 0);
    state.timelines.get_mut(&timeline).unwrap().watermark.seq += 1;
    // More messages are fine: acknowledged ones leave the stream, and stay in the archive.
    state.segments.insert(key, last);
    state.timelines.get_mut(&timeline).unwrap().state.messages = 1;
    assert_eq!(state.missing_messages(), 0);
}

#[test]
fn a_checkpoint_of_segments_that_overlap_is_no_archive() {
    let state = filled();
    for (segments, wrong) in [
        (vec![segment(1, 1, 10), segment(1, 11, 30)], ""),
        (vec![segment(1, 1, 10), segment(1, 10, 30)], "overlap"),
        (vec![segment(1, 11, 30), segment(1, 1, 10)], "do not ascend"),
        (vec![segment(1, 10, 1)], "ends before it begins"),
    ] {
        let mut checkpoint = state.checkpoint();
        checkpoint.segments = segments;
        let entry = Entry {
            checkpoint: Some(checkpoint),
            stream: Some(state.stream.clone()),
            consumers: Some(state.consumers.clone()),
            ..next(&state, 3)
        };
        match ArchiveState::open(&entry, Sha256::of(b"2")) {
            Ok(_) => assert_eq!(wrong, ""),
            Err(error) => {
                assert!(error.to_string().contains(wrong) && !wrong.is_empty(), "{error}");
            }
        }
    }
}
