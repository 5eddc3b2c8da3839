//! Shipping a chain comes to an end, and then Wasabi has what the NAS has sealed, whatever happened in between.

use std::collections::BTreeSet;

use cim_core::archive::{Fork, ParentTimeline, SeqRange, StreamState};
use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::chain::testing::segment;

/// An event of the archive on the NAS, or between it and Wasabi.
#[derive(Debug, Clone)]
enum Event {
    /// Messages arrive behind a gap, in a segment of their own.
    Add { gap: u64, messages: u64, sealed: bool },
    /// The unsealed segments of a timeline that follow each other become one sealed segment.
    Seal,
    /// Sequences are deleted, missed, or lost by the server.
    Gone(u8, u64, u64),
    /// The live stream goes on from an earlier sequence, or as another stream.
    Fork(Option<u64>),
    /// Wasabi gets all that it can.
    Ship,
    /// Wasabi gets one entry.
    ShipOne,
    /// The NAS forgets what it sealed last, and seals it to another end.
    SealAnew,
}

fn events() -> impl Strategy<Value = Vec<Event>> {
    let event = prop_oneof![
        6 => (0u64..3, 1u64..6, prop::bool::weighted(0.3))
            .prop_map(|(gap, messages, sealed)| Event::Add { gap, messages, sealed }),
        3 => Just(Event::Seal),
        2 => (0u8..3, 1u64..40, 0u64..6)
            .prop_map(|(kind, first, more)| Event::Gone(kind, first, more)),
        1 => prop::option::of(0u64..40).prop_map(Event::Fork),
        1 => Just(Event::Ship),
        2 => Just(Event::ShipOne),
        1 => Just(Event::SealAnew),
    ];
    prop::collection::vec(event, 0..30)
}

/// Returns the sequences of a timeline that are in its own segments.
fn sequences(state: &ArchiveState, timeline: u32) -> BTreeSet<u64> {
    let segments = state.segments.range((timeline, 0)..=(timeline, u64::MAX));
    segments.flat_map(|(_, segment)| segment.first_seq..=segment.last_seq).collect()
}

struct Model {
    archived: ArchiveState,
    shipped: Option<ArchiveState>,
    /// The archive before the last time that something was sealed.
    before_seal: Option<ArchiveState>,
}

impl Model {
    fn new() -> Self {
        let stream = json!({ "created": "2026-01-01T00:00:00Z", "config": {} });
        let stream = serde_json::from_str(&stream.to_string()).unwrap();
        let draft = Draft::first(stream, StreamState::default(), Vec::new());
        let (_, archived, _) = draft.into_entry(None, "t").unwrap();
        Self { archived, shipped: None, before_seal: None }
    }

    /// Commits to the NAS's chain.
    fn commit(&mut self, draft: Draft) {
        let entry = draft.into_entry(Some(self.archived.clone()), "t");
        let (_, state, _) = entry.expect("an event follows from the archive");
        self.archived = state;
    }

    fn happen(&mut self, event: &Event) {
        let mut draft = Draft::from_state(&self.archived);
        let watermark = draft.watermark.seq;
        match *event {
            Event::Add { gap, messages, sealed } => {
                // A NAS that forgets the seal has these messages still.
                self.before_seal = None;
                let first = watermark + 1 + gap;
                let added = segment(draft.timeline, first, first + messages - 1, sealed);
                draft.watermark = Watermark { seq: added.last_seq, last: Some(added.last.clone()) };
                draft.add = vec![added];
            }
            Event::Seal => {
                self.before_seal = Some(self.archived.clone());
                self.seal();
                return;
            }
            Event::Gone(kind, first, more) => {
                let range = SeqRange { first, last: first + more };
                match kind {
                    0 => draft.deleted.push(range),
                    1 => draft.missed.push(range),
                    _ => draft.lost.insert(range),
                }
            }
            Event::Fork(from) => {
                let timeline = draft.timeline;
                let parent = from
                    .filter(|seq| *seq <= watermark)
                    .map(|last_seq| ParentTimeline { timeline, last_seq });
                let seq = parent.as_ref().map_or(0, |parent| parent.last_seq);
                draft.timeline += 1;
                draft.watermark = Watermark { seq, last: None };
                draft.lost = draft.lost.intersect(1, seq);
                draft.fork = Some(Fork { parent, reason: "drawn".into() });
                self.before_seal = None;
            }
            Event::Ship => return self.ship(usize::MAX),
            Event::ShipOne => return self.ship(1),
            Event::SealAnew => {
                let Some(before) = self.before_seal.take() else { return };
                self.archived = before;
                self.happen(&Event::Add { gap: 0, messages: 2, sealed: false });
                self.seal();
                return;
            }
        }
        self.commit(draft);
    }

    /// Seals the first run of unsealed neighbours in each timeline; false when there is none.
    fn seal(&mut self) -> bool {
        let timelines: Vec<u32> = self.archived.timelines.keys().copied().collect();
        let mut sealed = false;
        for timeline in timelines {
            let of_timeline = self.archived.segments.range((timeline, 0)..=(timeline, u64::MAX));
            let of_timeline = of_timeline.map(|(_, segment)| segment);
            let mut run: Vec<Segment> = Vec::new();
            for next in of_timeline.skip_while(|segment| segment.sealed) {
                let follows = run.last().is_none_or(|last| last.last_seq + 1 == next.first_seq);
                if next.sealed || !follows {
                    break;
                }
                run.push(next.clone());
            }
            let (Some(first), Some(last)) = (run.first(), run.last()) else { continue };
            let mut draft = Draft::from_state(&self.archived);
            draft.add = vec![segment(timeline, first.first_seq, last.last_seq, true)];
            draft.remove = run.iter().map(|segment| segment.key.clone()).collect();
            self.commit(draft);
            sealed = true;
        }
        sealed
    }

    /// Ships up to so many entries; each must follow, and say something that the one before did not.
    fn ship(&mut self, most: usize) {
        let mut said = None;
        for _ in 0..most.min(1000) {
            let step = match partially_shipped(&self.archived, self.shipped.as_ref()) {
                Some((shipped, spanning)) => {
                    let first = shipped.watermark().seq + 1;
                    let remainder = segment(spanning.timeline, first, spanning.last_seq, true);
                    Some(remainder_step(&self.archived, shipped, remainder))
                }
                None => next_step(&self.archived, self.shipped.as_ref()),
            };
            let Some(step) = step else { return };
            assert_ne!(said.as_ref(), Some(&step), "the same step twice");
            said = Some(step.clone());
            let entry = step.into_entry(self.shipped.take(), "t");
            let (_, state, _) = entry.expect("a step follows from what Wasabi has");
            self.shipped = Some(state);
        }
        assert!(most < 1000, "shipping does not come to an end");
    }
}

proptest! {
    #![proptest_config(cim_testing::cases(256))]

    #[test]
    fn wasabi_gets_all_that_is_sealed_and_shipping_ends(events in events()) {
        let mut model = Model::new();
        for event in &events {
            model.happen(event);
        }
        while model.seal() {}
        model.ship(usize::MAX);
        let (archived, shipped) = (&model.archived, model.shipped.as_ref().expect("it begins"));
        prop_assert_eq!(shipped.timeline(), archived.timeline());
        for (number, timeline) in &archived.timelines {
            let there = &shipped.timelines[number];
            prop_assert_eq!(sequences(shipped, *number), sequences(archived, *number));
            prop_assert_eq!(there.watermark.seq, timeline.watermark.seq);
        }
        let until = archived.watermark().seq;
        let lost = archived.current().lost.intersect(1, until);
        prop_assert_eq!(shipped.current().lost.intersect(1, until), lost);
    }

    /// Unsealed segments stay away from Wasabi, and so does all behind it.
    #[test]
    fn wasabi_has_sealed_segments_alone_and_none_behind_an_unsealed_one(events in events()) {
        let mut model = Model::new();
        for event in events.iter().filter(|event| !matches!(event, Event::SealAnew)) {
            model.happen(event);
        }
        model.ship(usize::MAX);
        let shipped = model.shipped.as_ref().expect("it begins");
        prop_assert!(shipped.segments.values().all(|segment| segment.sealed));
        for (number, timeline) in &shipped.timelines {
            let of_timeline = model.archived.segments.range((*number, 0)..=(*number, u64::MAX));
            let unsealed = of_timeline.map(|(_, segment)| segment).find(|segment| !segment.sealed);
            if let Some(unsealed) = unsealed {
                prop_assert!(timeline.watermark.seq < unsealed.first_seq);
            }
        }
    }
}
