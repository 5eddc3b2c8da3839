//! What a commit is to say, before it has a number.

use crate::clock;
use cim_core::archive::{
    ArchiveState, ChainError, Checkpoint, ConsumerRecord, Entry, FORMAT, Fork, Segment, SeqRange,
    SeqRanges, Sha256, StreamRecord, StreamState, TimelineRecord, Watermark,
};

/// The content of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The timeline that it extends, or opens when `fork` is there.
    pub timeline: u32,
    /// Why and where the timeline begins.
    pub fork: Option<Fork>,
    /// New segments.
    pub add: Vec<Segment>,
    /// Keys of replaced ones.
    pub remove: Vec<String>,
    /// Keys of replaced ones whose objects were deleted.
    pub collected: Vec<String>,
    /// Newly deleted sequences.
    pub deleted: Vec<SeqRange>,
    /// Sequences that were gone before they could be archived.
    pub missed: Vec<SeqRange>,
    /// Archived sequences that the live stream has lost by damage, all of them.
    pub lost: SeqRanges,
    /// The watermark of the tier.
    pub watermark: Watermark,
    /// The stream's counts.
    pub state: StreamState,
    /// The stream.
    pub stream: StreamRecord,
    /// Its durable consumers.
    pub consumers: Vec<ConsumerRecord>,
}

impl Draft {
    /// Creates a draft that changes nothing yet.
    pub fn from_state(state: &ArchiveState) -> Self {
        let current = state.current();
        Self {
            timeline: state.timeline(),
            fork: None,
            add: Vec::new(),
            remove: Vec::new(),
            collected: Vec::new(),
            deleted: Vec::new(),
            missed: Vec::new(),
            lost: current.lost.clone(),
            watermark: current.watermark.clone(),
            state: current.state.clone(),
            stream: state.stream.clone(),
            consumers: state.consumers.clone(),
        }
    }

    /// Creates the first entry of a chain that begins with this stream.
    pub fn first(stream: StreamRecord, state: StreamState, consumers: Vec<ConsumerRecord>) -> Self {
        Self {
            timeline: 1,
            fork: Some(Fork { parent: None, reason: "created".into() }),
            add: Vec::new(),
            remove: Vec::new(),
            collected: Vec::new(),
            deleted: Vec::new(),
            missed: Vec::new(),
            lost: SeqRanges::default(),
            watermark: Watermark { seq: 0, last: None },
            state,
            stream,
            consumers,
        }
    }

    /// Returns true if committing it would say anything that `state` does not.
    pub fn has_changes(&self, state: &ArchiveState) -> bool {
        let current = state.current();
        self.fork.is_some()
            || !self.add.is_empty()
            || !self.remove.is_empty()
            || !self.collected.is_empty()
            || goes_beyond(&self.deleted, &current.deleted)
            || goes_beyond(&self.missed, &current.missed)
            || self.lost != current.lost
            || self.watermark != current.watermark
            || self.state != current.state
            || self.stream != state.stream
            || self.consumers != state.consumers
    }

    /// Returns the entry after `previous`, the state that it leads to, and the object to write. A draft that
    /// does not follow from `previous` is refused, as its reader would refuse it.
    pub(crate) fn into_entry(
        self,
        previous: Option<ArchiveState>,
        writer: &str,
    ) -> Result<(Entry, ArchiveState, Vec<u8>), ChainError> {
        let (stream, consumers) = (self.stream, self.consumers);
        let due = previous.as_ref().is_none_or(ArchiveState::checkpoint_due);
        let new_stream = due || previous.as_ref().is_none_or(|p| p.stream != stream);
        let new_consumers = due || previous.as_ref().is_none_or(|p| p.consumers != consumers);
        let unknown = SeqRanges::default();
        let timeline = previous.as_ref().and_then(|p| p.timelines.get(&self.timeline));
        let new_lost = self.lost != *timeline.map_or(&unknown, |t| &t.lost);
        let mut entry = Entry {
            format: FORMAT,
            // Folding it in finds the number that has no successor.
            number: previous.as_ref().map_or(0, |p| p.number.saturating_add(1)),
            previous: previous.as_ref().map(|p| p.hash),
            committed_at: clock::now(),
            writer: writer.into(),
            timeline: self.timeline,
            fork: self.fork,
            add: self.add,
            remove: self.remove,
            collected: self.collected,
            deleted: self.deleted,
            missed: self.missed,
            lost: new_lost.then(|| self.lost.iter().collect()),
            watermark: self.watermark,
            state: self.state,
            stream: new_stream.then_some(stream),
            consumers: new_consumers.then_some(consumers),
            checkpoint: None,
        };
        // The hash is known only when the entry is whole, and the checkpoint is part of it.
        let unknown = Sha256::of(b"");
        let mut state = if let Some(mut state) = previous {
            state.apply(&entry, unknown)?;
            entry.checkpoint = due.then(|| state.checkpoint());
            state
        } else {
            entry.checkpoint = Some(first_checkpoint(&entry)?);
            ArchiveState::open(&entry, unknown)?
        };
        let (object, hash) = entry.to_object();
        state.hash = hash;
        Ok((entry, state, object))
    }
}

/// Returns whether a draft has sequences that are not known.
fn goes_beyond(said: &[SeqRange], known: &SeqRanges) -> bool {
    !said.is_empty() && !said.iter().copied().collect::<SeqRanges>().difference(known).is_empty()
}

fn first_checkpoint(entry: &Entry) -> Result<Checkpoint, ChainError> {
    let refused =
        |what: &str| ChainError::Inconsistent { number: entry.number, what: what.to_owned() };
    let fork = entry.fork.clone().ok_or_else(|| refused("a chain begins with a timeline"))?;
    if !entry.remove.is_empty() || !entry.collected.is_empty() {
        return Err(refused("it removes segments, and there is none before it"));
    }
    let timeline = TimelineRecord {
        number: entry.timeline,
        fork,
        deleted: entry.deleted.clone(),
        missed: entry.missed.clone(),
        lost: entry.lost.clone().unwrap_or_default(),
        watermark: entry.watermark.clone(),
        state: entry.state.clone(),
        left: None,
    };
    let segments = entry.add.clone();
    Ok(Checkpoint { timelines: vec![timeline], segments, superseded: Vec::new() })
}

/// Returns entry 0 of a chain that takes over what another one says.
pub(super) fn bootstrap_entry(
    other: &ArchiveState,
    writer: &str,
) -> Result<(ArchiveState, Vec<u8>), ChainError> {
    let current = other.current();
    let entry = Entry {
        format: FORMAT,
        number: 0,
        previous: None,
        committed_at: clock::now(),
        writer: writer.into(),
        timeline: other.timeline(),
        fork: None,
        add: Vec::new(),
        remove: Vec::new(),
        collected: Vec::new(),
        deleted: Vec::new(),
        missed: Vec::new(),
        lost: None,
        watermark: current.watermark.clone(),
        state: current.state.clone(),
        stream: Some(other.stream.clone()),
        consumers: Some(other.consumers.clone()),
        checkpoint: Some(other.checkpoint()),
    };
    let (object, hash) = entry.to_object();
    Ok((ArchiveState::open(&entry, hash)?, object))
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use cim_core::archive::ParentTimeline;
    use proptest::prelude::*;
    use serde_json::json;

    use super::super::testing::segment;
    use super::*;

    /// Small, so that drafts meet the archive; and now and then the end of all numbers.
    fn seqs() -> impl Strategy<Value = u64> {
        prop_oneof![20 => 0u64..30, 1 => Just(u64::MAX)]
    }

    fn ranges() -> impl Strategy<Value = Vec<SeqRange>> {
        prop::collection::vec(
            (seqs(), seqs()).prop_map(|(from, to)| SeqRange { first: from, last: to }),
            0..3,
        )
    }

    fn several<T: Clone + std::fmt::Debug>(
        of: impl Strategy<Value = T>,
        size: Range<usize>,
    ) -> impl Strategy<Value = Vec<T>> {
        prop_oneof![Just(Vec::new()), prop::collection::vec(of, size)]
    }

    fn drawn((timeline, first_seq, last_seq, sealed): (u32, u64, u64, bool)) -> Segment {
        let messages = last_seq.saturating_sub(first_seq);
        Segment { messages, bytes: 1, size: 1, ..segment(timeline, first_seq, last_seq, sealed) }
    }

    fn segments() -> impl Strategy<Value = Segment> {
        (1u32..4, seqs(), seqs(), any::<bool>()).prop_map(drawn)
    }

    fn forks() -> impl Strategy<Value = Option<Fork>> {
        let parent = prop::option::of((0u32..4, seqs()));
        prop::option::weighted(0.2, parent).prop_map(|fork| {
            let parent = |(timeline, last_seq)| ParentTimeline { timeline, last_seq };
            fork.map(|found| Fork { parent: found.map(parent), reason: "drawn".into() })
        })
    }

    /// A change of the archive, sensible or not.
    #[derive(Debug, Clone)]
    struct Change {
        on: u32,
        fork: Option<Fork>,
        add: Vec<Segment>,
        /// The segments to remove: existing ones, or some that never were.
        remove: Vec<(usize, Option<Segment>)>,
        deleted: Vec<SeqRange>,
        missed: Vec<SeqRange>,
        lost: Vec<SeqRange>,
        watermark: Option<u64>,
        /// Close to the end of all numbers, or to a checkpoint.
        number: Option<u64>,
    }

    fn changes() -> impl Strategy<Value = Change> {
        let remove = several((0usize..8, prop::option::weighted(0.1, segments())), 1..4);
        let number = prop_oneof![
            8 => Just(None),
            1 => prop::sample::select(vec![254, u64::MAX - 1, u64::MAX]).prop_map(Some),
        ];
        (
            (0u32..3, forks(), several(segments(), 1..3), remove),
            (ranges(), ranges(), ranges()),
            (prop::option::of(seqs()), number),
        )
            .prop_map(|((on, fork, add, remove), gaps, (watermark, number))| {
                let (deleted, missed, lost) = gaps;
                Change { on, fork, add, remove, deleted, missed, lost, watermark, number }
            })
    }

    fn drafted(state: &ArchiveState, change: &Change) -> Draft {
        let mut draft = Draft::from_state(state);
        // Mostly the current timeline, or the next one where there is a fork.
        draft.timeline = (state.timeline() + u32::from(change.fork.is_some()) + change.on / 2)
            .saturating_sub(change.on % 2);
        draft.fork.clone_from(&change.fork);
        draft.add.clone_from(&change.add);
        for (which, other) in &change.remove {
            let there = state.segments.values().nth(*which);
            draft.remove.extend(other.as_ref().or(there).map(|segment| segment.key.clone()));
        }
        draft.collected = state.superseded.iter().take(1).map(|s| s.key.clone()).collect();
        draft.deleted.clone_from(&change.deleted);
        draft.missed.clone_from(&change.missed);
        draft.lost = change.lost.iter().copied().collect();
        if let Some(seq) = change.watermark {
            draft.watermark.seq = seq;
        }
        draft
    }

    fn beginning() -> Draft {
        let config = json!({ "created": "2026-01-01T00:00:00Z", "config": {} });
        let stream = serde_json::from_str(&config.to_string()).unwrap();
        Draft::first(stream, StreamState::default(), Vec::new())
    }

    proptest! {
        #![proptest_config(cim_testing::cases(256))]

        /// A draft that contradicts the archive is refused; one that is not leads to the state that a
        /// reader of its object comes to.
        #[test]
        fn no_order_of_drafts_panics(drawn in prop::collection::vec(changes(), 1..12)) {
            let (_, mut state, _) = beginning().into_entry(None, "t").unwrap();
            for change in &drawn {
                if let Some(number) = change.number {
                    state.number = number;
                }
                let draft = drafted(&state, change);
                let Ok((entry, next, object)) = draft.into_entry(Some(state.clone()), "t") else { continue };
                let (read, hash) = Entry::from_object(&object).unwrap();
                prop_assert_eq!(&read, &entry);
                state.apply(&read, hash).unwrap();
                prop_assert_eq!(&state, &next);
                if entry.checkpoint.is_some() {
                    prop_assert_eq!(&ArchiveState::open(&entry, hash).unwrap(), &next);
                }
                bootstrap_entry(&state, "t").unwrap();
            }
        }

        #[test]
        fn no_first_draft_panics(change in changes()) {
            let (_, begun, _) = beginning().into_entry(None, "t").unwrap();
            if let Ok((entry, state, object)) = drafted(&begun, &change).into_entry(None, "t") {
                let (read, hash) = Entry::from_object(&object).unwrap();
                prop_assert_eq!(&read, &entry);
                prop_assert_eq!(&ArchiveState::open(&read, hash).unwrap(), &state);
            }
        }
    }

    #[test]
    fn what_is_known_to_be_gone_is_no_news() {
        let mut first = beginning();
        (first.missed, first.deleted) =
            (vec![SeqRange { first: 3, last: 9 }], vec![SeqRange { first: 1, last: 2 }]);
        let (_, state, _) = first.into_entry(None, "t").unwrap();
        let mut draft = Draft::from_state(&state);
        (draft.missed, draft.deleted) =
            (vec![SeqRange { first: 4, last: 6 }], vec![SeqRange { first: 1, last: 1 }]);
        assert!(!draft.has_changes(&state));
        draft.missed.push(SeqRange { first: 10, last: 10 });
        assert!(draft.has_changes(&state));
    }
}
