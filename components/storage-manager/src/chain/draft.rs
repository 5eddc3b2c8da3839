//! What a commit is to say, before it has a number.

use cim_core::archive::{
    ArchiveState, Checkpoint, ConsumerRecord, Entry, FORMAT, Fork, Segment, SeqRange, SeqRanges,
    Sha256, StreamRecord, StreamState, TimelineRecord, Watermark,
};
use jiff::Timestamp;

/// The content of an entry.
#[derive(Debug, Clone)]
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
    /// How far the tier goes.
    pub watermark: Watermark,
    /// The stream's counts.
    pub state: StreamState,
    /// The stream.
    pub stream: StreamRecord,
    /// Its durable consumers.
    pub consumers: Vec<ConsumerRecord>,
}

impl Draft {
    /// An entry that changes nothing yet.
    pub fn of(state: &ArchiveState) -> Self {
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

    /// The first entry of a chain that begins with this stream.
    pub fn begin(stream: StreamRecord, state: StreamState, consumers: Vec<ConsumerRecord>) -> Self {
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

    /// Whether committing it would say anything that `state` does not.
    pub fn says_something(&self, state: &ArchiveState) -> bool {
        let current = state.current();
        self.fork.is_some()
            || !self.add.is_empty()
            || !self.remove.is_empty()
            || !self.collected.is_empty()
            || !self.deleted.is_empty()
            || !self.missed.is_empty()
            || self.lost != current.lost
            || self.watermark != current.watermark
            || self.state != current.state
            || self.stream != state.stream
            || self.consumers != state.consumers
    }

    /// The entry after `previous`, the state that it leads to, and the object to write.
    pub(super) fn entry(
        self,
        previous: Option<ArchiveState>,
        writer: &str,
    ) -> (Entry, ArchiveState, Vec<u8>) {
        let (stream, consumers) = (self.stream, self.consumers);
        let due = previous.as_ref().is_none_or(ArchiveState::checkpoint_due);
        let new_stream = due || previous.as_ref().is_none_or(|p| p.stream != stream);
        let new_consumers = due || previous.as_ref().is_none_or(|p| p.consumers != consumers);
        let unknown = SeqRanges::default();
        let timeline = previous.as_ref().and_then(|p| p.timelines.get(&self.timeline));
        let new_lost = self.lost != *timeline.map_or(&unknown, |t| &t.lost);
        let mut entry = Entry {
            format: FORMAT,
            number: previous.as_ref().map_or(0, |p| p.number + 1),
            previous: previous.as_ref().map(|p| p.hash),
            committed_at: Timestamp::now(),
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
            state
                .apply(&entry, unknown)
                .expect("a draft follows from the state that it was made of");
            entry.checkpoint = due.then(|| state.checkpoint());
            state
        } else {
            entry.checkpoint = Some(first_checkpoint(&entry));
            ArchiveState::open(&entry, unknown).expect("it was just made a checkpoint")
        };
        let (object, hash) = entry.to_object();
        state.hash = hash;
        (entry, state, object)
    }
}

fn first_checkpoint(entry: &Entry) -> Checkpoint {
    let timeline = TimelineRecord {
        number: entry.timeline,
        fork: entry.fork.clone().expect("a chain begins with a timeline"),
        deleted: entry.deleted.clone(),
        missed: entry.missed.clone(),
        lost: entry.lost.clone().unwrap_or_default(),
        watermark: entry.watermark.clone(),
        state: entry.state.clone(),
        left: None,
    };
    Checkpoint { timelines: vec![timeline], segments: entry.add.clone(), superseded: Vec::new() }
}

/// Entry 0 of a chain that takes over what another one says.
pub(super) fn adopted(other: &ArchiveState, writer: &str) -> (ArchiveState, Vec<u8>) {
    let current = other.current();
    let entry = Entry {
        format: FORMAT,
        number: 0,
        previous: None,
        committed_at: Timestamp::now(),
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
    let state = ArchiveState::open(&entry, hash).expect("it was just made a checkpoint");
    (state, object)
}
