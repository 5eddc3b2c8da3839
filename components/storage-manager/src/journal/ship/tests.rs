//! Shipping comes to an end, and then Wasabi says what the NAS says, whatever happened in between.

use std::collections::BTreeMap;

use cim_core::archive::journal::{Change, Expired, JournalState, Replacement, SegmentRecord};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{
    ArchiveKey, DeletesKnown, Fork, ParentTimeline, Segment, SeqRange, Sha256, StreamState,
    Watermark,
};
use jiff::Timestamp;
use proptest::prelude::*;

use super::step::{self, Step};
use crate::journal::merge::plan;
use crate::journal::testing::{apply, begin, empty, record, stream};

/// The size at which a segment is final.
const SEAL: u64 = 400;

/// An event of a stream on the NAS.
#[derive(Debug, Clone)]
enum Event {
    /// Messages come; some before them were gone.
    Add(u64, u64),
    /// Small objects are merged.
    Merge,
    /// Parts become segments of the stream alone, of so many messages about.
    Settle(u64),
    /// Wasabi's own levels: so many merges at most.
    Levels(usize),
    /// Archived messages are deleted.
    Delete(u64),
    /// It goes on from an earlier point.
    Fork(u64),
    /// The watermark passes what is not there.
    Pass(u64),
    /// Wasabi gets what is new; of this many steps at most.
    Ship(usize),
    /// The live stream has dropped all, and so many of the oldest segments that Wasabi has leave the NAS.
    Expire(usize),
    /// Wasabi's bucket is emptied.
    Wipe,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        5 => (1u64..20, 0u64..4).prop_map(|(messages, gap)| Event::Add(messages, gap)),
        2 => Just(Event::Merge),
        2 => (1u64..60).prop_map(Event::Settle),
        2 => (1usize..4).prop_map(Event::Levels),
        2 => any::<u64>().prop_map(Event::Delete),
        1 => any::<u64>().prop_map(Event::Fork),
        1 => (1u64..5).prop_map(Event::Pass),
        3 => (1usize..4).prop_map(Event::Ship),
    ];
    prop::collection::vec(event, 1..60)
}

/// The same, with rules that let go of what is old.
fn with_rules() -> impl Strategy<Value = Vec<Event>> {
    let rules = prop_oneof![
        4 => (1usize..4).prop_map(Event::Expire),
        1 => Just(Event::Wipe),
    ];
    let pairs = (events(), prop::collection::vec((any::<prop::sample::Index>(), rules), 0..8));
    pairs.prop_map(|(mut events, rules)| {
        for (at, rule) in rules {
            events.insert(at.index(events.len() + 1), rule);
        }
        events
    })
}

struct Model {
    nas: JournalState,
    wasabi: JournalState,
}

impl Model {
    fn new() -> Self {
        let mut nas = empty(JournalOf::Secondary);
        let begun = Change { begin: Some(begin()), ..Change::default() };
        apply(&mut nas, BTreeMap::from([(stream(0), begun)]));
        Self { nas, wasabi: empty(JournalOf::Tertiary) }
    }

    fn say(&mut self, change: Change) {
        apply(&mut self.nas, BTreeMap::from([(stream(0), change)]));
    }

    fn expire(&mut self, count: usize) {
        let state = &self.nas.streams[&stream(0)];
        let (timeline, end) = (state.timeline(), state.watermark().seq);
        let counts = StreamState { first_seq: end + 1, ..state.current().state.clone() };
        let there = self.wasabi.streams.get(&stream(0));
        let reached = there.map_or((0, 0), |there| (there.timeline(), there.watermark().seq));
        let own: Vec<&Segment> =
            state.segments.range((timeline, 0)..).map(|(_, segment)| segment).collect();
        let may = own.iter().take(own.len().saturating_sub(1).min(count));
        let leaving: Vec<&Segment> =
            may.take_while(|s| (timeline, s.last_seq) <= reached).copied().collect();
        let expired = leaving.first().zip(leaving.last()).map(|(first, last)| Expired {
            timeline,
            first_seq: first.first_seq,
            last_seq: last.last_seq,
            messages: leaving.iter().map(|segment| segment.messages).sum(),
            bytes: leaving.iter().map(|segment| segment.bytes).sum(),
            at: Timestamp::UNIX_EPOCH,
            rule: "max_msgs = 1".into(),
        });
        self.say(Change { state: Some(counts), ..Change::default() });
        if let Some(expired) = expired {
            self.say(Change { expired: vec![expired], ..Change::default() });
        }
    }

    fn happen(&mut self, event: &Event) {
        let state = &self.nas.streams[&stream(0)];
        let (timeline, watermark) = (state.timeline(), state.watermark().seq);
        match event {
            Event::Add(messages, gap) => {
                let first = watermark + 1 + gap;
                let add = vec![part(timeline, first, first + messages - 1, *messages)];
                let state =
                    Some(StreamState { last_seq: first + messages, ..StreamState::default() });
                let deletes_known = Some(DeletesKnown { seq: watermark, at: Timestamp::MAX });
                self.say(Change { add, state, deletes_known, ..Change::default() });
            }
            Event::Merge => {
                let of_timeline = state.segments.range((timeline, 0)..).map(|(_, s)| s);
                let (Some(first), Some(last)) =
                    (of_timeline.clone().next(), of_timeline.clone().next_back())
                else {
                    return;
                };
                let messages = of_timeline.map(|s| s.messages).sum();
                let (first_seq, last_seq) = (first.first_seq, last.last_seq);
                let by = vec![part(timeline, first_seq, last_seq, messages)];
                let replace = vec![Replacement { timeline, first_seq, last_seq, by }];
                self.say(Change { replace, ..Change::default() });
            }
            Event::Delete(draw) if watermark > 0 => {
                let seq = 1 + draw % watermark;
                self.say(Change {
                    deleted: vec![SeqRange { first: seq, last: seq }],
                    ..Change::default()
                });
            }
            Event::Fork(draw) if watermark > 0 => {
                let last_seq = draw % (watermark + 1);
                let parent = Some(ParentTimeline { timeline, last_seq });
                let fork = Some(Fork { parent, reason: "t".into() });
                let watermark = Some(Watermark { seq: last_seq, last: None });
                self.say(Change { fork, watermark, ..Change::default() });
            }
            Event::Pass(more) => {
                let last = state.watermark().last.clone();
                let watermark = Some(Watermark { seq: watermark + more, last });
                self.say(Change { watermark, ..Change::default() });
            }
            Event::Expire(count) => self.expire(*count),
            Event::Wipe => self.wasabi = empty(JournalOf::Tertiary),
            Event::Ship(most) => {
                self.ship(*most);
            }
            Event::Settle(messages) => self.settle(timeline, *messages),
            Event::Levels(most) => {
                self.level(*most);
            }
            Event::Delete(_) | Event::Fork(_) => {}
        }
    }

    /// Makes segments of a timeline's parts, each of neighbours.
    fn settle(&mut self, timeline: u32, messages: u64) {
        let state = &self.nas.streams[&stream(0)];
        let of_timeline = state.segments.range((timeline, 0)..=(timeline, u64::MAX));
        let mut groups: Vec<Vec<&Segment>> = vec![Vec::new()];
        for (_, segment) in of_timeline {
            if segment.part.is_none() {
                groups.push(Vec::new());
                continue;
            }
            let group = groups.last_mut().unwrap();
            group.push(segment);
            if group.iter().map(|s| s.messages).sum::<u64>() >= messages {
                groups.push(Vec::new());
            }
        }
        groups.retain(|group| !group.is_empty());
        let replace = groups.iter().map(|group| one(timeline, group, u64::MAX)).collect();
        self.say(Change { replace, ..Change::default() });
    }

    /// Merges at Wasabi until nothing is due, or so often; whether nothing is.
    fn level(&mut self, most: usize) -> bool {
        for _ in 0..most {
            let nas = &self.nas.streams[&stream(0)];
            let Some(there) = self.wasabi.streams.get(&stream(0)) else { return true };
            let Some(segments) = plan::at_wasabi(there, nas, SEAL, |_| false) else { return true };
            let replacement = one(segments[0].timeline, &segments.iter().collect::<Vec<_>>(), SEAL);
            let change = Change { replace: vec![replacement], ..Change::default() };
            // The fold refuses what is no whole run of unsealed ones, and other messages.
            apply(&mut self.wasabi, BTreeMap::from([(stream(0), change)]));
        }
        false
    }

    /// Takes steps until there is none, or so many; whether there is none.
    fn ship(&mut self, most: usize) -> bool {
        for _ in 0..most {
            let nas = &self.nas.streams[&stream(0)];
            let Some(step) = step::next(nas, self.wasabi.streams.get(&stream(0))) else {
                return true;
            };
            let Step { mut change, timeline, segments, after } = step;
            let behind = segments.iter().map(|segment| {
                let first = segment.first_seq.max(after.seq + 1);
                let cut = first - segment.first_seq;
                // A merged part may have gaps; then fewer messages are behind the cut.
                let room = segment.last_seq - first + 1;
                part(
                    timeline,
                    first,
                    segment.last_seq,
                    segment.messages.saturating_sub(cut).clamp(1, room),
                )
            });
            change.add = behind.collect();
            apply(&mut self.wasabi, BTreeMap::from([(stream(0), change)]));
        }
        false
    }
}

/// Puts a segment of its own in the place of neighbours, sealed from some size on.
fn one(timeline: u32, group: &[&Segment], seal: u64) -> Replacement {
    let (first_seq, last_seq) = (group[0].first_seq, group[group.len() - 1].last_seq);
    let messages: u64 = group.iter().map(|segment| segment.messages).sum();
    let bytes: u64 = group.iter().map(|segment| segment.bytes).sum();
    let sizes: u64 = group.iter().map(|segment| segment.size).sum();
    let sha256 = Sha256::of(&[first_seq.to_le_bytes(), last_seq.to_le_bytes()].concat());
    let key = ArchiveKey::segment(&stream(0), timeline, first_seq, last_seq, &sha256);
    let own = record(Some(key.to_string()), first_seq, last_seq, messages, bytes);
    let sealed = plan::is_final(bytes.max(sizes), seal);
    let by = vec![SegmentRecord { timeline, size: bytes, sha256, sealed, ..own }];
    Replacement { timeline, first_seq, last_seq, by }
}

fn part(timeline: u32, first: u64, last: u64, messages: u64) -> SegmentRecord {
    SegmentRecord { timeline, ..record(None, first, last, messages, messages * 10) }
}

proptest! {
    #![proptest_config(cim_testing::cases(256))]

    #[test]
    fn merging_at_wasabi_ends_and_loses_nothing(events in events()) {
        let mut model = Model::new();
        for event in &events {
            model.happen(event);
        }
        for number in model.nas.streams[&stream(0)].timelines.clone().into_keys() {
            model.settle(number, 20);
        }
        prop_assert!(model.ship(500), "shipping does not come to an end");
        let before = model.wasabi.streams[&stream(0)].clone();
        prop_assert!(model.level(500), "merging does not come to an end");
        let after = &model.wasabi.streams[&stream(0)];
        prop_assert_eq!(&before.timelines, &after.timelines);
        // Each segment has what some whole ones, side by side, had before.
        let mut old = before.segments.values();
        for segment in after.segments.values() {
            let (mut messages, mut last) = (0, None);
            for was in old.by_ref() {
                prop_assert_eq!(was.timeline, segment.timeline);
                if last.is_none() {
                    prop_assert_eq!(was.first_seq, segment.first_seq);
                }
                messages += was.messages;
                last = Some(was.last_seq);
                if was.last_seq == segment.last_seq {
                    break;
                }
            }
            prop_assert_eq!((messages, last), (segment.messages, Some(segment.last_seq)));
        }
        prop_assert!(old.next().is_none());
        // What is left is little: of each timeline what may grow, and what is final.
        let parts = after.segments.values().filter(|s| s.part.is_some());
        let bytes: u64 = parts.clone().map(|s| s.bytes).sum();
        prop_assert!(bytes < 2 * SEAL || parts.count() < 2, "{bytes} bytes are left in parts");
    }

    #[test]
    fn wasabi_says_in_the_end_what_the_nas_says(events in events()) {
        let mut model = Model::new();
        for event in &events {
            model.happen(event);
        }
        prop_assert!(model.ship(500), "shipping does not come to an end");
        let (nas, there) = (&model.nas.streams[&stream(0)], &model.wasabi.streams[&stream(0)]);
        prop_assert_eq!(nas.timeline(), there.timeline());
        prop_assert_eq!(nas.watermark().seq, there.watermark().seq);
        prop_assert_eq!(&nas.current().state, &there.current().state);
        prop_assert_eq!(&nas.deletes_known, &there.deletes_known);
        for number in nas.timelines.keys() {
            prop_assert_eq!(nas.lineage(*number), there.lineage(*number));
            prop_assert_eq!(nas.removed(*number), there.removed(*number));
        }
    }

    #[test]
    fn wasabi_gets_all_that_the_nas_keeps_and_knows_what_it_does_not(events in with_rules()) {
        let mut model = Model::new();
        for event in &events {
            model.happen(event);
        }
        prop_assert!(model.ship(500), "shipping does not come to an end");
        let (nas, there) = (&model.nas.streams[&stream(0)], &model.wasabi.streams[&stream(0)]);
        prop_assert_eq!(nas.watermark().seq, there.watermark().seq);
        for segment in nas.segments.values() {
            let timeline = (segment.timeline, 0)..=(segment.timeline, segment.last_seq);
            let last = there.segments.range(timeline).next_back();
            let has = last.is_some_and(|(_, last)| last.last_seq >= segment.last_seq);
            prop_assert!(has, "Wasabi lacks sequence {}", segment.last_seq);
        }
        // What it never got it says, in one way or the other.
        for run in &nas.retention.expired {
            let missed = there.timelines[&run.timeline].missed.contains(run.last_seq);
            let timeline = (run.timeline, 0)..=(run.timeline, run.last_seq);
            let has = there.segments.range(timeline).next_back();
            let has = has.is_some_and(|(_, last)| last.last_seq >= run.last_seq);
            let told = there.retention.expired.iter().any(|other| {
                other.timeline == run.timeline && other.last_seq >= run.last_seq
            });
            prop_assert!(missed || has || told, "nothing tells of {:?}", run);
        }
    }
}
