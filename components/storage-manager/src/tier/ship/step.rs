//! Decides what the chain of Wasabi says next.

use cim_core::archive::{ArchiveState, Segment, SeqRanges, Watermark};

use crate::chain::Draft;

/// Returns the sealed segment of the NAS that Wasabi's watermark divides, if there is one. A NAS that forgot what it
/// had sealed seals it anew, and to another end.
pub(super) fn partially_shipped<'a>(
    archived: &'a ArchiveState,
    shipped: Option<&'a ArchiveState>,
) -> Option<(&'a ArchiveState, &'a Segment)> {
    let shipped = shipped?;
    let segment = spanning_segment(archived, shipped.timeline(), shipped.watermark().seq)?;
    segment.sealed.then_some((shipped, segment))
}

/// Returns the segment of a timeline that begins at or before `seq` and ends after it.
fn spanning_segment(archived: &ArchiveState, timeline: u32, seq: u64) -> Option<&Segment> {
    let (_, segment) = archived.segments.range((timeline, 0)..=(timeline, seq)).next_back()?;
    (segment.last_seq > seq).then_some(segment)
}

/// Returns the entry with the remainder of a segment that Wasabi has the beginning of.
pub(super) fn remainder_step(
    archived: &ArchiveState,
    shipped: &ArchiveState,
    remainder: Segment,
) -> Draft {
    let mut draft = Draft::from_state(shipped);
    draft.watermark = Watermark { seq: remainder.last_seq, last: Some(remainder.last.clone()) };
    if let Some(timeline) = archived.timelines.get(&draft.timeline) {
        draft.state = timeline.state.clone();
    }
    draft.add = vec![remainder];
    add_gaps(&mut draft, archived, Some(shipped));
    draft
}

/// Returns the next entry of Wasabi's chain; `None` when it says all that it can.
pub(super) fn next_step(archived: &ArchiveState, shipped: Option<&ArchiveState>) -> Option<Draft> {
    let Some(shipped) = shipped else {
        let first = *archived.timelines.first_key_value()?.0;
        let timeline = &archived.timelines[&first];
        let (add, watermark) = sealed_beyond(archived, first, 0);
        let mut draft = Draft::first(
            archived.stream.clone(),
            timeline.state.clone(),
            archived.consumers.clone(),
        );
        draft.fork = Some(timeline.fork.clone());
        (draft.timeline, draft.add, draft.watermark) = (first, add, watermark);
        add_gaps(&mut draft, archived, None);
        return Some(draft);
    };
    let mut draft = Draft::from_state(shipped);
    let ours = shipped.timeline();
    let (add, watermark) = sealed_beyond(archived, ours, shipped.watermark().seq);
    draft.add = add;
    if watermark.seq > draft.watermark.seq {
        draft.watermark = watermark;
    }
    draft.state = archived.timelines.get(&ours)?.state.clone();
    if ours == archived.timeline() {
        draft.stream = archived.stream.clone();
        draft.consumers.clone_from(&archived.consumers);
    }
    add_gaps(&mut draft, archived, Some(shipped));
    if draft.has_changes(shipped) {
        return Some(draft);
    }
    // This timeline is complete; the next one may begin when all of it is here.
    let complete = shipped.watermark().seq >= archived.timelines.get(&ours)?.watermark.seq;
    let next = ours + 1;
    let timeline = archived.timelines.get(&next).filter(|_| complete)?;
    let parent = timeline.fork.parent.as_ref().map_or(0, |p| p.last_seq);
    let (add, watermark) = sealed_beyond(archived, next, parent);
    let mut draft = Draft::from_state(shipped);
    (draft.timeline, draft.fork) = (next, Some(timeline.fork.clone()));
    (draft.add, draft.watermark, draft.state) = (add, watermark, timeline.state.clone());
    add_gaps(&mut draft, archived, None);
    Some(draft)
}

/// Returns a timeline's sealed segments after `seq` up to the first unsealed one, and how far they reach.
fn sealed_beyond(archived: &ArchiveState, timeline: u32, seq: u64) -> (Vec<Segment>, Watermark) {
    let nothing = (Vec::new(), Watermark { seq, last: None });
    // A NAS that forgot may not know the timeline any more, or not yet again.
    let Some(found) = archived.timelines.get(&timeline) else { return nothing };
    // A part of it is there, the rest goes when it is sealed.
    if spanning_segment(archived, timeline, seq).is_some() {
        return nothing;
    }
    let mut add: Vec<Segment> = Vec::new();
    for (_, segment) in archived.segments.range((timeline, seq + 1)..=(timeline, u64::MAX)) {
        if !segment.sealed {
            let last = add.last().map(|s| s.last.clone());
            let seq = last.as_ref().map_or(seq, |l| l.seq);
            return (add, Watermark { seq, last });
        }
        add.push(segment.clone());
    }
    (add, found.watermark.clone())
}

/// Puts in what the NAS knows to be gone and Wasabi does not.
fn add_gaps(draft: &mut Draft, archived: &ArchiveState, shipped: Option<&ArchiveState>) {
    let known = shipped.map(ArchiveState::current);
    let Some(timeline) = archived.timelines.get(&draft.timeline) else { return };
    let until = draft.watermark.seq;
    let news = |ours: &SeqRanges, shipped: Option<&SeqRanges>| {
        let ours = ours.intersect(1, until);
        shipped.map_or_else(|| ours.clone(), |shipped| ours.difference(shipped)).iter().collect()
    };
    draft.deleted = news(&timeline.deleted, known.map(|known| &known.deleted));
    draft.missed = news(&timeline.missed, known.map(|known| &known.missed));
    draft.lost = timeline.lost.intersect(1, until);
}

#[cfg(test)]
mod tests;
