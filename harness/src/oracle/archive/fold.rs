//! Applies a journal's entries to the archived state of one stream.

use std::collections::BTreeMap;

use cim_core::archive::journal::{Change, Erasure, Replacement, SegmentRecord, StreamCheckpoint};
use cim_core::archive::{ArchiveKey, Segment};
use cim_core::names::StreamName;

use super::Archived;
use super::expired::Left;

/// The origin of a statement about a stream.
pub(super) struct Said<'a> {
    pub(super) stream: &'a StreamName,
    /// The key of the object with the statement; a segment without a key lies there too.
    pub(super) key: &'a str,
    pub(super) number: u64,
    pub(super) at: jiff::Timestamp,
}

impl Said<'_> {
    fn segment(&self, record: &SegmentRecord) -> Result<Segment, String> {
        let segment = record.to_segment(self.stream, self.key);
        let key = &segment.key;
        let right = match ArchiveKey::parse(key) {
            Ok(ArchiveKey::Segment { stream, .. }) => {
                stream == *self.stream && segment.part.is_none()
            }
            Ok(ArchiveKey::Journal { .. } | ArchiveKey::Shared { .. }) => segment.part.is_some(),
            _ => false,
        };
        if !right {
            return Err(format!("says that messages lie in `{key}`, where they cannot"));
        }
        if segment.first_seq > segment.last_seq || segment.messages == 0 {
            return Err(format!("has a segment in `{key}` without messages"));
        }
        Ok(segment)
    }
}

impl Archived {
    /// Makes the state of a stream from a checkpoint.
    pub(super) fn restated(restated: &StreamCheckpoint, said: &Said<'_>) -> Result<Self, String> {
        let last = restated.timelines.last().ok_or("has no timeline")?;
        let mut archived = Self {
            number: said.number,
            committed_at: said.at,
            watermark: last.watermark.seq,
            first_seq: last.state.first_seq,
            timeline: last.number,
            segments: BTreeMap::new(),
            parents: BTreeMap::new(),
            ends: BTreeMap::new(),
            deleted: BTreeMap::new(),
            missed: BTreeMap::new(),
            erased: BTreeMap::new(),
            stream: restated.stream.clone(),
            consumers: restated.consumers.clone(),
            served: restated.served.clone(),
            deletes_known: restated.deletes_known.clone(),
            deliveries: restated.deliveries.clone(),
            left: Left::restated(&restated.retention.expired, restated.retention.absent_since),
        };
        archived.adopt(&restated.timelines);
        archived.take_note(&restated.erased, said)?;
        for record in &restated.segments {
            archived.put(said.segment(record)?)?;
        }
        Ok(archived)
    }

    /// Applies an entry's change. After an error the state cannot be used further.
    pub(super) fn change(&mut self, change: &Change, said: &Said<'_>) -> Result<(), String> {
        self.take_note(&change.erased, said)?;
        for run in &change.expired {
            self.expire(run)?;
        }
        if change.fork.is_some() || !change.add.is_empty() {
            self.left.absent(None);
        }
        if let Some(absent) = &change.absent {
            self.left.absent(absent.since);
        }
        for replacement in &change.replace {
            self.exchange(replacement, said, false)?;
        }
        for replacement in &change.cut {
            self.exchange(replacement, said, true)?;
        }
        let mut base = self.watermark;
        if let Some(fork) = &change.fork {
            let parent = fork.parent.as_ref().map(|p| (p.timeline, p.last_seq));
            if let Some((of, _)) = parent.filter(|(of, _)| !self.ends.contains_key(of)) {
                return Err(format!("forks from timeline {of}, which does not exist"));
            }
            self.timeline = self.timeline.checked_add(1).ok_or("has no next timeline")?;
            self.parents.insert(self.timeline, parent);
            self.first_seq = 0;
            base = parent.map_or(0, |(_, last)| last);
        }
        let mut last = base;
        for record in &change.add {
            let segment = said.segment(record)?;
            if segment.timeline != self.timeline {
                return Err(format!(
                    "adds to timeline {}, it is {}",
                    segment.timeline, self.timeline
                ));
            }
            if segment.first_seq <= last {
                return Err(format!(
                    "adds sequence {}, the tier was at {last} already",
                    segment.first_seq
                ));
            }
            last = segment.last_seq;
            self.put(segment)?;
        }
        let watermark = change.watermark.as_ref().map_or(last, |watermark| watermark.seq);
        if watermark < last {
            return Err(format!("takes the watermark back from {last} to {watermark}"));
        }
        if let Some(state) = &change.state {
            self.first_seq = state.first_seq;
        }
        self.watermark = watermark;
        self.ends.insert(self.timeline, (self.watermark, self.first_seq));
        let deleted = self.deleted.entry(self.timeline).or_default();
        deleted.extend(change.deleted.iter().map(|range| (range.first, range.last)));
        let missed = self.missed.entry(self.timeline).or_default();
        missed.extend(change.missed.iter().map(|range| (range.first, range.last)));
        if let Some(stream) = &change.stream {
            self.stream = stream.clone();
        }
        if let Some(consumers) = &change.consumers {
            self.consumers.clone_from(consumers);
        }
        if change.served.is_some() {
            self.served.clone_from(&change.served);
        }
        if change.fork.is_some() || change.deletes_known.is_some() {
            self.deletes_known.clone_from(&change.deletes_known);
        }
        if change.fork.is_some() || change.deliveries.is_some() {
            self.deliveries = change.deliveries.clone().unwrap_or_default();
        }
        (self.number, self.committed_at) = (said.number, said.at);
        Ok(())
    }

    /// Inserts a segment that must not overlap others.
    fn put(&mut self, segment: Segment) -> Result<(), String> {
        let place = (segment.timeline, segment.first_seq);
        let own = |other: &&Segment| other.timeline == segment.timeline;
        let before = self.segments.range(..place).next_back().map(|(_, s)| s).filter(own);
        let after = self.segments.range(place..).next().map(|(_, s)| s).filter(own);
        if before.is_some_and(|s| s.last_seq >= segment.first_seq)
            || after.is_some_and(|s| s.first_seq <= segment.last_seq)
        {
            let Segment { first_seq, last_seq, .. } = segment;
            return Err(format!(
                "has a segment from {first_seq} to {last_seq}, which overlaps another"
            ));
        }
        self.segments.insert(place, segment);
        Ok(())
    }

    /// Applies the notes of erasures: which sequences were erased for good.
    fn take_note(&mut self, notes: &[Erasure], said: &Said<'_>) -> Result<(), String> {
        for erasure in notes {
            let note =
                erasure.read().map_err(|error| format!("has no note of an erasure: {error}"))?;
            if note.stream != *said.stream {
                return Err(format!("has a note about stream `{}`", note.stream));
            }
            for erased in note.timelines {
                let known = self.erased.entry(erased.timeline).or_default();
                known.extend(erased.sequences.iter().map(|range| (range.first, range.last)));
            }
        }
        Ok(())
    }

    /// Returns the number of sequences between two that were erased of a timeline.
    fn erased_of(&self, timeline: u32, first_seq: u64, last_seq: u64) -> u64 {
        let known = runs(self.erased.get(&timeline).map_or(&[], Vec::as_slice)).into_iter();
        let within = known.map(|(from, to)| (from.max(first_seq), to.min(last_seq)));
        within.filter(|(from, to)| from <= to).map(|(from, to)| to - from + 1).sum()
    }

    /// Replaces whole segments, none of them sealed, by others with as many messages; or, if some were
    /// erased, with so many fewer.
    fn exchange(
        &mut self,
        replacement: &Replacement,
        said: &Said<'_>,
        cut: bool,
    ) -> Result<(), String> {
        let Replacement { timeline, first_seq, last_seq, by } = replacement;
        let what = format!("replaces {first_seq} to {last_seq} of timeline {timeline}");
        let old: Vec<Segment> = self
            .segments
            .values()
            .filter(|s| s.timeline == *timeline)
            .filter(|s| s.first_seq <= *last_seq && s.last_seq >= *first_seq)
            .cloned()
            .collect();
        let bounds = old.first().zip(old.last()).map(|(a, b)| (a.first_seq, b.last_seq));
        if bounds != Some((*first_seq, *last_seq)) {
            return Err(format!("{what}, which are no whole segments"));
        }
        if let Some(sealed) = old.iter().find(|s| s.sealed && !cut) {
            return Err(format!("{what}, of which `{}` is sealed", sealed.key));
        }
        for segment in &old {
            self.segments.remove(&(segment.timeline, segment.first_seq));
        }
        let mut messages = 0_u64;
        for record in by {
            let segment = said.segment(record)?;
            let within = (*first_seq..=*last_seq).contains(&segment.first_seq)
                && segment.last_seq <= *last_seq
                && segment.timeline == *timeline;
            if !within {
                return Err(format!("{what} by sequence {} and more", segment.first_seq));
            }
            messages = messages.saturating_add(segment.messages);
            self.put(segment)?;
        }
        let before = old.iter().fold(0_u64, |sum, s| sum.saturating_add(s.messages));
        if cut {
            // What was erased before is not in the segments any more.
            let most = self.erased_of(*timeline, *first_seq, *last_seq);
            if messages >= before || before - messages > most {
                return Err(format!(
                    "{what}, {before} messages, by {messages}, with {most} erased"
                ));
            }
        } else if before != messages {
            return Err(format!("{what}, {before} messages, by {messages}"));
        }
        Ok(())
    }

    /// Returns a description of the first difference from a checkpoint's state, or `None`.
    pub(super) fn differs(&self, other: &Self) -> Option<String> {
        if let Some((_, segment)) =
            self.segments.iter().find(|(place, segment)| other.segments.get(place) != Some(segment))
        {
            return Some(format!("the segment from {}", segment.first_seq));
        }
        let what = if self.segments.len() != other.segments.len() {
            "a segment that no entry has added"
        } else if (self.timeline, &self.parents) != (other.timeline, &other.parents) {
            "the timelines"
        } else if self.ends != other.ends {
            "the ends of its timelines"
        } else if all(&self.deleted) != all(&other.deleted) {
            "the deleted sequences"
        } else if all(&self.missed) != all(&other.missed) {
            "the missed sequences"
        } else if all(&self.erased) != all(&other.erased) {
            "the erased sequences"
        } else if self.stream != other.stream {
            "the configuration"
        } else if self.consumers != other.consumers {
            "the consumers"
        } else if self.served != other.served {
            "the server"
        } else if self.deletes_known != other.deletes_known {
            "the point up to which deletes are known"
        } else if self.deliveries != other.deliveries {
            "the consumers' deliveries"
        } else if !self.left.is_same(&other.left) {
            "the messages that left by rule"
        } else if (self.number, self.committed_at) != (other.number, other.committed_at) {
            "its last entry"
        } else {
            return None;
        };
        Some(what.to_owned())
    }
}

/// Returns ranges by timeline, with adjacent ones merged.
fn all(ranges: &BTreeMap<u32, Vec<(u64, u64)>>) -> BTreeMap<u32, Vec<(u64, u64)>> {
    let runs = ranges.iter().map(|(timeline, ranges)| (*timeline, runs(ranges)));
    runs.filter(|(_, runs)| !runs.is_empty()).collect()
}

fn runs(ranges: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let mut ranges: Vec<_> = ranges.iter().copied().filter(|(from, to)| from <= to).collect();
    ranges.sort_unstable();
    let mut runs: Vec<(u64, u64)> = Vec::new();
    for (from, to) in ranges {
        match runs.last_mut() {
            Some((_, end)) if end.saturating_add(1) >= from => *end = to.max(*end),
            _ => runs.push((from, to)),
        }
    }
    runs
}
