//! Decides what Wasabi's journal says next of one stream.

use std::collections::{BTreeMap, BTreeSet};

use cim_core::archive::journal::{Absent, Change, Erasure, Expired, Retention, StreamCheckpoint};
use cim_core::archive::{ArchiveState, Segment, SeqRange, SeqRanges, TimelineRecord, Watermark};

/// The next change of a stream at Wasabi, and the segments that it is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// The change when all of the segments have gone.
    pub change: Change,
    /// The timeline that it is about.
    pub timeline: u32,
    /// Segments of the NAS that have messages behind `after`.
    pub segments: Vec<Segment>,
    /// The watermark of Wasabi.
    pub after: Watermark,
}

/// Returns the next step; `None` when Wasabi says all that the NAS says. Each timeline is complete before the next
/// one begins, and a step that was taken is never the next one again.
pub fn next(nas: &ArchiveState, there: Option<&ArchiveState>) -> Option<Step> {
    let Some(there) = there else { return first(nas) };
    let timeline = there.timeline();
    // A NAS that forgot may not know the timeline any more, or not yet again.
    let here = nas.timelines.get(&timeline)?;
    let after = there.watermark().clone();
    let behind = nas.segments.range((timeline, 0)..=(timeline, u64::MAX)).map(|(_, s)| s);
    let segments: Vec<Segment> = behind.filter(|s| s.last_seq > after.seq).cloned().collect();
    let (stream, consumers) = nas.stream_of(timeline);
    let known = there.current();
    let until = here.watermark.seq.max(after.seq);
    let new = |all: &SeqRanges, known: &SeqRanges| {
        all.intersect(1, until).difference(known).iter().collect::<Vec<_>>()
    };
    let lost = here.lost.intersect(1, until);
    // The last message that was sent says how far it goes, unless nothing is there behind it.
    let last = segments.last().map_or(after.seq, |last| last.last_seq);
    let Away { missed, expired } = away(nas, there, &after);
    let absent = nas.retention.absent_since;
    let change = Change {
        deleted: new(&here.deleted, &known.deleted),
        missed: new(&here.missed.iter().chain(missed).collect(), &known.missed),
        expired,
        absent: (timeline == nas.timeline() && absent != there.retention.absent_since)
            .then_some(Absent { since: absent }),
        lost: (lost != known.lost).then(|| lost.iter().collect()),
        watermark: (here.watermark.seq > last).then(|| here.watermark.clone()),
        state: Some(here.state.clone()).filter(|state| *state != known.state),
        stream: Some(stream.clone()).filter(|stream| *stream != there.stream),
        consumers: Some(consumers.to_vec()).filter(|consumers| *consumers != there.consumers),
        // What it was in a timeline that was left is not known any more.
        served: nas
            .served
            .clone()
            .filter(|_| timeline == nas.timeline() && nas.served != there.served),
        deletes_known: nas
            .deletes_known
            .clone()
            .filter(|_| timeline == nas.timeline() && nas.deletes_known != there.deletes_known),
        deliveries: Some(nas.deliveries.clone())
            .filter(|known| timeline == nas.timeline() && *known != there.deliveries),
        erased: unknown(nas, there),
        ..Change::default()
    };
    if !segments.is_empty() || change != Change::default() {
        return Some(Step { change, timeline, segments, after });
    }
    let next = nas.timelines.get(&(timeline + 1))?;
    let seq = next.fork.parent.as_ref().map_or(0, |parent| parent.last_seq);
    let change = Change {
        fork: Some(next.fork.clone()),
        watermark: Some(Watermark { seq, last: None }),
        state: Some(next.state.clone()),
        ..Change::default()
    };
    let after = Watermark { seq, last: None };
    Some(Step { change, timeline: timeline + 1, segments: Vec::new(), after })
}

/// Returns the NAS's notes of what was erased that Wasabi does not have, nor one of the same run.
fn unknown(nas: &ArchiveState, there: &ArchiveState) -> Vec<Erasure> {
    if nas.erased.is_empty() {
        return Vec::new();
    }
    let known: BTreeSet<String> = there.erasures().map(|(_, note)| note.id).collect();
    let new = nas.erasures().filter(|(_, note)| !known.contains(&note.id));
    new.map(|(erasure, _)| erasure.clone()).collect()
}

/// The sequences that the NAS has let go of a timeline before Wasabi got them.
struct Away {
    missed: Option<SeqRange>,
    expired: Vec<Expired>,
}

/// Returns what Wasabi will never get. Where it begins behind that, it says so as the NAS does; where it has what is
/// before, the rest was missed.
fn away(nas: &ArchiveState, there: &ArchiveState, after: &Watermark) -> Away {
    let timeline = there.timeline();
    let runs = nas.retention.expired.iter();
    let behind = runs.filter(|run| run.timeline == timeline && run.last_seq > after.seq);
    let none = there.segments.range((timeline, 0)..=(timeline, u64::MAX)).next().is_none();
    let known = |run: &&Expired| there.retention.expired.contains(run);
    let (mut missed, mut expired) = (None, Vec::new());
    for run in behind.filter(|run| !known(run)) {
        if none && run.first_seq > after.seq {
            expired.push(run.clone());
        } else {
            missed = Some(SeqRange { first: after.seq + 1, last: run.last_seq });
        }
    }
    Away { missed, expired }
}

/// Returns the first step of a stream that Wasabi has nothing of: it begins with its first timeline, empty.
fn first(nas: &ArchiveState) -> Option<Step> {
    let (number, timeline) = nas.timelines.first_key_value()?;
    let (stream, consumers) = nas.stream_of(*number);
    let record = TimelineRecord {
        number: *number,
        fork: timeline.fork.clone(),
        deleted: Vec::new(),
        missed: Vec::new(),
        lost: Vec::new(),
        watermark: Watermark { seq: 0, last: None },
        state: timeline.state.clone(),
        left: None,
    };
    let begin = StreamCheckpoint {
        timelines: vec![record],
        segments: Vec::new(),
        stream: stream.clone(),
        consumers: consumers.to_vec(),
        served: nas.served.clone().filter(|_| *number == nas.timeline()),
        deletes_known: None,
        deliveries: BTreeMap::new(),
        erased: Vec::new(),
        retention: Retention::default(),
        number: 0,
        committed_at: nas.committed_at,
    };
    let change = Change { begin: Some(begin), ..Change::default() };
    let after = Watermark { seq: 0, last: None };
    Some(Step { change, timeline: *number, segments: Vec::new(), after })
}
