//! Messages that leave the archive by a rule: the check that they may, and the questions of those that did.

use std::collections::BTreeMap;

use super::record::Replacement;
use super::retention::Expired;
use crate::archive::{ArchiveState, Segment};

/// Refuses what is said to have expired and cannot have; returns the segments that it takes out.
pub(super) fn check<'a>(
    state: &ArchiveState,
    expired: &[Expired],
    replacements: impl Iterator<Item = &'a Replacement>,
) -> Result<Vec<(u32, u64)>, String> {
    let mut taken: Vec<(u32, u64)> = Vec::new();
    let mut before: Vec<(u32, u64, u64)> =
        replacements.map(|r| (r.timeline, r.first_seq, r.last_seq)).collect();
    for run in expired {
        let Expired { timeline, first_seq, last_seq, .. } = *run;
        let what = || format!("sequences {first_seq} to {last_seq} of timeline {timeline}");
        if first_seq == 0 || first_seq > last_seq || !state.timelines.contains_key(&timeline) {
            return Err(format!("it lets {} go, which are nothing", what()));
        }
        let other = |(its, first, last): &(u32, u64, u64)| {
            *its == timeline && *first <= last_seq && *last >= first_seq
        };
        if before.iter().any(other) {
            return Err(format!("it lets {} go, of which it says more", what()));
        }
        before.push((timeline, first_seq, last_seq));
        let earlier = state.segments.range((timeline, 0)..(timeline, first_seq)).next_back();
        let old: Vec<&Segment> = state
            .segments
            .range((timeline, first_seq)..=(timeline, last_seq))
            .map(|(_, segment)| segment)
            .collect();
        let cut = earlier.is_some_and(|(_, earlier)| earlier.last_seq >= first_seq)
            || old.last().is_some_and(|last| last.last_seq > last_seq);
        if cut {
            return Err(format!("it lets {} go, which are no whole segments", what()));
        }
        let gone = |at: &(u32, u64)| taken.contains(at);
        if timeline == state.timeline() && earlier.is_some_and(|(at, _)| !gone(at)) {
            return Err(format!("it lets {} go, and keeps what is before them", what()));
        }
        if old.is_empty() {
            // Another tier had them, and this one never will.
            continue;
        }
        held(state, timeline, &old)?;
        let messages = old.iter().fold(0u64, |sum, s| sum.saturating_add(s.messages));
        if messages != run.messages {
            return Err(format!("it lets {} messages go, and {messages} are there", run.messages));
        }
        taken.extend(old.iter().map(|segment| (segment.timeline, segment.first_seq)));
    }
    Ok(taken)
}

/// Refuses to let go of segments that the live stream had when it was last seen, unless that is not there any more.
fn held(state: &ArchiveState, timeline: u32, segments: &[&Segment]) -> Result<(), String> {
    if state.retention.absent_since.is_some() {
        return Ok(());
    }
    let first_seq = state.current().state.first_seq;
    let lineage = state.lineage(state.timeline());
    let Some((_, until)) = lineage.iter().find(|(number, _)| *number == timeline) else {
        return Ok(());
    };
    // One by one: between two of them the timelines may have parted.
    let is_held = |segment: &&&Segment| {
        segment.first_seq <= *until && segment.last_seq.min(*until) >= first_seq
    };
    match segments.iter().find(is_held) {
        Some(segment) => Err(format!(
            "it lets sequence {} go, and the live stream begins at {first_seq}",
            segment.last_seq
        )),
        None => Ok(()),
    }
}

/// Takes note of what has left, behind what had before: runs that follow one another by one rule are one.
pub(super) fn note(state: &mut ArchiveState, expired: &[Expired]) {
    for run in expired {
        let known = &state.retention.expired;
        let place = known.iter().rposition(|known| known.timeline == run.timeline);
        let last = place.map(|index| &known[index]).filter(|known| {
            let between = (run.timeline, known.first_seq)..=(run.timeline, run.last_seq);
            known.rule == run.rule
                && known.last_seq < run.first_seq
                && state.segments.range(between).next().is_none()
        });
        let joined = last.map(|known| Expired {
            last_seq: run.last_seq,
            messages: known.messages.saturating_add(run.messages),
            bytes: known.bytes.saturating_add(run.bytes),
            at: known.at.max(run.at),
            ..known.clone()
        });
        match (place, joined) {
            (Some(index), Some(joined)) => state.retention.expired[index] = joined,
            _ => state.retention.expired.push(run.clone()),
        }
    }
}

impl ArchiveState {
    /// Returns what has left the archive by rule of what `timeline` had, itself or from those before it.
    pub fn expired_in(&self, timeline: u32) -> Vec<&Expired> {
        let lineage: BTreeMap<u32, u64> = self.lineage(timeline).into_iter().collect();
        let counts = |run: &&Expired| {
            lineage.get(&run.timeline).is_some_and(|until| run.first_seq <= *until)
        };
        self.retention.expired.iter().filter(counts).collect()
    }

    /// Returns the first sequence of `timeline` that may still be in the archive: all before it has left by rule, or was
    /// never there.
    pub fn kept_from(&self, timeline: u32) -> u64 {
        self.kept_within(timeline, u64::MAX)
    }

    /// Returns the first sequence that may still be in the archive of the part of `timeline` up to a sequence.
    pub fn kept_within(&self, timeline: u32, last_seq: u64) -> u64 {
        let lineage: BTreeMap<u32, u64> = self.lineage(timeline).into_iter().collect();
        let ends = self.retention.expired.iter().filter_map(|run| {
            let until = lineage.get(&run.timeline)?.min(&last_seq);
            (run.first_seq <= *until).then(|| run.last_seq.min(*until))
        });
        ends.max().map_or(1, |last| last.saturating_add(1))
    }

    /// Returns whether all messages of `timeline` have left the archive by rule.
    pub fn has_left(&self, timeline: u32) -> bool {
        let last = self.timelines.get(&timeline).and_then(|found| found.watermark.last.as_ref());
        last.is_some_and(|last| self.kept_from(timeline) > last.seq)
            && !self.expired_in(timeline).is_empty()
    }
}
