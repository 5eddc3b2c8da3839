//! What an entry does to one stream's archive: first the check, then the change, so that an entry that
//! contradicts the archive leaves it as it was.

use std::collections::BTreeMap;

use super::entry::{Change, Replacement};
use crate::archive::state::Timeline;
use crate::archive::{ArchiveState, Segment, Sha256, Watermark};
use crate::names::StreamName;

/// A change whose segments are resolved and which was found to follow from a state.
pub(super) struct Checked {
    /// Segments to take out, with what comes in their place.
    replaced: Vec<(Vec<(u32, u64)>, Vec<Segment>)>,
    added: Vec<Segment>,
    watermark: Watermark,
}

/// Says which entry a change is from.
pub(super) struct Origin<'a> {
    pub(super) stream: &'a StreamName,
    /// The key of the entry's object.
    pub(super) key: &'a str,
    pub(super) number: u64,
    pub(super) hash: Sha256,
    pub(super) committed_at: jiff::Timestamp,
}

/// Checks that a change follows from `state`.
pub(super) fn check(
    state: &ArchiveState,
    change: &Change,
    origin: &Origin<'_>,
) -> Result<Checked, String> {
    let (timeline, base) = match &change.fork {
        None => (state.timeline(), state.watermark().seq),
        Some(fork) => {
            let next =
                state.timeline().checked_add(1).ok_or("there is no timeline after the last")?;
            if let Some(parent) = &fork.parent
                && !state.timelines.contains_key(&parent.timeline)
            {
                return Err(format!(
                    "it forks from timeline {}, which is not there",
                    parent.timeline
                ));
            }
            (next, fork.parent.as_ref().map_or(0, |parent| parent.last_seq))
        }
    };
    let resolve = |record: &super::SegmentRecord| record.to_segment(origin.stream, origin.key);
    let added: Vec<Segment> = change.add.iter().map(resolve).collect();
    let mut last = base;
    for segment in &added {
        if segment.timeline != timeline {
            return Err(format!("segment `{}` is of another timeline", segment.key));
        }
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
    let replaced = change.replace.iter().map(|replacement| {
        let by = replacement.by.iter().map(resolve).collect();
        Ok((replaces(state, replacement, &by)?, by))
    });
    Ok(Checked { replaced: replaced.collect::<Result<_, String>>()?, added, watermark })
}

/// Refuses a segment that does not begin behind `last`, and moves `last` to its end.
fn ascends(last: &mut u64, segment: &Segment) -> Result<(), String> {
    if segment.first_seq > segment.last_seq {
        return Err(format!("segment `{}` ends before it begins", segment.key));
    }
    if segment.first_seq <= *last {
        return Err(format!("segment `{}` overlaps what is there", segment.key));
    }
    *last = segment.last_seq;
    Ok(())
}

/// The segments that a replacement takes out.
fn replaces(
    state: &ArchiveState,
    replacement: &Replacement,
    by: &Vec<Segment>,
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
    if let Some(sealed) = old.iter().find(|s| s.sealed) {
        return Err(format!("it replaces `{}`, which is sealed", sealed.key));
    }
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
    if before != after {
        return Err(format!("it replaces {before} messages by {after}"));
    }
    Ok(old.iter().map(|s| (s.timeline, s.first_seq)).collect())
}

/// Changes the archive as was checked; returns what was taken out.
pub(super) fn take(
    state: &mut ArchiveState,
    change: &Change,
    checked: Checked,
    origin: &Origin<'_>,
) -> Vec<Segment> {
    let mut removed = Vec::new();
    for (keys, by) in checked.replaced {
        removed.extend(keys.iter().filter_map(|key| state.segments.remove(key)));
        place(&mut state.segments, by);
    }
    if let Some(fork) = &change.fork {
        state.leave();
        state.timelines.insert(state.timeline() + 1, Timeline::begin(fork.clone()));
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
    (state.number, state.hash) = (origin.number, origin.hash);
    state.committed_at = origin.committed_at;
    removed
}

fn place(segments: &mut BTreeMap<(u32, u64), Segment>, new: Vec<Segment>) {
    segments.extend(new.into_iter().map(|s| ((s.timeline, s.first_seq), s)));
}
