//! The fold of a stream's entries.

use std::path::Path;

use cim_core::archive::{ArchiveState, Entry, Fork, Sha256};

/// Entry 0 of a stream, as a writer of this format made it.
fn first(format: u32) -> Entry {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/schemas/archive-entry");
    let text = std::fs::read(folder.join("examples/v2/first.json")).unwrap();
    Entry { format, ..serde_json::from_slice(&text).unwrap() }
}

/// The entry after a state, which changes nothing yet.
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

/// A stream that was deleted and made again with another description.
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

/// Checkpoints of earlier formats do not say what a timeline had left, and are no contradiction.
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
