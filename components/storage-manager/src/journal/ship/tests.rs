//! Shipping comes to an end, and then Wasabi says what the NAS says, whatever happened in between.

use std::collections::BTreeMap;

use cim_core::archive::journal::{Change, JournalState, Replacement, SegmentRecord};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{Fork, ParentTimeline, SeqRange, StreamState, Watermark};
use proptest::prelude::*;

use super::step::{self, Step};
use crate::journal::testing::{apply, begin, empty, record, stream};

/// What happens to a stream on the NAS.
#[derive(Debug, Clone)]
enum Event {
    /// Messages come; some before them were gone.
    Add(u64, u64),
    /// What is there is merged.
    Merge,
    /// Archived messages are deleted.
    Delete(u64),
    /// It goes on from an earlier point.
    Fork(u64),
    /// The watermark passes what is not there.
    Pass(u64),
    /// Wasabi gets what is new; of this many steps at most.
    Ship(usize),
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        5 => (1u64..20, 0u64..4).prop_map(|(messages, gap)| Event::Add(messages, gap)),
        2 => Just(Event::Merge),
        2 => any::<u64>().prop_map(Event::Delete),
        1 => any::<u64>().prop_map(Event::Fork),
        1 => (1u64..5).prop_map(Event::Pass),
        3 => (1usize..4).prop_map(Event::Ship),
    ];
    prop::collection::vec(event, 1..60)
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

    fn happen(&mut self, event: &Event) {
        let state = &self.nas.streams[&stream(0)];
        let (timeline, watermark) = (state.timeline(), state.watermark().seq);
        match event {
            Event::Add(messages, gap) => {
                let first = watermark + 1 + gap;
                let add = vec![part(timeline, first, first + messages - 1, *messages)];
                let state =
                    Some(StreamState { last_seq: first + messages, ..StreamState::default() });
                self.say(Change { add, state, ..Change::default() });
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
                self.say(Change { deleted: vec![SeqRange(seq, seq)], ..Change::default() });
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
            Event::Ship(most) => {
                self.ship(*most);
            }
            Event::Delete(_) | Event::Fork(_) => {}
        }
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

fn part(timeline: u32, first: u64, last: u64, messages: u64) -> SegmentRecord {
    SegmentRecord { timeline, ..record(None, first, last, messages, messages * 10) }
}

proptest! {
    #![proptest_config(crate::harm::cases(256))]

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
        for number in nas.timelines.keys() {
            prop_assert_eq!(nas.lineage(*number), there.lineage(*number));
            prop_assert_eq!(nas.gone(*number), there.gone(*number));
        }
    }
}
