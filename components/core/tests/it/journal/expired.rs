//! What may leave an archive by rule, and what a reader knows of it then.

use cim_core::archive::journal::{Absent, Change, Expired, JournalState, Replacement};
use cim_core::archive::{Fork, ParentTimeline, StreamState};
use jiff::Timestamp;

use super::refused::{filled, part, say, stream};

fn run(timeline: u32, first_seq: u64, last_seq: u64, messages: u64) -> Expired {
    let (at, rule) = (Timestamp::UNIX_EPOCH, "max_age = \"400d\"".to_owned());
    Expired { timeline, first_seq, last_seq, messages, bytes: messages, at, rule }
}

fn expired(runs: &[Expired]) -> Change {
    Change { expired: runs.to_vec(), ..Change::default() }
}

/// The live stream begins at 31: four segments of ten messages are archived.
fn dropped_to_30() -> JournalState {
    let mut state = filled();
    let counts = StreamState { first_seq: 31, last_seq: 40, messages: 10, bytes: 10 };
    say(&mut state, Change { state: Some(counts), ..Change::default() }).unwrap();
    state
}

#[test]
fn what_the_live_stream_dropped_leaves_from_the_front() {
    let mut state = dropped_to_30();
    say(&mut state, expired(&[run(1, 1, 10, 10)])).unwrap();
    say(&mut state, expired(&[run(1, 11, 20, 10)])).unwrap();
    let archive = &state.streams[&stream()];
    // Two runs by one rule that follow one another are told as one.
    assert_eq!(archive.retention.expired, [run(1, 1, 20, 20)]);
    assert_eq!((archive.kept_from(1), archive.has_left(1)), (21, false));
    let first = archive.pieces(1, 1, u64::MAX).first().map(|piece| piece.first_seq);
    assert_eq!(first, Some(21));
    // Its object goes like one that was replaced; parts go with their entry.
    assert_eq!(state.superseded.len(), 1);
    assert_eq!(archive.missing_messages(), 0);
}

#[test]
fn what_may_not_leave_is_refused_with_its_reason() {
    let refused = |change: Change| say(&mut dropped_to_30(), change).unwrap_err();
    let all = [
        expired(&[run(1, 31, 40, 10)]),
        expired(&[run(1, 1, 40, 40)]),
        expired(&[run(1, 11, 20, 10)]),
        expired(&[run(1, 1, 15, 15)]),
        expired(&[run(1, 5, 10, 6)]),
        expired(&[run(1, 1, 10, 9)]),
        expired(&[run(1, 0, 10, 10)]),
        expired(&[run(1, 9, 8, 1)]),
        expired(&[run(2, 1, 10, 10)]),
        expired(&[run(1, 1, 10, 10), run(1, 1, 10, 10)]),
        Change {
            replace: vec![Replacement {
                timeline: 1,
                first_seq: 11,
                last_seq: 20,
                by: vec![part(1, 11, 20)],
            }],
            ..expired(&[run(1, 1, 20, 20)])
        },
    ];
    let said: Vec<String> = all.map(refused).into();
    let cut = |said: &String| said.rsplit("stream `S`: ").next().unwrap().to_owned();
    insta::assert_snapshot!(said.iter().map(cut).collect::<Vec<_>>().join("\n"), @"
    it lets sequences 31 to 40 of timeline 1 go, and keeps what is before them
    it lets sequence 40 go, and the live stream begins at 31
    it lets sequences 11 to 20 of timeline 1 go, and keeps what is before them
    it lets sequences 1 to 15 of timeline 1 go, which are no whole segments
    it lets sequences 5 to 10 of timeline 1 go, which are no whole segments
    it lets 9 messages go, and 10 are there
    it lets sequences 0 to 10 of timeline 1 go, which are nothing
    it lets sequences 9 to 8 of timeline 1 go, which are nothing
    it lets sequences 1 to 10 of timeline 2 go, which are nothing
    it lets sequences 1 to 10 of timeline 1 go, of which it says more
    it lets sequences 1 to 20 of timeline 1 go, of which it says more
    ");
}

#[test]
fn a_stream_that_is_not_there_any_more_may_leave_as_a_whole() {
    let mut state = dropped_to_30();
    let since = Some(Timestamp::UNIX_EPOCH);
    say(&mut state, Change { absent: Some(Absent { since }), ..Change::default() }).unwrap();
    say(&mut state, expired(&[run(1, 1, 40, 40)])).unwrap();
    let archive = &state.streams[&stream()];
    assert!(archive.has_left(1) && archive.segments.is_empty());
    assert_eq!((archive.kept_from(1), archive.missing_messages()), (41, 0));
    say(&mut state, Change { absent: Some(Absent::default()), ..Change::default() }).unwrap();
    assert_eq!(state.streams[&stream()].retention.absent_since, None);
    // One of which there is news is there, whether that was said or not.
    say(&mut state, Change { absent: Some(Absent { since }), ..Change::default() }).unwrap();
    say(&mut state, Change { add: vec![part(1, 41, 42)], ..Change::default() }).unwrap();
    assert_eq!(state.streams[&stream()].retention.absent_since, None);
}

#[test]
fn what_only_a_timeline_has_that_was_left_may_leave() {
    let mut state = filled();
    let parent = Some(ParentTimeline { timeline: 1, last_seq: 20 });
    let fork = Some(Fork { parent, reason: "restored".into() });
    let counts = StreamState { first_seq: 1, last_seq: 20, messages: 20, bytes: 20 };
    say(&mut state, Change { fork, state: Some(counts), ..Change::default() }).unwrap();
    let refused = say(&mut state, expired(&[run(1, 11, 20, 10)])).unwrap_err();
    assert!(refused.contains("lets sequence 20 go, and the live stream begins at 1"), "{refused}");
    say(&mut state, expired(&[run(1, 21, 40, 20)])).unwrap();
    let archive = &state.streams[&stream()];
    assert!(archive.has_left(1) && !archive.has_left(2));
    assert_eq!((archive.kept_from(1), archive.kept_from(2)), (41, 1));
    assert_eq!(archive.pieces(2, 1, u64::MAX).len(), 2);
    assert_eq!(archive.retention.left_at(1), Some(Timestamp::UNIX_EPOCH));
    assert_eq!(archive.expired_in(2), Vec::<&Expired>::new());
}

/// A tier that begins anew is told what another one has let go before.
#[test]
fn what_never_was_there_can_be_noted() {
    let mut state = dropped_to_30();
    let kept = say(&mut state, expired(&[run(1, 41, 50, 10)])).unwrap_err();
    assert!(kept.contains("keeps what is before them"), "{kept}");
    let since = Some(Timestamp::UNIX_EPOCH);
    say(&mut state, Change { absent: Some(Absent { since }), ..Change::default() }).unwrap();
    say(&mut state, expired(&[run(1, 1, 40, 40), run(1, 41, 50, 10)])).unwrap();
    assert_eq!(state.streams[&stream()].retention.expired, [run(1, 1, 50, 50)]);
}
