//! What has left an archive by rule: whole segments, and none that the live stream had.

use std::collections::BTreeMap;

use cim_core::archive::Segment;
use cim_core::archive::journal::Expired;

use super::{Archived, up_to_forks};

/// The messages that have left, as a journal says it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Left {
    /// Messages, by timeline.
    messages: BTreeMap<u32, u64>,
    /// First and last sequences, by timeline: as they were told, one by one or several as one.
    runs: BTreeMap<u32, Vec<(u64, u64)>>,
    /// Since when JetStream has not had the stream.
    absent_since: Option<jiff::Timestamp>,
}

impl Left {
    /// The part that a checkpoint restates.
    pub(super) fn restated(expired: &[Expired], absent_since: Option<jiff::Timestamp>) -> Self {
        let mut left = Self { absent_since, ..Self::default() };
        for run in expired {
            left.count(run);
        }
        left
    }

    fn count(&mut self, run: &Expired) {
        *self.messages.entry(run.timeline).or_default() += run.messages;
        self.runs.entry(run.timeline).or_default().push((run.first_seq, run.last_seq));
    }

    /// Returns whether two tell the same.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (&self.messages, self.absent_since) == (&other.messages, other.absent_since)
    }

    /// Takes note of whether JetStream has the stream.
    pub(super) fn absent(&mut self, since: Option<jiff::Timestamp>) {
        self.absent_since = since;
    }
}

impl Archived {
    /// The messages of the current timeline that have left by rule: only what the stream begins behind can have.
    pub fn expired(&self) -> impl Iterator<Item = u64> {
        let (first_seq, expired) = (self.first_seq, up_to_forks(&self.left.runs, &self.lineage()));
        expired
            .into_iter()
            .flat_map(|(first, last)| first..=last)
            .filter(move |seq| *seq < first_seq)
    }

    /// Takes out what an entry says has left.
    pub(super) fn expire(&mut self, run: &Expired) -> Result<(), String> {
        let Expired { timeline, first_seq, last_seq, messages, .. } = run;
        let what = format!("lets {first_seq} to {last_seq} of timeline {timeline} go");
        let own = |segment: &&Segment| segment.timeline == *timeline;
        let within = |s: &&Segment| s.first_seq <= *last_seq && s.last_seq >= *first_seq;
        let old: Vec<Segment> =
            self.segments.values().filter(own).filter(within).cloned().collect();
        self.left.count(run);
        let Some((first, last)) = old.first().zip(old.last()) else { return Ok(()) };
        if first.first_seq < *first_seq || last.last_seq > *last_seq {
            return Err(format!("{what}, which are no whole segments"));
        }
        let there: u64 = old.iter().map(|segment| segment.messages).sum();
        if there != *messages {
            return Err(format!("{what}, {messages} messages, and {there} are there"));
        }
        let bound = self.lineage().into_iter().find(|(number, _)| number == timeline);
        let held = bound.is_some_and(|(_, until)| {
            *first_seq <= until && until.min(*last_seq) >= self.first_seq
        });
        if held && self.left.absent_since.is_none() {
            return Err(format!("{what}, and the live stream begins at {}", self.first_seq));
        }
        for segment in old {
            self.segments.remove(&(segment.timeline, segment.first_seq));
        }
        let before = self.segments.values().filter(own).any(|s| s.last_seq < *first_seq);
        if before && *timeline == self.timeline {
            return Err(format!("{what}, and keeps what is before"));
        }
        Ok(())
    }
}
