//! The fold of a chain of entries: a stream's archive.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::archive::journal::{DeletesKnown, Erasure, Retention, Served};
use crate::archive::key::GROUP;
use crate::archive::{
    ArchiveKey, Checkpoint, ConsumerRecord, Deliveries, Entry, Fork, ParentTimeline, Segment,
    SeqRange, SeqRanges, Sha256, StreamRecord, StreamState, Superseded, TimelineEnd,
    TimelineRecord, Watermark,
};
use crate::names::ConsumerName;

/// A stream's archive after some entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchiveState {
    /// The last entry's number.
    pub number: u64,
    /// The last entry's hash. A journal's stream has no entries of its own; its hash is that of no bytes.
    pub hash: Sha256,
    /// The time of the last entry's commit.
    pub committed_at: Timestamp,
    /// Every timeline; the last is the current one.
    pub timelines: BTreeMap<u32, Timeline>,
    /// Every segment, by timeline and first sequence.
    pub segments: BTreeMap<(u32, u64), Segment>,
    /// The stream as last seen.
    pub stream: StreamRecord,
    /// Its durable consumers as last seen.
    pub consumers: Vec<ConsumerRecord>,
    /// The server it came from, if a journal says so; chains do not.
    pub served: Option<Served>,
    /// The age of the current timeline's view of deletes, if a journal says so; chains do not.
    pub deletes_known: Option<DeletesKnown>,
    /// The knowledge that the current timeline's consumers have of single messages, from a journal; chains have none.
    pub deliveries: BTreeMap<ConsumerName, Deliveries>,
    /// Notes of what was erased of it for good, as a journal says; chains do not.
    pub erased: Vec<Erasure>,
    /// Messages that have left it by a rule, and the facts that rules go by, from a journal; chains have none.
    pub retention: Retention,
    /// Replaced segments whose objects are still there.
    pub superseded: Vec<Superseded>,
}

/// One history of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Timeline {
    /// The timeline's reason and beginning.
    pub fork: Fork,
    /// Sequences deleted after they were archived.
    pub deleted: SeqRanges,
    /// Sequences dropped before they were archived.
    pub missed: SeqRanges,
    /// Archived sequences that the live stream has lost by damage.
    pub lost: SeqRanges,
    /// The watermark: how far the timeline goes.
    pub watermark: Watermark,
    /// The stream's counts when it was last extended.
    pub state: StreamState,
    /// The stream's configuration and consumers when another timeline took over. `None` for the current
    /// timeline, and for those that ended while entries had format 2.
    pub left: Option<TimelineEnd>,
}

/// A segment and the part of it that belongs to a timeline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// The segment.
    pub segment: &'a Segment,
    /// First sequence that counts.
    pub first_seq: u64,
    /// Last sequence that counts.
    pub last_seq: u64,
}

/// A chain that contradicts itself. Restore from another tier, or from an earlier entry.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainError {
    /// An entry is not the one after its predecessor.
    #[error("manifest chain is broken: entry {found} stands where {expected} should be")]
    Number {
        /// The number expected.
        expected: u64,
        /// The number found.
        found: u64,
    },
    /// An entry does not continue its predecessor.
    #[error("manifest chain is broken at entry {number}: it does not continue entry {}", number - 1)]
    Previous {
        /// The entry.
        number: u64,
    },
    /// The chain is to be read from an entry that is no checkpoint.
    #[error("manifest entry {0} should be a checkpoint and is not")]
    NoCheckpoint(u64),
    /// An entry contradicts what was committed before.
    #[error("manifest entry {number} contradicts the chain: {what}")]
    Inconsistent {
        /// The entry.
        number: u64,
        /// The contradiction.
        what: String,
    },
}

impl ArchiveState {
    /// Starts from a checkpoint.
    pub fn open(entry: &Entry, hash: Sha256) -> Result<Self, ChainError> {
        let number = entry.number;
        let (Some(checkpoint), Some(stream), Some(consumers)) =
            (&entry.checkpoint, &entry.stream, &entry.consumers)
        else {
            return Err(ChainError::NoCheckpoint(number));
        };
        if checkpoint.timelines.last().map(|t| t.number) != Some(entry.timeline) {
            let what =
                format!("it extends timeline {}, its checkpoint ends in another", entry.timeline);
            return Err(ChainError::Inconsistent { number, what });
        }
        validate(checkpoint).map_err(|what| ChainError::Inconsistent { number, what })?;
        let segments = checkpoint.segments.iter().map(|s| ((s.timeline, s.first_seq), s.clone()));
        Ok(Self {
            number,
            hash,
            committed_at: entry.committed_at,
            timelines: checkpoint.timelines.iter().map(Timeline::from_record).collect(),
            segments: segments.collect(),
            stream: stream.clone(),
            consumers: consumers.clone(),
            served: None,
            deletes_known: None,
            deliveries: BTreeMap::new(),
            erased: Vec::new(),
            retention: Retention::default(),
            superseded: checkpoint.superseded.clone(),
        })
    }

    /// Folds `entry` in. After an error the state is unusable: read the chain again.
    pub fn apply(&mut self, entry: &Entry, hash: Sha256) -> Result<(), ChainError> {
        let number = entry.number;
        let expected = self.number.saturating_add(1);
        // `u64::MAX` has no successor.
        if number != expected || number == self.number {
            return Err(ChainError::Number { expected, found: number });
        }
        if entry.previous != Some(self.hash) {
            return Err(ChainError::Previous { number });
        }
        self.fold(entry).map_err(|what| ChainError::Inconsistent { number, what })?;
        self.number = number;
        self.hash = hash;
        self.committed_at = entry.committed_at;
        if let Some(checkpoint) = &entry.checkpoint
            && *checkpoint != self.checkpoint_of(entry.format)
        {
            let what = "its checkpoint is not what the entries before it add up to".into();
            return Err(ChainError::Inconsistent { number, what });
        }
        Ok(())
    }

    fn fold(&mut self, entry: &Entry) -> Result<(), String> {
        if let Some(fork) = &entry.fork {
            if Some(entry.timeline) != self.timeline().checked_add(1) {
                return Err(format!(
                    "timeline {} cannot follow {}",
                    entry.timeline,
                    self.timeline()
                ));
            }
            if let Some(parent) = &fork.parent
                && !self.timelines.contains_key(&parent.timeline)
            {
                return Err(format!(
                    "it forks from timeline {}, which is not there",
                    parent.timeline
                ));
            }
            self.leave();
            self.timelines.insert(entry.timeline, Timeline::begin(fork.clone()));
        } else if entry.timeline != self.timeline() {
            return Err(format!("it extends timeline {}, not {}", entry.timeline, self.timeline()));
        }
        self.replace(entry)?;
        let timeline = self.timelines.get_mut(&entry.timeline).expect("it was just checked");
        if entry.watermark.seq < timeline.watermark.seq && entry.fork.is_none() {
            return Err(format!(
                "its watermark {} is behind {}",
                entry.watermark.seq, timeline.watermark.seq
            ));
        }
        for range in &entry.deleted {
            timeline.deleted.insert(*range);
        }
        for range in &entry.missed {
            timeline.missed.insert(*range);
        }
        if let Some(lost) = &entry.lost {
            timeline.lost = lost.iter().copied().collect();
        }
        timeline.watermark = entry.watermark.clone();
        timeline.state = entry.state.clone();
        if let Some(stream) = &entry.stream {
            self.stream = stream.clone();
        }
        if let Some(consumers) = &entry.consumers {
            self.consumers.clone_from(consumers);
        }
        self.superseded.retain(|s| !entry.collected.contains(&s.key));
        Ok(())
    }

    /// Notes the stream's configuration and consumers in the current timeline, which is about to end.
    pub(super) fn leave(&mut self) {
        let left = TimelineEnd { stream: self.stream.clone(), consumers: self.consumers.clone() };
        if let Some(mut current) = self.timelines.last_entry() {
            current.get_mut().left = Some(left);
        }
    }

    /// Removes the entry's removed segments and adds its added ones.
    fn replace(&mut self, entry: &Entry) -> Result<(), String> {
        let mut removed_messages: u64 = 0;
        let mut removed: BTreeMap<u32, SeqRanges> = BTreeMap::new();
        for key in &entry.remove {
            let segment = match ArchiveKey::parse(key) {
                Ok(ArchiveKey::Segment { timeline, first_seq, .. }) => {
                    self.segments.remove(&(timeline, first_seq))
                }
                _ => None,
            };
            let segment = segment
                .filter(|s| s.key == *key)
                .ok_or_else(|| format!("it removes `{key}`, which is not there"))?;
            if segment.sealed {
                return Err(format!("it removes `{key}`, which is sealed"));
            }
            removed_messages = removed_messages.saturating_add(segment.messages);
            let of_timeline = removed.entry(segment.timeline).or_default();
            of_timeline.insert(SeqRange { first: segment.first_seq, last: segment.last_seq });
            // A segment that is sealed unchanged keeps its object.
            if !entry.add.iter().any(|added| added.key == segment.key) {
                self.superseded.push(Superseded { key: segment.key, since: entry.committed_at });
            }
        }
        let mut added_messages: u64 = 0;
        let parent = entry.fork.as_ref().and_then(|fork| fork.parent.as_ref());
        let inherited = parent.map_or(0, |parent| parent.last_seq);
        let last = self.timelines[&entry.timeline].watermark.seq.max(inherited);
        for segment in &entry.add {
            if entry.remove.is_empty() {
                if segment.timeline != entry.timeline {
                    return Err(format!("segment `{}` is of another timeline", segment.key));
                }
                if segment.first_seq <= last {
                    return Err(format!("segment `{}` overlaps another one", segment.key));
                }
                if segment.last_seq > entry.watermark.seq {
                    return Err(format!("segment `{}` is beyond the watermark", segment.key));
                }
            } else if !removed.get(&segment.timeline).is_some_and(|removed| {
                removed.contains(segment.first_seq) && removed.contains(segment.last_seq)
            }) {
                return Err(format!("segment `{}` covers more than it replaces", segment.key));
            }
            added_messages = added_messages.saturating_add(segment.messages);
            self.place(segment)?;
        }
        if !entry.remove.is_empty() && added_messages != removed_messages {
            return Err(format!("it replaces {removed_messages} messages by {added_messages}"));
        }
        Ok(())
    }

    /// Adds a segment, and refuses one that overlaps another: a restore would return their messages twice.
    fn place(&mut self, segment: &Segment) -> Result<(), String> {
        let (timeline, first, last) = (segment.timeline, segment.first_seq, segment.last_seq);
        if first > last {
            return Err(format!("segment `{}` ends before it begins", segment.key));
        }
        let before = self.segments.range((timeline, 0)..=(timeline, last)).next_back();
        if before.is_some_and(|(_, other)| other.last_seq >= first) {
            return Err(format!("segment `{}` overlaps another one", segment.key));
        }
        self.segments.insert((timeline, first), segment.clone());
        Ok(())
    }

    /// Returns the current timeline's number.
    pub fn timeline(&self) -> u32 {
        *self.timelines.last_key_value().expect("a checkpoint has at least one timeline").0
    }

    /// Returns the current timeline.
    pub fn current(&self) -> &Timeline {
        self.timelines.last_key_value().expect("a checkpoint has at least one timeline").1
    }

    /// Returns the current timeline's watermark.
    pub fn watermark(&self) -> &Watermark {
        &self.current().watermark
    }

    /// Reports whether the next entry has to be a checkpoint.
    pub fn checkpoint_due(&self) -> bool {
        self.number.wrapping_add(1).is_multiple_of(GROUP)
    }

    /// Returns the state as a checkpoint.
    pub fn checkpoint(&self) -> Checkpoint {
        Checkpoint {
            timelines: self.timelines.iter().map(|(number, t)| t.to_record(*number)).collect(),
            segments: self.segments.values().cloned().collect(),
            superseded: self.superseded.clone(),
        }
    }

    /// Returns the state as a checkpoint of this format: before 3 none had the stream that a timeline left.
    fn checkpoint_of(&self, format: u32) -> Checkpoint {
        let mut checkpoint = self.checkpoint();
        if format < 3 {
            checkpoint.timelines.iter_mut().for_each(|timeline| timeline.left = None);
        }
        checkpoint
    }

    /// Returns the stream as it was in `timeline`, and its durable consumers then.
    pub fn stream_of(&self, timeline: u32) -> (&StreamRecord, &[ConsumerRecord]) {
        match self.timelines.get(&timeline).and_then(|found| found.left.as_ref()) {
            Some(left) => (&left.stream, &left.consumers),
            None => (&self.stream, &self.consumers),
        }
    }

    /// Returns the sequences of a timeline after the part that another one continues.
    pub fn after_fork(&self, parent: &ParentTimeline) -> Option<SeqRange> {
        let last = self.timelines.get(&parent.timeline)?.watermark.last.as_ref()?.seq;
        (last > parent.last_seq).then_some(SeqRange { first: parent.last_seq + 1, last })
    }

    /// Returns the timelines that make up `timeline`, oldest first, each with the last sequence that counts.
    pub fn lineage(&self, timeline: u32) -> Vec<(u32, u64)> {
        let mut lineage = Vec::new();
        let (mut next, mut last_seq) = (Some(timeline), u64::MAX);
        while let Some((number, found)) = next.and_then(|n| Some((n, self.timelines.get(&n)?))) {
            last_seq = last_seq.min(found.watermark.seq);
            lineage.push((number, last_seq));
            next = found.fork.parent.as_ref().map(|parent| {
                last_seq = last_seq.min(parent.last_seq);
                parent.timeline
            });
        }
        lineage.reverse();
        lineage
    }

    /// Returns the pieces that hold `timeline`'s messages from `first_seq` to `last_seq`, ascending.
    pub fn pieces(&self, timeline: u32, first_seq: u64, last_seq: u64) -> Vec<Piece<'_>> {
        let mut pieces = Vec::new();
        let mut from = first_seq;
        for (number, until) in self.lineage(timeline) {
            let until = until.min(last_seq);
            for segment in self.segments.range((number, 0)..=(number, u64::MAX)).map(|(_, s)| s) {
                let (first, last) = (segment.first_seq.max(from), segment.last_seq.min(until));
                if first <= last {
                    pieces.push(Piece { segment, first_seq: first, last_seq: last });
                }
            }
            from = from.max(until.saturating_add(1));
        }
        pieces
    }

    /// Returns the timelines that replace the end of `timeline`, each with the sequences that it provides, ascending.
    /// A timeline that archives a stream anew begins before the damage in the previous one. Until it has reached the
    /// previous one's end, the remaining messages are in the previous one alone.
    pub fn stand_ins(&self, timeline: u32) -> Vec<(u32, SeqRange)> {
        let (mut found, mut number) = (Vec::new(), timeline);
        let mut reach = self.timelines.get(&number).map_or(u64::MAX, |t| t.watermark.seq);
        while self.timelines.get(&number).is_some_and(|t| t.fork.reason == Fork::ANEW)
            && let Some((before, left)) = self.timelines.range(..number).next_back()
        {
            let until = left.watermark.seq;
            if until > reach {
                found.push((*before, SeqRange { first: reach + 1, last: until }));
                reach = until;
            }
            number = *before;
        }
        found
    }

    /// Returns how many messages the current timeline has fewer than the stream had when last observed. Usually 0,
    /// and 0 while the tier is behind that observation. If the stream is idle, any other number is a gap in the
    /// archive; otherwise recent deletes can explain it until the next observation.
    pub fn missing_messages(&self) -> u64 {
        let current = self.current();
        let seen = &current.state;
        // What has left by rule is not missing: the stream itself was dropped before.
        let left = self.kept_from(self.timeline()) > seen.first_seq;
        if left || seen.last_seq > current.watermark.seq {
            return 0;
        }
        let pieces = self.pieces(self.timeline(), seen.first_seq, seen.last_seq);
        let archived: u64 =
            pieces.iter().fold(0, |sum, piece| u64::saturating_add(sum, piece.segment.messages));
        let erased = self.erased_between(self.timeline(), seen.first_seq, seen.last_seq).count();
        seen.messages.saturating_sub(archived.saturating_add(erased))
    }

    /// Returns the sequences of `timeline` that were deleted after they were archived, or dropped before.
    pub fn removed(&self, timeline: u32) -> SeqRanges {
        let mut gone = SeqRanges::default();
        for (number, until) in self.lineage(timeline) {
            let found = &self.timelines[&number];
            for range in found.deleted.iter().chain(found.missed.iter()) {
                // A delete in a child may concern messages that the parent archived, never the reverse.
                if range.first <= until {
                    gone.insert(SeqRange { first: range.first, last: range.last.min(until) });
                }
            }
        }
        gone
    }
}

/// Checks that entries can lead to a checkpoint. A reader that accepted one in which a timeline is its own
/// ancestor would search for its beginning without end.
pub(super) fn validate(checkpoint: &Checkpoint) -> Result<(), String> {
    let timelines = &checkpoint.timelines;
    if !timelines.windows(2).all(|pair| pair[0].number < pair[1].number) {
        return Err("its timelines do not ascend".into());
    }
    for record in timelines {
        let Some(parent) = record.fork.parent.as_ref().map(|parent| parent.timeline) else {
            continue;
        };
        let known = timelines.iter().any(|other| other.number == parent);
        if !known || parent >= record.number {
            return Err(format!("its timeline {} forks from timeline {parent}", record.number));
        }
    }
    let segments = &checkpoint.segments;
    if let Some(segment) = segments.iter().find(|s| s.first_seq > s.last_seq) {
        return Err(format!("its segment `{}` ends before it begins", segment.key));
    }
    let ascend = |pair: &[Segment]| {
        (pair[0].timeline, pair[0].last_seq) < (pair[1].timeline, pair[1].first_seq)
    };
    if !segments.windows(2).all(ascend) {
        return Err("its segments do not ascend, or overlap".into());
    }
    Ok(())
}

impl Timeline {
    /// Returns a timeline without messages.
    pub fn begin(fork: Fork) -> Self {
        let watermark = Watermark { seq: 0, last: None };
        let none = SeqRanges::default;
        let (deleted, missed, lost) = (none(), none(), none());
        let state = StreamState::default();
        Self { fork, deleted, missed, lost, watermark, state, left: None }
    }

    pub(super) fn from_record(record: &TimelineRecord) -> (u32, Self) {
        let timeline = Self {
            fork: record.fork.clone(),
            deleted: record.deleted.iter().copied().collect(),
            missed: record.missed.iter().copied().collect(),
            lost: record.lost.iter().copied().collect(),
            watermark: record.watermark.clone(),
            state: record.state.clone(),
            left: record.left.clone(),
        };
        (record.number, timeline)
    }

    pub(super) fn to_record(&self, number: u32) -> TimelineRecord {
        TimelineRecord {
            number,
            fork: self.fork.clone(),
            deleted: self.deleted.iter().collect(),
            missed: self.missed.iter().collect(),
            lost: self.lost.iter().collect(),
            watermark: self.watermark.clone(),
            state: self.state.clone(),
            left: self.left.clone(),
        }
    }
}
