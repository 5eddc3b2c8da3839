//! Decides what leaves a stream's archive by rule.
//!
//! Invariants
//! - What JetStream holds stays, and so does the last segment of the newest timeline, for as long as JetStream has the
//!   stream: the archive is never less than the live stream, and knows where it goes on.
//! - Whole segments leave. What is left of a timeline has no hole in front: its oldest segments leave, in order; only
//!   a timeline that was left, and a stream that was dropped, leave as a whole.
//! - A segment that another timeline still needs stays.
//! - What Wasabi has not got yet stays on the NAS.

use std::collections::{BTreeMap, BTreeSet};

use cim_core::archive::journal::Expired;
use cim_core::archive::{ArchiveState, Segment};
use jiff::Timestamp;

use crate::clock::is_old;
use crate::config::retention::RetentionConfig;

/// The messages that JetStream has of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Live {
    /// It was not asked: what the archive knows counts.
    Unknown,
    /// Messages from this sequence on.
    From(u64),
    /// Nothing: there is no such stream.
    Absent,
}

/// The part of a stream that the other tier has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Copied {
    /// There is no other tier that is to have it.
    All,
    /// Up to this sequence of this timeline, and all timelines before it; `None` where it has nothing.
    UpTo(Option<(u32, u64)>),
}

/// The bounds that hold messages back, whatever a rule says.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// The messages that JetStream has.
    pub live: Live,
    /// The messages that the other tier has.
    pub copied: Copied,
    /// The time.
    pub now: Timestamp,
}

/// A segment's place: its timeline and first sequence.
type Place = (u32, u64);

/// Returns what leaves, by timeline and sequence.
pub fn decide(state: &ArchiveState, rule: &RetentionConfig, bounds: &Bounds) -> Vec<Expired> {
    // A part that is archived anew is not there yet: until it is, the timeline before stands in for it.
    if !state.stand_ins(state.timeline()).is_empty() {
        return Vec::new();
    }
    let mut whole = leaving_whole(state, rule, bounds);
    let leaving = loop {
        let leaving = Leaving::of(state, rule, bounds, &whole);
        // All that only such a timeline has leaves at once, or nothing of it.
        let held = whole.keys().copied().find(|timeline| leaving.holds_back(state, *timeline));
        match held {
            Some(timeline) => drop(whole.remove(&timeline)),
            None => break leaving,
        }
    };
    runs(state, |segment| leaving.by(segment, &whole, rule), bounds.now)
}

/// Returns the timelines that leave as a whole, but for what others need of them, each with its rule.
fn leaving_whole(
    state: &ArchiveState,
    rule: &RetentionConfig,
    bounds: &Bounds,
) -> BTreeMap<u32, String> {
    let (now, retention) = (bounds.now, &state.retention);
    let absent = retention.absent_since.filter(|_| !matches!(bounds.live, Live::From(_)));
    if let (Some(age), Some(since)) = (&rule.dropped, absent)
        && is_old(now, since, age.time)
    {
        return state.timelines.keys().map(|number| (*number, rule.of_dropped())).collect();
    }
    let Some(age) = &rule.left_timelines else { return BTreeMap::new() };
    let left = state.timelines.keys().filter(|number| **number != state.timeline());
    let old = left.filter(|number| {
        retention.left_at(**number).is_some_and(|since| is_old(now, since, age.time))
    });
    old.map(|number| (*number, rule.of_left())).collect()
}

/// The segments that leave.
struct Leaving<'a> {
    bounds: &'a Bounds,
    /// The timelines that stay, or leave from the front, with their segments: where each stands, and how many of the
    /// oldest may go.
    kept: BTreeMap<u32, (BTreeMap<Place, usize>, usize)>,
}

impl<'a> Leaving<'a> {
    fn of(
        state: &ArchiveState,
        rule: &RetentionConfig,
        bounds: &'a Bounds,
        whole: &BTreeMap<u32, String>,
    ) -> Self {
        let staying = state.timelines.keys().filter(|number| !whole.contains_key(number));
        let kept = staying.map(|number| {
            let pieces = state.pieces(*number, 1, u64::MAX);
            let places = pieces.iter().map(|piece| place(piece.segment)).zip(0..).collect();
            (*number, (places, allowed(state, *number, rule, bounds)))
        });
        let mut this = Self { bounds, kept: kept.collect() };
        // What one timeline holds back holds back all that is behind it in the others.
        while this.hold_back(state) {}
        this
    }

    /// Takes back what a timeline may not let go, for another one holds what is before it; false where there is nothing.
    fn hold_back(&mut self, state: &ArchiveState) -> bool {
        let mut fewer = BTreeMap::new();
        for (number, (places, count)) in &self.kept {
            let held = places
                .iter()
                .filter(|(place, index)| *index < count && !self.leaves(&state.segments[*place]))
                .map(|(_, index)| *index);
            if let Some(first) = held.min() {
                fewer.insert(*number, first);
            }
        }
        for (number, first) in &fewer {
            if let Some((_, count)) = self.kept.get_mut(number) {
                *count = *first;
            }
        }
        !fewer.is_empty()
    }

    /// Iterates over the timelines that need a segment: for each, whether it may go.
    fn needed<'b>(&'b self, segment: &'b Segment) -> impl Iterator<Item = bool> + 'b {
        let at = place(segment);
        self.kept.values().filter_map(move |(places, count)| Some(*places.get(&at)? < *count))
    }

    fn leaves(&self, segment: &Segment) -> bool {
        is_copied(segment, self.bounds.copied) && self.needed(segment).all(|may_go| may_go)
    }

    /// Returns whether a timeline that leaves as a whole has something alone that has to stay for now.
    fn holds_back(&self, state: &ArchiveState, timeline: u32) -> bool {
        let pieces = state.pieces(timeline, 1, u64::MAX).into_iter();
        let mut alone = pieces.filter(|piece| self.needed(piece.segment).next().is_none());
        alone.any(|piece| !self.leaves(piece.segment))
    }

    /// Returns by which rule a segment leaves; `None` where it stays.
    fn by(
        &self,
        segment: &Segment,
        whole: &BTreeMap<u32, String>,
        rule: &RetentionConfig,
    ) -> Option<String> {
        if !self.leaves(segment) {
            return None;
        }
        let alone = self.needed(segment).next().is_none();
        let whole = whole.get(&segment.timeline).filter(|_| alone).cloned();
        Some(whole.unwrap_or_else(|| rule.limits()))
    }
}

fn place(segment: &Segment) -> Place {
    (segment.timeline, segment.first_seq)
}

fn is_copied(segment: &Segment, copied: Copied) -> bool {
    match copied {
        Copied::All => true,
        Copied::UpTo(None) => false,
        Copied::UpTo(Some(until)) => (segment.timeline, segment.last_seq) <= until,
    }
}

/// Returns how many of the oldest segments of a timeline a rule lets go and JetStream does not hold.
fn allowed(state: &ArchiveState, timeline: u32, rule: &RetentionConfig, bounds: &Bounds) -> usize {
    let pieces = state.pieces(timeline, 1, u64::MAX);
    let is_newest = timeline == state.timeline();
    let held = match bounds.live {
        Live::From(first) => first.min(state.current().state.first_seq),
        Live::Unknown | Live::Absent => state.current().state.first_seq,
    };
    // How much is kept behind each, at least: of a segment that is cut off nothing is counted.
    let whole = |last_seq: u64, segment: &Segment| segment.last_seq <= last_seq;
    let mut kept: Vec<(u64, u64)> = vec![(0, 0)];
    for piece in pieces.iter().skip(1).rev() {
        let (messages, bytes) = kept[kept.len() - 1];
        let counts = whole(piece.last_seq, piece.segment);
        let (more, larger) =
            if counts { (piece.segment.messages, piece.segment.bytes) } else { (0, 0) };
        kept.push((messages.saturating_add(more), bytes.saturating_add(larger)));
    }
    let may_go = |(piece, (messages, bytes)): &(&cim_core::archive::Piece<'_>, (u64, u64))| {
        let newest = piece.segment.last_time.max(piece.segment.first_time);
        let old = rule.max_age.as_ref().is_some_and(|age| is_old(bounds.now, newest, age.time));
        let many = rule.max_msgs.is_some_and(|most| *messages >= most.get());
        let large = rule.max_bytes.is_some_and(|most| *bytes >= most.bytes() as u64);
        (old || many || large) && (!is_newest || piece.last_seq < held)
    };
    let behind = kept.into_iter().rev();
    let count = pieces.iter().zip(behind).take_while(may_go).count();
    if is_newest { count.min(pieces.len().saturating_sub(1)) } else { count }
}

/// Tells segments that follow one another, and leave by one rule, as one run.
fn runs(
    state: &ArchiveState,
    by: impl Fn(&Segment) -> Option<String>,
    now: Timestamp,
) -> Vec<Expired> {
    let (mut runs, mut open): (Vec<Expired>, bool) = (Vec::new(), false);
    for segment in state.segments.values() {
        let Some(rule) = by(segment) else {
            open = false;
            continue;
        };
        let same =
            |run: &&mut Expired| open && run.timeline == segment.timeline && run.rule == rule;
        if let Some(run) = runs.last_mut().filter(same) {
            run.last_seq = segment.last_seq;
            run.messages = run.messages.saturating_add(segment.messages);
            run.bytes = run.bytes.saturating_add(segment.bytes);
        } else {
            runs.push(Expired {
                timeline: segment.timeline,
                first_seq: segment.first_seq,
                last_seq: segment.last_seq,
                messages: segment.messages,
                bytes: segment.bytes,
                at: now,
                rule,
            });
        }
        open = true;
    }
    runs
}

/// Returns the segments that some runs take out.
pub fn taken<'a>(state: &'a ArchiveState, runs: &[Expired]) -> Vec<&'a Segment> {
    let places: BTreeSet<Place> = runs
        .iter()
        .flat_map(|run| {
            let range = (run.timeline, run.first_seq)..=(run.timeline, run.last_seq);
            state.segments.range(range).map(|(place, _)| *place)
        })
        .collect();
    places.iter().map(|place| &state.segments[place]).collect()
}
