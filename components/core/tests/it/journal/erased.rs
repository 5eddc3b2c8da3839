//! What was erased: segments have fewer messages by what a note says, and by no other.

use cim_core::archive::journal::{
    Change, ErasedFrom, ErasedIn, Erasure, ErasureNote, JournalState, Replacement, SegmentRecord,
};
use cim_core::archive::{RawJson, SeqRange, SeqRanges, Sha256, StreamState};

use super::refused::{filled, hold, own, part, say, stream};

/// Returns a note about sequences of timeline 1.
fn note(of: &str, sequences: &[(u64, u64)]) -> Erasure {
    let sequences: SeqRanges =
        sequences.iter().map(|(from, to)| SeqRange { first: *from, last: *to }).collect();
    let note = ErasureNote {
        id: "1".into(),
        stream: of.parse().unwrap(),
        journal: "main".parse().unwrap(),
        tier: "nas".into(),
        at: jiff::Timestamp::UNIX_EPOCH,
        by: "host".into(),
        reason: "request 7".into(),
        messages: sequences.count(),
        timelines: vec![ErasedIn { timeline: 1, sequences: sequences.iter().collect() }],
        segments: vec![ErasedFrom { key: "k".into(), sha256: Sha256::of(b"k") }],
    };
    let note = RawJson::new(serde_json::to_string(&note).unwrap()).unwrap();
    Erasure { note, key: "U".into(), signature: String::new() }
}

fn cut(first_seq: u64, last_seq: u64, by: Vec<SegmentRecord>) -> Replacement {
    Replacement { timeline: 1, first_seq, last_seq, by }
}

/// Returns a change that erases these sequences.
fn erases(sequences: &[(u64, u64)], cut: Vec<Replacement>) -> Change {
    Change { erased: vec![note("S", sequences)], cut, ..Change::default() }
}

/// Returns the record of a segment that has only `messages` messages.
fn fewer(segment: SegmentRecord, messages: u64) -> SegmentRecord {
    SegmentRecord { messages, ..segment }
}

/// Returns the state with 10 more messages in a sealed segment.
fn sealed() -> JournalState {
    let mut state = filled();
    let add = vec![SegmentRecord { sealed: true, ..own(1, 41, 50) }];
    say(&mut state, Change { add, ..Change::default() }).unwrap();
    state
}

#[test]
fn an_erasure_takes_out_what_its_note_says() {
    let last =
        Change { cut: vec![cut(1, 10, vec![own(1, 1, 9)])], ..erases(&[(10, 10)], Vec::new()) };
    let noteless = Change { erased: Vec::new(), ..last.clone() };
    let twice = Change { replace: vec![cut(1, 10, vec![own(1, 1, 10)])], ..last.clone() };
    let others = Change { erased: vec![note("T", &[(10, 10)])], ..last.clone() };
    let unread = Erasure { note: RawJson::new("{}".into()).unwrap(), ..note("S", &[(10, 10)]) };
    let unread = Change { erased: vec![unread], ..last.clone() };
    hold(
        &sealed(),
        vec![
            (last, ""),
            (erases(&[(11, 20)], vec![cut(11, 20, Vec::new())]), ""),
            (erases(&[(15, 15)], vec![cut(11, 20, vec![fewer(part(1, 11, 20), 9)])]), ""),
            (erases(&[(41, 49)], vec![cut(41, 50, vec![own(1, 50, 50)])]), ""),
            (
                erases(&[(1, 10), (21, 30)], vec![cut(1, 10, Vec::new()), cut(21, 30, Vec::new())]),
                "",
            ),
            // A note alone is what another tier has done.
            (erases(&[(15, 15)], Vec::new()), ""),
            (noteless, "of which no note says that something was erased"),
            (erases(&[(30, 30)], vec![cut(1, 10, vec![own(1, 1, 9)])]), "of which no note says"),
            (
                erases(&[(9, 10)], vec![cut(1, 10, vec![own(1, 1, 9)])]),
                "10 messages down to 9 and notes 2",
            ),
            (
                erases(&[(10, 10)], vec![cut(1, 10, vec![own(1, 1, 8)])]),
                "10 messages down to 8 and notes 1",
            ),
            (
                erases(&[(10, 10)], vec![cut(1, 10, vec![own(1, 2, 11)])]),
                "covers more than it replaces",
            ),
            (erases(&[(10, 10)], vec![cut(2, 10, vec![own(1, 2, 9)])]), "no whole segments"),
            (twice, "replaces sequences 1 to 10 of timeline 1 twice"),
            (others, "its note of an erasure is of stream `T`"),
            (unread, "its note of an erasure is none"),
        ],
    );
}

#[test]
fn what_was_erased_is_known_and_is_not_lacking() {
    let mut state = sealed();
    let seen = StreamState { first_seq: 1, last_seq: 50, messages: 50, ..StreamState::default() };
    say(&mut state, Change { state: Some(seen), ..Change::default() }).unwrap();
    say(&mut state, erases(&[(11, 20)], vec![cut(11, 20, Vec::new())])).unwrap();
    say(&mut state, erases(&[(41, 49)], vec![cut(41, 50, vec![own(1, 50, 50)])])).unwrap();
    let restated = JournalState::open(state.of, &state.checkpoint().unwrap()).unwrap();
    assert_eq!(restated, state);
    let archived = &restated.streams[&stream()];
    assert_eq!(archived.erasures().count(), 2);
    let erased = |first, last| archived.erased_between(1, first, last).iter().collect::<Vec<_>>();
    assert_eq!(
        erased(1, u64::MAX),
        [SeqRange { first: 11, last: 20 }, SeqRange { first: 41, last: 49 }]
    );
    assert_eq!(
        erased(15, 41),
        [SeqRange { first: 15, last: 20 }, SeqRange { first: 41, last: 41 }]
    );
    // The stream had them when it was last seen: they are not missing by mistake.
    assert_eq!(archived.missing_messages(), 0);
    // The objects are of no more use.
    let free: Vec<&str> = restated.superseded.iter().map(|s| s.key.as_str()).collect();
    assert_eq!(free, [own(1, 41, 50).key.unwrap()]);
}
