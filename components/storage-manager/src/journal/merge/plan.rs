//! Decides what is merged next.

use std::collections::{BTreeMap, BTreeSet};

use cim_core::archive::journal::JournalState;
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveKey, ArchiveState, Segment};
use cim_core::names::StreamName;

/// The number of neighbours of a kind that are merged into one.
const FAN: usize = 16;
/// The number of entries of a journal that are merged into one.
const ENTRIES: usize = 128;
/// The bytes of messages that a merge of shared objects reads, about: they are in memory, compressed.
const AT_ONCE: u64 = 48 << 20;
/// The number of objects that are merged at once.
const MOST: usize = 512;
/// Neighbouring parts of a stream at Wasabi that are merged: so many make a reader's state large,
/// and each merge leaves them all where they are for months.
const PARTS: usize = 512;

/// A merge to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Job {
    /// Shared objects, by key, oldest first.
    Shared {
        /// Their level.
        level: u8,
        /// The objects.
        keys: Vec<String>,
    },
    /// Neighbouring segments of one stream.
    Own {
        /// The stream.
        stream: StreamName,
        /// The segments, ascending.
        segments: Vec<Segment>,
    },
}

/// Returns how many bytes of one stream's messages are enough for a segment of its own, when what was merged `level`
/// times is merged again: the less often that happens, the less it takes.
pub fn enough(level: u8) -> u64 {
    const FIRST: u32 = 20;
    1 << FIRST.saturating_sub(2 * u32::from(level))
}

/// Returns the next merge; `None` while there is none worth its bytes. `seal` is the final size of a segment's file;
/// objects in `avoid` are left as they are.
pub fn next(state: &JournalState, seal: u64, avoid: &BTreeSet<String>) -> Option<Job> {
    shared(state, avoid).or_else(|| {
        state.streams.iter().find_map(|(stream, archive)| {
            let segments = own(archive, seal, &|segment| avoid.contains(&segment.key))?;
            Some(Job::Own { stream: stream.clone(), segments })
        })
    })
}

/// Returns whether a segment's file is so large that it is not merged again: two of them might be larger than `seal`.
pub fn is_final(size: u64, seal: u64) -> bool {
    size > seal / 2
}

/// Returns the segments of a stream at Wasabi that are to become one, of those that the NAS has merged. Replaced
/// objects stay there for months, so it happens seldom: parts that lie in many objects become a segment, and such
/// segments larger ones, as on the NAS. Those for which `leave` says so are left as they are.
pub fn at_wasabi(
    there: &ArchiveState,
    nas: &ArchiveState,
    seal: u64,
    leave: impl Fn(&Segment) -> bool,
) -> Option<Vec<Segment>> {
    let leave = |segment: &Segment| leave(segment) || merged(nas, segment).is_none();
    parts(there, seal, &leave).or_else(|| own(there, seal, &leave))
}

/// Returns the NAS's segments with the messages of one at Wasabi; `None` while they are not all segments of the
/// stream alone: then they are merged once more there, and soon. `None` too where the NAS has let some of them go.
pub fn merged<'a>(nas: &'a ArchiveState, segment: &Segment) -> Option<Vec<&'a Segment>> {
    let Segment { timeline, first_seq, last_seq, .. } = *segment;
    let before = nas.segments.range((timeline, 0)..(timeline, first_seq)).next_back();
    let behind = nas.segments.range((timeline, first_seq)..=(timeline, last_seq));
    let found = before.filter(|(_, before)| before.last_seq >= first_seq).into_iter().chain(behind);
    let found: Vec<&Segment> = found.map(|(_, segment)| segment).collect();
    let mut let_go = nas.retention.expired.iter().filter(|run| run.timeline == timeline);
    let all = found.first().is_some_and(|first| first.first_seq <= segment.first_seq)
        && found.last().is_some_and(|last| last.last_seq >= segment.last_seq)
        && !let_go.any(|run| run.first_seq <= last_seq && run.last_seq >= first_seq);
    (all && found.iter().all(|segment| segment.part.is_none())).then_some(found)
}

/// Returns neighbouring parts: many, enough for a segment of final size, or such that there will be no more of them.
fn parts(
    archive: &ArchiveState,
    seal: u64,
    leave: &impl Fn(&Segment) -> bool,
) -> Option<Vec<Segment>> {
    let current = archive.timeline();
    let (mut run, mut bytes): (Vec<&Segment>, u64) = (Vec::new(), 0);
    let taken = |run: &[&Segment]| run.iter().copied().cloned().collect();
    for segment in archive.segments.values() {
        let other = run.last().is_some_and(|before| before.timeline != segment.timeline);
        let left = leave(segment);
        if !run.is_empty() && (other || (segment.part.is_none() && !left)) {
            return Some(taken(&run));
        }
        if left || segment.part.is_none() {
            (run, bytes) = (Vec::new(), 0);
            continue;
        }
        bytes = bytes.saturating_add(segment.bytes);
        run.push(segment);
        if run.len() >= PARTS || (run.len() > 1 && bytes >= seal) {
            return Some(taken(&run));
        }
    }
    run.last().is_some_and(|last| last.timeline != current).then(|| taken(&run))
}

/// Returns the level of a shared object, and whether it was made for the NAS; `None` of other keys.
fn level(key: &str) -> Option<(u8, bool)> {
    match ArchiveKey::parse(key).ok()? {
        ArchiveKey::Journal { of, .. } => Some((0, of == JournalOf::Secondary)),
        ArchiveKey::Shared { of, level, .. } => Some((level, of == JournalOf::Secondary)),
        _ => None,
    }
}

/// Returns the shared objects of the lowest level that has enough of them.
fn shared(state: &JournalState, avoid: &BTreeSet<String>) -> Option<Job> {
    // By level and age: what Wasabi's journal has brought was there before this one.
    let mut levels: BTreeMap<u8, BTreeMap<(bool, &str), u64>> = BTreeMap::new();
    let segments = state.streams.values().flat_map(|archive| archive.segments.values());
    for segment in segments.filter(|s| s.part.is_some() && !avoid.contains(&s.key)) {
        let Some((level, own)) = level(&segment.key) else { continue };
        let objects = levels.entry(level).or_default();
        *objects.entry((own, &segment.key)).or_default() += segment.bytes;
    }
    for (level, objects) in levels {
        let (mut keys, mut bytes, mut full) = (Vec::new(), 0, false);
        for ((_, key), more) in objects {
            if keys.len() >= 2 && (bytes + more > AT_ONCE || keys.len() >= MOST) {
                full = true;
                break;
            }
            bytes += more;
            keys.push(key.to_owned());
        }
        let many = if level == 0 { ENTRIES } else { FAN };
        if keys.len() >= many || full {
            return Some(Job::Shared { level, keys });
        }
    }
    None
}

/// Returns neighbouring segments of one timeline that are of about the same size, or smaller, and enough of them.
fn own(
    archive: &ArchiveState,
    seal: u64,
    leave: &impl Fn(&Segment) -> bool,
) -> Option<Vec<Segment>> {
    // Size classes: each is sixteen times the one before.
    let class = |segment: &Segment| segment.size.max(1).ilog2() / 4;
    let mut runs: Vec<Vec<&Segment>> = vec![Vec::new()];
    for segment in archive.segments.values() {
        let last = segment.sealed || is_final(segment.size, seal);
        let apart = segment.part.is_some() || last || leave(segment);
        let other = runs
            .last()
            .and_then(|run| run.last())
            .is_some_and(|before| before.timeline != segment.timeline);
        if apart || other {
            runs.push(Vec::new());
        }
        if !apart {
            runs.last_mut().expect("there is always one").push(segment);
        }
    }
    runs.retain(|run| run.len() > 1);
    let classes: BTreeSet<u32> = runs.iter().flatten().map(|s| class(s)).collect();
    for limit in classes {
        for run in &runs {
            for group in run.split(|segment| class(segment) > limit) {
                let mut sum: u64 = 0;
                let fitting = group.iter().take_while(|segment| {
                    sum = sum.saturating_add(segment.size);
                    sum <= seal
                });
                let fitting: Vec<Segment> = fitting.take(MOST).map(|s| Segment::clone(s)).collect();
                let total: u64 = fitting.iter().map(|s| s.size).sum();
                let full = fitting.len() < group.len() && is_final(total, seal);
                if fitting.len() >= FAN || (fitting.len() > 1 && full) {
                    return Some(fitting);
                }
            }
        }
    }
    None
}

/// Returns the parts of a stream in some objects, in runs of neighbours: what one merged part can replace.
pub fn runs<'a>(archive: &'a ArchiveState, keys: &BTreeSet<&str>) -> Vec<Vec<&'a Segment>> {
    let mut runs: Vec<Vec<&Segment>> = Vec::new();
    let mut before: Option<&Segment> = None;
    for segment in archive.segments.values() {
        if segment.part.is_none() || !keys.contains(segment.key.as_str()) {
            before = None;
            continue;
        }
        match (before, runs.last_mut()) {
            (Some(last), Some(run)) if last.timeline == segment.timeline => run.push(segment),
            _ => runs.push(vec![segment]),
        }
        before = Some(segment);
    }
    runs
}
