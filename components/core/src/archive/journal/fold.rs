//! The fold of one entry into one stream's archive: first the check, then the change, so that an entry
//! that contradicts the archive leaves it unchanged.

use std::collections::BTreeMap;

use super::entry::Change;
use super::erased::{ErasureNote, notes};
use super::expired;
use super::record::{Replacement, SegmentRecord, credible};
use crate::archive::state::Timeline;
use crate::archive::{ArchiveState, ParentTimeline, Segment, SeqRanges, Watermark};
use crate::names::StreamName;

/// A change that follows from a state, with its segments resolved.
pub(super) struct Checked {
    replaced: Vec<Replaced>,
    /// Segments that leave by rule.
    expired: Vec<(u32, u64)>,
    added: Vec<Segment>,
    watermark: Watermark,
}

/// Segments to remove, and their replacements.
struct Replaced {
    old: Vec<(u32, u64)>,
    by: Vec<Segment>,
}

/// The entry that a change is from.
pub(super) struct Origin<'a> {
    pub(super) stream: &'a StreamName,
    /// The key of the entry's object.
    pub(super) key: &'a str,
}

impl Checked {
    /// Returns every segment that the change adds.
    pub(super) fn new_segments(&self) -> impl Iterator<Item = &Segment> {
        self.replaced.iter().flat_map(|replaced| &replaced.by).chain(&self.added)
    }
}

/// Checks that a change follows from `state`.
pub(super) fn check(
    state: &ArchiveState,
    change: &Change,
    origin: &Origin<'_>,
) -> Result<Checked, String> {
    let (timeline, base) = match &change.fork {
        None => {
            let inherited = state.current().fork.parent.as_ref().map_or(0, |p| p.last_seq);
            (state.timeline(), state.watermark().seq.max(inherited))
        }
        Some(fork) => {
            let next =
                state.timeline().checked_add(1).ok_or("there is no timeline after the last")?;
            (next, fork.parent.as_ref().map_or(Ok(0), |parent| shared(state, parent))?)
        }
    };
    let resolve = |record: &SegmentRecord| record.to_segment(origin.stream, origin.key);
    let added: Vec<Segment> = change.add.iter().map(resolve).collect();
    let mut last = base;
    for segment in &added {
        if segment.timeline != timeline {
            return Err(format!("segment `{}` is of another timeline", segment.key));
        }
        credible(segment, origin.stream)?;
        ascends(&mut last, segment)?;
    }
    let watermark = match (&change.watermark, added.last()) {
        (Some(watermark), _) => watermark.clone(),
        (None, Some(last)) => Watermark { seq: last.last_seq, last: Some(last.last.clone()) },
        (None, None) if change.fork.is_some() => Watermark { seq: base, last: None },
        (None, None) => state.watermark().clone(),
    };
    if watermark.seq < last {
        return Err(format!("its watermark {} is behind {last}", watermark.seq));
    }
    if let Some(message) = watermark.last.as_ref().filter(|last| last.seq > watermark.seq) {
        return Err(format!("its watermark {} is before message {}", watermark.seq, message.seq));
    }
    apart(change.replace.iter().chain(&change.cut))?;
    let replacements = change.replace.iter().chain(&change.cut);
    let expired = expired::check(state, &change.expired, replacements)?;
    let notes = notes(&change.erased, origin.stream)?;
    let same = change.replace.iter().map(|replacement| (replacement, None));
    let cut = change.cut.iter().map(|replacement| (replacement, Some(&notes[..])));
    let replaced = same.chain(cut).map(|(replacement, erased)| {
        let by: Vec<Segment> = replacement.by.iter().map(resolve).collect();
        by.iter().try_for_each(|segment| credible(segment, origin.stream))?;
        Ok(Replaced { old: replaces(state, replacement, &by, erased)?, by })
    });
    let replaced = replaced.collect::<Result<_, String>>()?;
    Ok(Checked { replaced, expired, added, watermark })
}

/// Returns the last sequence that a new timeline shares with its parent. The parent must have it: otherwise
/// the messages between the parent's end and the new timeline's beginning would be in neither.
fn shared(state: &ArchiveState, parent: &ParentTimeline) -> Result<u64, String> {
    let ParentTimeline { timeline, last_seq } = *parent;
    let Some(found) = state.timelines.get(&timeline) else {
        return Err(format!("it forks from timeline {timeline}, which is not there"));
    };
    let end = found.watermark.seq;
    if last_seq > end {
        return Err(format!(
            "it forks from timeline {timeline} at {last_seq}, behind its end {end}"
        ));
    }
    Ok(last_seq)
}

/// Refuses a segment that does not begin after `last`, and moves `last` to its end.
fn ascends(last: &mut u64, segment: &Segment) -> Result<(), String> {
    if segment.first_seq <= *last {
        return Err(format!("segment `{}` overlaps another one", segment.key));
    }
    *last = segment.last_seq;
    Ok(())
}

/// Refuses replacements of one change that share a segment: the second would replace what the first has put
/// in its place.
fn apart<'a>(replacements: impl Iterator<Item = &'a Replacement>) -> Result<(), String> {
    let mut ranges: Vec<(u32, u64, u64)> =
        replacements.map(|r| (r.timeline, r.first_seq, r.last_seq)).collect();
    ranges.sort_unstable();
    for pair in ranges.windows(2) {
        let ((before, _, end), (timeline, first, last)) = (pair[0], pair[1]);
        if before == timeline && first <= end {
            return Err(format!(
                "it replaces sequences {first} to {last} of timeline {timeline} twice"
            ));
        }
    }
    Ok(())
}

/// Returns the segments that a replacement removes. If messages are erased, `erased` names them: no others may be
/// missing afterwards, and sealed segments may be replaced.
fn replaces(
    state: &ArchiveState,
    replacement: &Replacement,
    by: &[Segment],
    erased: Option<&[ErasureNote]>,
) -> Result<Vec<(u32, u64)>, String> {
    let Replacement { timeline, first_seq, last_seq, .. } = *replacement;
    let what = || format!("sequences {first_seq} to {last_seq} of timeline {timeline}");
    if first_seq > last_seq {
        return Err(format!("it replaces {}, which is nothing", what()));
    }
    let old: Vec<&Segment> = state
        .segments
        .range((timeline, first_seq)..=(timeline, last_seq))
        .map(|(_, segment)| segment)
        .collect();
    let whole = old.first().is_some_and(|s| s.first_seq == first_seq)
        && old.last().is_some_and(|s| s.last_seq == last_seq);
    if !whole {
        return Err(format!("it replaces {}, which are no whole segments", what()));
    }
    if let Some(sealed) = old.iter().find(|s| s.sealed && erased.is_none()) {
        return Err(format!("it replaces `{}`, which is sealed", sealed.key));
    }
    // `first_seq` is that of a segment, and no segment begins before 1.
    let mut last = first_seq - 1;
    for segment in by {
        if segment.timeline != timeline || segment.last_seq > last_seq {
            return Err(format!("segment `{}` covers more than it replaces", segment.key));
        }
        ascends(&mut last, segment)?;
    }
    let count = |segments: &mut dyn Iterator<Item = &Segment>| {
        segments.fold(0u64, |sum, s| sum.saturating_add(s.messages))
    };
    let (before, after) = (count(&mut old.iter().copied()), count(&mut by.iter()));
    let mut gone = SeqRanges::default();
    for note in erased.into_iter().flatten() {
        note.of(timeline).within(first_seq, last_seq).for_each(|range| gone.insert(range));
    }
    if erased.is_some() && gone.is_empty() {
        return Err(format!("it cuts {}, of which no note says that something was erased", what()));
    }
    if before != after.saturating_add(gone.count()) {
        return Err(if erased.is_some() {
            format!(
                "it cuts {before} messages down to {after} and notes {} as erased",
                gone.count()
            )
        } else {
            format!("it replaces {before} messages by {after}")
        });
    }
    Ok(old.iter().map(|s| (s.timeline, s.first_seq)).collect())
}

/// Applies a checked change and returns the segments it removed.
pub(super) fn take(
    state: &mut ArchiveState,
    change: &Change,
    checked: Checked,
    number: u64,
    committed_at: jiff::Timestamp,
) -> Vec<Segment> {
    let mut removed = Vec::new();
    for Replaced { old, by } in checked.replaced {
        removed.extend(old.iter().filter_map(|key| state.segments.remove(key)));
        place(&mut state.segments, by);
    }
    removed.extend(checked.expired.iter().filter_map(|place| state.segments.remove(place)));
    expired::note(state, &change.expired);
    if change.fork.is_some() || !change.add.is_empty() {
        // It is there, or was a moment ago: what is counted from an earlier time is not.
        state.retention.absent_since = None;
    }
    if let Some(absent) = &change.absent {
        state.retention.absent_since = absent.since;
    }
    if let Some(fork) = &change.fork {
        state.leave();
        state.retention.leave(state.timeline(), committed_at);
        state.timelines.insert(state.timeline() + 1, Timeline::begin(fork.clone()));
        state.deletes_known = None;
        state.deliveries.clear();
    }
    place(&mut state.segments, checked.added);
    let mut current = state.timelines.last_entry().expect("there is at least one timeline");
    let timeline = current.get_mut();
    change.deleted.iter().for_each(|range| timeline.deleted.insert(*range));
    change.missed.iter().for_each(|range| timeline.missed.insert(*range));
    if let Some(lost) = &change.lost {
        timeline.lost = lost.iter().copied().collect();
    }
    timeline.watermark = checked.watermark;
    if let Some(counts) = &change.state {
        timeline.state = counts.clone();
    }
    if let Some(stream) = &change.stream {
        state.stream = stream.clone();
    }
    if let Some(consumers) = &change.consumers {
        state.consumers.clone_from(consumers);
    }
    if let Some(served) = &change.served {
        state.served = Some(served.clone());
    }
    if let Some(known) = &change.deletes_known {
        state.deletes_known = Some(known.clone());
    }
    if let Some(deliveries) = &change.deliveries {
        state.deliveries.clone_from(deliveries);
    }
    state.erased.extend(change.erased.iter().cloned());
    (state.number, state.committed_at) = (number, committed_at);
    removed
}

fn place(segments: &mut BTreeMap<(u32, u64), Segment>, new: Vec<Segment>) {
    segments.extend(new.into_iter().map(|s| ((s.timeline, s.first_seq), s)));
}
