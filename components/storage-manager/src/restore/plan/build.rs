//! Works out a restore from the archive's state.

use std::collections::BTreeMap;

use cim_core::archive::journal::Expired;
use cim_core::archive::{ArchiveState, DeletesKnown, LastMessage, SeqRange, SeqRanges};
use cim_core::names::StreamName;
use jiff::Timestamp;
use serde_json::Value;

use super::stream_config::{at_most, lift_limits};
use super::{Capabilities, FirstLater, Options, Piece, Plan, PlanError};
use crate::hooks::sabotage;
use crate::restore::detach::{detach, without_schedules};
use crate::restore::removal::rolls_up;
use crate::restore::rolled_up::{RolledUp, Tail, UNKNOWN};

/// Segments whose footers are read only to be able to say that a clock was set back: some gigabytes.
const LOOKED_AT: usize = 256;

/// Returns the pieces of a timeline and of those that stand in for its end, ascending.
pub(in crate::restore) fn pieces(
    state: &ArchiveState,
    timeline: u32,
    stand_ins: &[(u32, SeqRange)],
    first_seq: u64,
    last_seq: u64,
) -> Vec<Piece> {
    let own = state.pieces(timeline, first_seq, last_seq).into_iter();
    let others = stand_ins.iter().flat_map(|(other, SeqRange { first, last })| {
        state.pieces(*other, first_seq.max(*first), last_seq.min(*last))
    });
    let all = own.chain(others);
    all.map(|piece| (piece.segment.clone(), piece.first_seq, piece.last_seq)).collect()
}

/// Returns where a timeline begins in the archive, from `wanted` on, and what has left it by rule behind that.
fn kept(
    stream: &StreamName,
    state: &ArchiveState,
    timeline: u32,
    wanted: u64,
) -> Result<(u64, Vec<Expired>), PlanError> {
    let expired = state.expired_in(timeline).into_iter().filter(|run| run.last_seq >= wanted);
    let expired: Vec<Expired> = expired.cloned().collect();
    if let Some(last) = expired.last().filter(|_| state.has_left(timeline)) {
        let (stream, rule, at) = (stream.clone(), last.rule.clone(), last.at);
        return Err(PlanError::Left { stream, timeline, last_seq: last.last_seq, rule, at });
    }
    Ok((wanted.max(state.kept_from(timeline)), expired))
}

/// Returns what is gone from a timeline, and from those that stand in for its end.
fn gone(state: &ArchiveState, timeline: u32, stand_ins: &[(u32, SeqRange)]) -> SeqRanges {
    let mut gone = state.removed(timeline);
    for (number, SeqRange { first, last }) in stand_ins {
        let of_its_own = state.removed(*number).intersect(*first, *last);
        of_its_own.iter().for_each(|range| gone.insert(range));
    }
    gone
}

/// Works out a restore.
pub fn plan(
    stream: &StreamName,
    state: &ArchiveState,
    options: &Options,
) -> Result<Plan, PlanError> {
    let timeline = options.timeline.unwrap_or(state.timeline());
    let Some(history) = state.timelines.get(&timeline) else {
        let (stream, last) = (stream.clone(), state.timeline());
        return Err(PlanError::NoTimeline { stream, timeline, last });
    };
    let wanted = if options.with_dropped { 1 } else { history.state.first_seq.max(1) };
    let (first_seq, expired) = kept(stream, state, timeline, wanted)?;
    // A timeline that is asked for is that one alone.
    let stand_ins = if options.timeline.is_none() { state.stand_ins(timeline) } else { Vec::new() };
    let end = stand_ins.last().map_or(history, |(number, _)| &state.timelines[number]);
    let watermark = sabotage!(last_sequence, end.watermark.seq);
    let mut last_seq = options.until_seq.map_or(watermark, |seq| seq.min(watermark));
    let mut pieces = pieces(state, timeline, &stand_ins, first_seq, last_seq);
    let (mut later, mut rest) = (None, Vec::new());
    if let Some(until) = options.until_time {
        // Nothing from the first message on that is later; which one that is, reading will tell.
        let is_later =
            |(segment, first, _): &Piece| segment.first_time > until && *first <= segment.first_seq;
        let at = pieces.iter().position(is_later).unwrap_or(pieces.len());
        rest = pieces.split_off(at);
        later =
            rest.first().map(|(segment, ..)| FirstLater { seq: segment.first_seq, back: false });
        let back = rest.iter().any(|(segment, ..)| segment.last_time <= until);
        later = later.map(|later| FirstLater { back, ..later });
        last_seq = pieces.last().map_or(0, |(_, _, last)| *last).min(last_seq);
    }
    let gone =
        if options.with_dropped { SeqRanges::default() } else { gone(state, timeline, &stand_ins) };
    let target = options.rename.clone().unwrap_or_else(|| stream.clone());
    let (record, consumers) = state.stream_of(timeline);
    let mut config = record.config.value();
    let deletes_known = state.deletes_known.clone().filter(|_| timeline == state.timeline());
    let tail = (!options.with_dropped && rolls_up(&config))
        .then(|| tail(deletes_known.as_ref(), history.watermark.last.as_ref()))
        .flatten();
    let (mut consumers, mut left_out) = (consumers.to_vec(), Vec::new());
    if options.with_dropped {
        lift_limits(&mut config);
        // Those that have fired come back too, and would fire again.
        left_out.extend(without_schedules(&mut config));
    }
    if target != *stream && !options.keep_links {
        left_out.splice(..0, detach(&mut config, &mut consumers));
    }
    config["name"] = Value::from(target.as_str());
    if let Some(subjects) = &options.subjects {
        config["subjects"] = Value::from(subjects.clone());
    }
    if let Some(replicas) = options.replicas {
        config["num_replicas"] = Value::from(replicas);
        for consumer in &mut consumers {
            consumer.config = at_most(&consumer.config, replicas);
        }
    }
    let last = match &end.watermark.last {
        _ if options.until_time.is_some() => None,
        Some(last) if last.seq <= last_seq => Some(last.clone()),
        _ => {
            let ends = |(segment, _, last): &Piece| segment.last.seq <= *last;
            pieces.last().filter(|piece| ends(piece)).map(|piece| piece.0.last.clone())
        }
    };
    let all = last_seq == watermark && options.subject.is_none() && !options.with_dropped;
    Ok(Plan {
        stream: stream.clone(),
        target,
        config,
        created: record.created,
        timeline,
        stand_ins,
        first_seq,
        last_seq,
        given_out: given_out(state, timeline),
        followers: Vec::new(),
        fence: None,
        last_time: end.watermark.last.as_ref().map_or(0, |last| nanoseconds(last.time)),
        last,
        counts: (all && expired.is_empty()).then(|| history.state.clone()),
        expired,
        pieces,
        removed: gone.intersect(first_seq, u64::MAX),
        tail,
        rolled_up: RolledUp::default(),
        partial_batch: None,
        resolved: false,
        deletes_known,
        archived_at: state.committed_at,
        until_time: options.until_time.map(nanoseconds),
        later,
        segments_after: rest.into_iter().map(|(segment, ..)| segment).take(LOOKED_AT).collect(),
        subject: options.subject.clone(),
        consumers,
        // Of a timeline that was left it is not known any more.
        deliveries: if timeline == state.timeline() {
            state.deliveries.clone()
        } else {
            BTreeMap::new()
        },
        erased: erased(state, timeline, first_seq, last_seq),
        left_out,
        staged: options.staged,
        capabilities: Capabilities::default(),
    })
}

/// Returns how many messages were erased of a timeline between two sequences, and why. What two tiers, or two runs, say of
/// the same message counts once.
fn erased(
    state: &ArchiveState,
    timeline: u32,
    first_seq: u64,
    last_seq: u64,
) -> Vec<(u64, String)> {
    let all = state.erased_between(timeline, first_seq, last_seq);
    let (mut said, mut counted) = (BTreeMap::new(), SeqRanges::default());
    for (_, note) in state.erasures() {
        for (number, _) in state.lineage(timeline) {
            let its = note.of(number);
            let new = all.difference(&counted);
            let new: SeqRanges = new
                .iter()
                .flat_map(|SeqRange { first: from, last: to }| its.within(from, to))
                .collect();
            *said.entry(note.reason.clone()).or_insert(0) += new.count();
            new.iter().for_each(|range| counted.insert(range));
        }
    }
    said.into_iter().filter(|(_, count)| *count > 0).map(|(why, count)| (count, why)).collect()
}

/// Returns where the messages begin that may have taken others away without the archive's knowing of it.
fn tail(deletes_known: Option<&DeletesKnown>, last: Option<&LastMessage>) -> Option<Tail> {
    if let Some(known) = deletes_known {
        return Some(Tail::Behind(known.seq));
    }
    Some(Tail::Since(last?.time.checked_sub(UNKNOWN).unwrap_or(Timestamp::MIN)))
}

/// Returns the last sequence that a stream is known to have given out, in a timeline or in one that shares a beginning
/// with it.
fn given_out(state: &ArchiveState, timeline: u32) -> u64 {
    let root = |timeline| state.lineage(timeline).first().map(|(root, _)| *root);
    let root_of_this = root(timeline);
    let related = state.timelines.iter().filter(|(number, _)| root(**number) == root_of_this);
    related.map(|(_, found)| found.watermark.seq.max(found.state.last_seq)).max().unwrap_or(0)
}

fn nanoseconds(time: Timestamp) -> i64 {
    let nanoseconds = time.as_nanosecond().clamp(i64::MIN.into(), i64::MAX.into());
    i64::try_from(nanoseconds).expect("it was just clamped")
}

#[cfg(test)]
mod tests {
    use cim_core::archive::{Entry, Fork, Sha256};
    use serde_json::json;

    use super::*;

    /// Returns an archive whose timeline 1 goes to 100 with 31 to 50 damaged; timeline 2, which archives them anew, is
    /// incomplete.
    fn archive(reached: u64) -> ArchiveState {
        let (time, none) = ("2026-01-01T00:00:00Z", Sha256::of(b""));
        let message = |seq: u64| json!({ "seq": seq, "time": time, "sha256": none });
        let segment = |timeline: u32, first: u64, last: u64| {
            json!({
                "key": format!("{timeline}-{first}"), "timeline": timeline,
                "first_seq": first, "last_seq": last, "first_time": time, "last_time": time,
                "messages": last - first + 1, "bytes": 1, "size": 1, "sha256": none,
                "last": message(last), "sealed": false,
            })
        };
        let counts = json!({ "first_seq": 5, "last_seq": 120, "messages": 110, "bytes": 1 });
        let watermark = |seq: u64| json!({ "seq": seq, "last": message(seq) });
        let anew = json!({ "reason": Fork::ANEW, "parent": { "timeline": 1, "last_seq": 30 } });
        let entry = json!({
            "format": 3, "number": 0, "committed_at": time, "writer": "t", "timeline": 2,
            "watermark": watermark(reached), "state": counts, "consumers": [],
            "stream": { "created": time, "config": {} },
            "checkpoint": {
                "segments": [
                    segment(1, 1, 30), segment(1, 31, 50), segment(1, 51, 100),
                    segment(2, 31, reached),
                ],
                "timelines": [
                    {
                        "number": 1, "fork": { "reason": "created" }, "watermark": watermark(100),
                        "state": counts, "deleted": [[20, 21], [40, 41], [60, 61]],
                    },
                    {
                        "number": 2, "fork": anew, "watermark": watermark(reached),
                        "state": counts, "deleted": [[45, 45]],
                    },
                ],
            },
        });
        let entry: Entry = serde_json::from_str(&entry.to_string()).unwrap();
        ArchiveState::open(&entry, Sha256::of(b"")).unwrap()
    }

    fn planned(reached: u64, options: &Options) -> Plan {
        plan(&"S".parse().unwrap(), &archive(reached), options).unwrap()
    }

    fn shown(plan: &Plan) -> Vec<(&str, u64, u64)> {
        plan.pieces.iter().map(|(segment, from, to)| (&segment.key[..], *from, *to)).collect()
    }

    #[test]
    fn what_is_not_archived_anew_yet_comes_from_where_it_was() {
        let all = planned(55, &Options::default());
        assert_eq!(shown(&all), [("1-1", 5, 30), ("2-31", 31, 55), ("1-51", 56, 100)]);
        assert_eq!((all.timeline, all.last_seq), (2, 100));
        assert_eq!(all.last.as_ref().map(|last| last.seq), Some(100));
        let gone: Vec<_> = all.removed.iter().map(|range| (range.first, range.last)).collect();
        assert_eq!(gone, [(20, 21), (45, 45), (60, 61)]);
        let early = planned(55, &Options { until_seq: Some(60), ..Options::default() });
        assert_eq!(shown(&early), [("1-1", 5, 30), ("2-31", 31, 55), ("1-51", 56, 60)]);
        // Who names a timeline gets that one alone.
        let named = planned(55, &Options { timeline: Some(2), ..Options::default() });
        assert_eq!((shown(&named), named.last_seq), (vec![("1-1", 5, 30), ("2-31", 31, 55)], 55));
    }

    #[test]
    fn what_is_archived_anew_to_its_end_stands_for_itself() {
        for reached in [100, 110] {
            let all = planned(reached, &Options::default());
            assert_eq!(shown(&all), [("1-1", 5, 30), ("2-31", 31, reached)]);
            assert_eq!((all.last_seq, all.stand_ins.len()), (reached, 0));
        }
    }
}
