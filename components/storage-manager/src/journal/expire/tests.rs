//! What may leave, held against archives of any shape: several timelines, some left, messages that JetStream still has.

use std::collections::BTreeSet;

use cim_core::archive::journal::{Absent, Change, Expired, JournalState, SegmentRecord};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveState, Fork, ParentTimeline, StreamState};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::sample::Index;

use super::decide::{Bounds, Copied, Live, decide, taken};
use crate::config::retention::{RetentionConfig, tables};
use crate::journal::testing::{apply_at, begin, empty, record, stream};

/// An event of a stream, a second after the one before.
#[derive(Debug, Clone)]
enum Step {
    /// A segment of so many messages, behind a gap. A clock that was set back makes it older.
    Write { messages: u64, gap: u64, back: i64 },
    /// Another history begins, from a place in an earlier one or from nothing.
    Fork(Option<(Index, Index)>),
    /// JetStream drops what is before a place.
    Drop(Index),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let write = (1..5u64, 0..2u64, prop_oneof![4 => Just(0), 1 => 0..9i64])
        .prop_map(|(messages, gap, back)| Step::Write { messages, gap, back });
    let parent = prop::option::weighted(0.8, any::<(Index, Index)>());
    let step = prop_oneof![
        8 => write,
        1 => parent.prop_map(Step::Fork),
        2 => any::<Index>().prop_map(Step::Drop),
    ];
    prop::collection::vec(step, 1..40)
}

/// A rule of any kind, in numbers: seconds, messages, bytes.
#[derive(Debug, Clone, Default)]
struct Rule {
    max_age: Option<u64>,
    max_msgs: Option<u64>,
    max_bytes: Option<u64>,
    left_timelines: Option<u64>,
    dropped: Option<u64>,
}

impl Rule {
    fn read(&self) -> RetentionConfig {
        let seconds = |name: &str, value: Option<u64>| {
            value.map(|value| format!("{name} = \"{value}s\"\n")).unwrap_or_default()
        };
        let text = [
            "[[retention]]\nstreams = [\"*\"]\n".to_owned(),
            seconds("max_age", self.max_age),
            self.max_msgs.map(|most| format!("max_msgs = {most}\n")).unwrap_or_default(),
            self.max_bytes.map(|most| format!("max_bytes = \"{most}B\"\n")).unwrap_or_default(),
            seconds("left_timelines", self.left_timelines),
            seconds("dropped", self.dropped),
        ];
        tables(&text.concat()).unwrap().remove(0)
    }

    /// The same, with limits that let less go.
    fn looser(&self, by: u64) -> Self {
        let more = |limit: Option<u64>| limit.map(|limit| limit + by);
        Self {
            max_age: more(self.max_age),
            max_msgs: more(self.max_msgs),
            max_bytes: more(self.max_bytes),
            left_timelines: more(self.left_timelines),
            dropped: more(self.dropped),
        }
    }
}

fn rule() -> impl Strategy<Value = Rule> {
    let some = |most: u64| prop::option::of(1..most);
    (some(50), some(40), some(400), some(50), some(50)).prop_map(
        |(max_age, max_msgs, max_bytes, left_timelines, dropped)| Rule {
            max_age,
            max_msgs,
            max_bytes,
            left_timelines,
            dropped,
        },
    )
}

fn second(second: i64) -> Timestamp {
    Timestamp::from_second(1_790_000_000 + second).unwrap()
}

fn segment(timeline: u32, first: u64, last: u64, at: i64) -> SegmentRecord {
    let messages = last - first + 1;
    let time = (1_790_000_000 + at) * 1_000_000_000;
    SegmentRecord {
        timeline,
        first_time: time,
        last_time: time,
        ..record(None, first, last, messages, 10 * messages)
    }
}

fn say(state: &mut JournalState, at: i64, change: Change) {
    apply_at(state, second(at), [(stream(0), change)].into(), Vec::new());
}

fn archive(state: &JournalState) -> &ArchiveState {
    &state.streams[&stream(0)]
}

/// An archive, and the second at which it is like that.
fn archived(steps: &[Step]) -> (JournalState, i64) {
    let (mut state, mut at) = (empty(JournalOf::Secondary), 0);
    say(&mut state, at, Change { begin: Some(begin()), ..Change::default() });
    for step in steps {
        at += 1;
        let its = archive(&state);
        let (timeline, end) = (its.timeline(), its.watermark().seq);
        let counts = its.current().state.clone();
        let change = match step {
            Step::Write { messages, gap, back } => {
                let first = end + 1 + gap;
                let last = first + messages - 1;
                let add = vec![segment(timeline, first, last, at - back)];
                let first_seq = counts.first_seq.max(1);
                let counts = StreamState { first_seq, last_seq: last, ..counts };
                Change { add, state: Some(counts), ..Change::default() }
            }
            Step::Fork(parent) => {
                let parent = parent.as_ref().map(|(of, seq)| {
                    let timeline = 1 + u32::try_from(of.index(timeline as usize)).unwrap();
                    let most = usize::try_from(its.timelines[&timeline].watermark.seq).unwrap();
                    ParentTimeline { timeline, last_seq: seq.index(most + 1) as u64 }
                });
                let last_seq = parent.as_ref().map_or(0, |parent| parent.last_seq);
                let first_seq = parent.as_ref().map_or(1, |parent| {
                    its.timelines[&parent.timeline].state.first_seq.clamp(1, last_seq + 1)
                });
                let fork = Some(Fork { parent, reason: "drawn".into() });
                let state = Some(StreamState { first_seq, last_seq, messages: 0, bytes: 0 });
                Change { fork, state, ..Change::default() }
            }
            Step::Drop(place) => {
                let most = usize::try_from(end).unwrap() + 1;
                let first_seq = counts.first_seq.max(1 + place.index(most) as u64);
                let state = Some(StreamState { first_seq, ..counts });
                Change { state, ..Change::default() }
            }
        };
        say(&mut state, at, change);
    }
    (state, at)
}

/// The segments of a timeline, by their places.
fn places(state: &ArchiveState, timeline: u32) -> Vec<(u32, u64)> {
    let pieces = state.pieces(timeline, 1, u64::MAX);
    pieces.iter().map(|piece| (piece.segment.timeline, piece.segment.first_seq)).collect()
}

fn taken_places(state: &ArchiveState, runs: &[Expired]) -> BTreeSet<(u32, u64)> {
    taken(state, runs).iter().map(|segment| (segment.timeline, segment.first_seq)).collect()
}

proptest! {
    #[test]
    fn what_jetstream_holds_stays_and_what_is_left_has_no_hole(
        steps in steps(), rule in rule(), live in prop::option::of(any::<Index>()), later in 0..40i64,
    ) {
        let (mut journal, at) = archived(&steps);
        let before = archive(&journal).clone();
        let end = usize::try_from(before.watermark().seq).unwrap();
        let live = live.map_or(Live::Unknown, |place| Live::From(1 + place.index(end + 1) as u64));
        let bounds = Bounds { live, copied: Copied::All, now: second(at + later) };
        let config = rule.read();
        let runs = decide(&before, &config, &bounds);
        let gone = taken_places(&before, &runs);
        let counted: u64 = taken(&before, &runs).iter().map(|segment| segment.messages).sum();
        prop_assert_eq!(counted, runs.iter().map(|run| run.messages).sum::<u64>());

        let current = before.timeline();
        let held = match live {
            Live::From(first) => first.min(before.current().state.first_seq),
            _ => before.current().state.first_seq,
        };
        let newest = before.pieces(current, 1, u64::MAX);
        for piece in &newest {
            let place = (piece.segment.timeline, piece.segment.first_seq);
            prop_assert!(!gone.contains(&place) || piece.last_seq < held, "{:?} is held", place);
        }
        let tail = newest.last().map(|piece| (piece.segment.timeline, piece.segment.first_seq));
        prop_assert!(tail.is_none_or(|tail| !gone.contains(&tail)), "the tail stays");
        for timeline in before.timelines.keys() {
            let all = places(&before, *timeline);
            let kept = all.iter().skip_while(|place| gone.contains(*place));
            let hole = kept.clone().any(|place| gone.contains(place));
            let whole = before.retention.left_at(*timeline).is_some() && rule.left_timelines.is_some();
            prop_assert!(!hole || whole, "timeline {} has a hole", timeline);
        }

        // The journal takes it, and then there is nothing more to take.
        say(&mut journal, at, Change { expired: runs, ..Change::default() });
        let after = archive(&journal);
        prop_assert_eq!(decide(after, &config, &bounds), Vec::<Expired>::new());
        prop_assert!(gone.iter().all(|place| !after.segments.contains_key(place)));
        prop_assert_eq!(after.segments.len() + gone.len(), before.segments.len());
        prop_assert!(!after.has_left(current));
    }

    #[test]
    fn a_looser_rule_takes_no_more(steps in steps(), rule in rule(), by in 0..30u64, later in 0..40i64) {
        let (journal, at) = archived(&steps);
        let bounds = Bounds { live: Live::Unknown, copied: Copied::All, now: second(at + later) };
        let state = archive(&journal);
        let by_rule = |rule: &Rule| taken_places(state, &decide(state, &rule.read(), &bounds));
        let all = by_rule(&rule);
        let ageless = Rule { max_age: None, ..rule.clone() };
        let keeping = Rule { left_timelines: None, ..rule.clone() };
        for fewer in [rule.looser(by), ageless, keeping] {
            let taken = by_rule(&fewer);
            prop_assert!(taken.is_subset(&all), "{:?} takes {:?} beside {:?}", fewer, taken, all);
        }
    }

    #[test]
    fn so_many_of_the_newest_messages_stay(steps in steps(), most in 1..40u64) {
        let (journal, at) = archived(&steps);
        let state = archive(&journal);
        let rule = Rule { max_msgs: Some(most), ..Rule::default() }.read();
        let bounds = Bounds { live: Live::Unknown, copied: Copied::All, now: second(at) };
        let gone = taken_places(state, &decide(state, &rule, &bounds));
        for timeline in state.timelines.keys() {
            let pieces = state.pieces(*timeline, 1, u64::MAX);
            let is_kept = |piece: &&cim_core::archive::Piece<'_>| {
                !gone.contains(&(piece.segment.timeline, piece.segment.first_seq))
            };
            let count = |all: &mut dyn Iterator<Item = &cim_core::archive::Piece<'_>>| {
                all.map(|piece| piece.segment.messages).sum::<u64>()
            };
            let kept = count(&mut pieces.iter().filter(is_kept));
            prop_assert!(kept >= most.min(count(&mut pieces.iter())), "{} of {}", kept, most);
        }
    }

    #[test]
    fn what_wasabi_lacks_stays(steps in steps(), rule in rule(), until in any::<(Index, Index)>()) {
        let (journal, at) = archived(&steps);
        let state = archive(&journal);
        let timeline = 1 + u32::try_from(until.0.index(state.timelines.len())).unwrap();
        let end = usize::try_from(state.timelines[&timeline].watermark.seq).unwrap();
        let reached = (timeline, until.1.index(end + 1) as u64);
        let by = |copied| {
            let bounds = Bounds { live: Live::Unknown, copied, now: second(at + 30) };
            let runs = decide(state, &rule.read(), &bounds);
            taken(state, &runs).into_iter().cloned().collect::<Vec<_>>()
        };
        for segment in by(Copied::UpTo(Some(reached))) {
            prop_assert!((segment.timeline, segment.last_seq) <= reached);
        }
        prop_assert!(by(Copied::UpTo(None)).is_empty());
        let all = (state.timeline(), u64::MAX);
        prop_assert_eq!(by(Copied::UpTo(Some(all))), by(Copied::All));
    }

    #[test]
    fn what_was_dropped_leaves_as_a_whole_when_its_time_has_come(steps in steps(), age in 1..50u64, later in 0..60i64) {
        let (mut journal, at) = archived(&steps);
        let absent = Some(Absent { since: Some(second(at)) });
        say(&mut journal, at, Change { absent, ..Change::default() });
        let state = archive(&journal).clone();
        let rule = Rule { dropped: Some(age), ..Rule::default() }.read();
        let by = |live| {
            let bounds = Bounds { live, copied: Copied::All, now: second(at + later) };
            decide(&state, &rule, &bounds)
        };
        let due = later >= i64::try_from(age).unwrap();
        prop_assert_eq!(by(Live::From(1)), Vec::<Expired>::new());
        let runs = by(Live::Absent);
        prop_assert_eq!(taken_places(&state, &runs).len(), if due { state.segments.len() } else { 0 });
        say(&mut journal, at, Change { expired: runs, ..Change::default() });
        let left = archive(&journal).has_left(state.timeline());
        prop_assert_eq!(left, due && state.watermark().last.is_some());
    }
}
