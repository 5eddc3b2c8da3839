//! The judgement of a stream that copies its messages from others, across leaf-node connections.
//!
//! Its sequences are its own and were never acked, so events are compared and not sequences: every
//! event that was acked at its origin must be present once, unchanged, in its origin's order, and
//! must name its origin.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::fingerprint::{ContentHash, Fingerprint};
use super::judge::{Defect, Finding, Findings};
use crate::ledger::EventId;

/// The expected content of the stream.
pub struct Sources<'a> {
    /// By origin: the acked events, by their sequence there.
    pub acked: Vec<BTreeMap<u64, EventId>>,
    /// By origin: the events that were published and never acked. Present or missing, both are
    /// right.
    pub unacked: Vec<HashSet<EventId>>,
    /// The content fingerprint of an event.
    pub content: &'a dyn Fn(EventId) -> Option<ContentHash>,
    /// The messages read of the same history before, by sequence: time and raw headers must agree.
    pub recorded: &'a BTreeMap<u64, Fingerprint>,
}

/// The origin of an event: the stream it was copied from, and its sequence there if it was acked.
type Origin = (usize, Option<u64>);

/// Compares `found`, in the order in which it was read, with the origins.
pub fn judge(truth: &Sources<'_>, found: &[Fingerprint]) -> Findings {
    let mut origins: HashMap<EventId, Origin> = HashMap::new();
    for (from, events) in truth.unacked.iter().enumerate() {
        origins.extend(events.iter().map(|event| (*event, (from, None))));
    }
    for (from, events) in truth.acked.iter().enumerate() {
        origins.extend(events.iter().map(|(seq, event)| (*event, (from, Some(*seq)))));
    }
    let mut out = Findings { read: found.len() as u64, ..Findings::default() };
    let mut seen: HashSet<EventId> = HashSet::new();
    let (mut last, mut reached) = (0, vec![0; truth.acked.len()]);
    for fingerprint in found {
        let verdict = if fingerprint.seq <= last {
            seen.extend(fingerprint.event);
            Err((Defect::Reordered, fingerprint.event, "its sequence does not ascend"))
        } else {
            last = fingerprint.seq;
            one(truth, &origins, &mut seen, &mut reached, fingerprint)
        };
        match verdict {
            Ok(()) => {
                out.exact += 1;
                out.recorded += u64::from(truth.recorded.contains_key(&fingerprint.seq));
            }
            Err((defect, event, what)) => {
                out.findings.push(Finding { defect, seq: fingerprint.seq, event, what });
            }
        }
    }
    for acked in &truth.acked {
        missing(acked, &seen, &mut out);
    }
    out
}

type Wrong = (Defect, Option<EventId>, &'static str);

fn one(
    truth: &Sources<'_>,
    origins: &HashMap<EventId, Origin>,
    seen: &mut HashSet<EventId>,
    reached: &mut [u64],
    fingerprint: &Fingerprint,
) -> Result<(), Wrong> {
    let Some(event) = fingerprint.event else {
        return Err((Defect::Phantom, None, "it is no event of this run"));
    };
    let Some((from, acked)) = origins.get(&event).copied() else {
        return Err((
            Defect::Phantom,
            Some(event),
            "it was not published to an origin of this stream",
        ));
    };
    let first = seen.insert(event);
    if (truth.content)(event).is_none_or(|content| content != fingerprint.content) {
        return Err((Defect::Changed, Some(event), "its content differs from the published one"));
    }
    if !first {
        return Err((Defect::Duplicated, Some(event), "it exists more than once"));
    }
    if acked.is_some_and(|seq| seq != fingerprint.source) {
        let what = "its origin is another sequence than the one it was acked with";
        return Err((Defect::Changed, Some(event), what));
    }
    if fingerprint.source <= reached[from] {
        return Err((
            Defect::Reordered,
            Some(event),
            "a message that follows it at its origin comes before it here",
        ));
    }
    reached[from] = fingerprint.source;
    match truth.recorded.get(&fingerprint.seq) {
        Some(before) if before.event != fingerprint.event => {
            Err((Defect::Changed, Some(event), "another message was read at its sequence before"))
        }
        Some(before) if before.time != fingerprint.time => {
            Err((Defect::Changed, Some(event), "its time differs"))
        }
        Some(before) if before.raw_headers != fingerprint.raw_headers => {
            Err((Defect::Changed, Some(event), "its raw header block differs"))
        }
        _ => Ok(()),
    }
}

/// Records the missing events of one origin, with their places among those that are present.
fn missing(acked: &BTreeMap<u64, EventId>, seen: &HashSet<EventId>, out: &mut Findings) {
    let there = |(_, event): &(&u64, &EventId)| seen.contains(*event);
    let first = acked.iter().find(there).map(|(seq, _)| *seq);
    let last = acked.iter().rev().find(there).map(|(seq, _)| *seq);
    for (seq, event) in acked.iter().filter(|entry| !there(entry)) {
        match first.zip(last) {
            Some((first, _)) if *seq < first => out.lost_where.prefix += 1,
            Some((_, last)) if *seq < last => out.lost_where.middle += 1,
            _ => out.lost_where.postfix += 1,
        }
        let what = "it was acked at this sequence of the leaf node's stream and is missing";
        let finding = Finding { defect: Defect::Lost, seq: *seq, event: Some(*event), what };
        out.findings.push(finding);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oracle::judge::LostWhere;

    /// Events 0 to 9 were acked at sequences 1 to 10 of one stream, 20 to 24 at 1 to 5 of another; 10
    /// was published to the first and never acked.
    fn content(event: EventId) -> Option<ContentHash> {
        (event < 100).then_some(ContentHash { subject: event, headers: event, payload: event })
    }

    fn fingerprint(seq: u64, event: EventId, source: u64) -> Fingerprint {
        Fingerprint {
            seq,
            time: i64::try_from(1000 + seq).unwrap(),
            event: Some(event),
            content: ContentHash { subject: event, headers: event, payload: event },
            raw_headers: event,
            stored: 0,
            source,
        }
    }

    /// Returns the two streams' messages in turn, as long as both have some.
    fn good() -> Vec<Fingerprint> {
        let turns = (0..5).flat_map(|n| [(n, n + 1), (20 + n, n + 1)]);
        let places = turns.chain((5..10).map(|n| (n, n + 1)));
        (1..).zip(places).map(|(seq, (event, source))| fingerprint(seq, event, source)).collect()
    }

    fn with(found: &[Fingerprint]) -> Findings {
        let recorded = good().into_iter().map(|p| (p.seq, p)).collect();
        let truth = Sources {
            acked: vec![
                (0..10).map(|event| (event + 1, event)).collect(),
                (20..25).map(|event| (event - 19, event)).collect(),
            ],
            unacked: vec![[10].into(), HashSet::new()],
            content: &content,
            recorded: &recorded,
        };
        judge(&truth, found)
    }

    fn defects(findings: &Findings) -> Vec<(Defect, Option<EventId>)> {
        findings.findings.iter().map(|f| (f.defect, f.event)).collect()
    }

    #[test]
    fn what_is_as_it_should_be_has_no_findings() {
        let findings = with(&good());
        assert_eq!(defects(&findings), []);
        assert_eq!((findings.read, findings.exact, findings.recorded), (15, 15, 15));
        // The same events in another order between the origins, which is not promised.
        let mut mixed = good();
        mixed.sort_by_key(|p| p.event);
        for (seq, fingerprint) in (101..).zip(&mut mixed) {
            fingerprint.seq = seq;
        }
        assert_eq!(defects(&with(&mixed)), []);
    }

    #[test]
    fn a_lost_event_is_found_and_placed() {
        for (event, place) in [
            (0, LostWhere { prefix: 1, ..LostWhere::default() }),
            (23, LostWhere { middle: 1, ..LostWhere::default() }),
            (9, LostWhere { postfix: 1, ..LostWhere::default() }),
        ] {
            let mut found = good();
            found.retain(|p| p.event != Some(event));
            let findings = with(&found);
            assert_eq!(defects(&findings), [(Defect::Lost, Some(event))]);
            assert_eq!(findings.lost_where, place);
        }
        assert_eq!(with(&[]).lost_where.postfix, 15);
    }

    #[test]
    fn a_duplicate_is_found() {
        let mut found = good();
        found.push(fingerprint(16, 3, 4));
        assert_eq!(defects(&with(&found)), [(Defect::Duplicated, Some(3))]);
    }

    #[test]
    fn an_event_out_of_its_streams_order_is_found() {
        let mut found = good();
        (found[0], found[2]) = (fingerprint(1, 1, 2), fingerprint(3, 0, 1));
        assert_eq!(
            defects(&with(&found))[..],
            [(Defect::Changed, Some(1)), (Defect::Reordered, Some(0))]
        );
        found[5].seq = 2;
        assert!(defects(&with(&found)).contains(&(Defect::Reordered, Some(22))));
    }

    #[test]
    fn every_kind_of_change_is_found() {
        let changes: [fn(&mut Fingerprint); 5] = [
            |p| p.content.payload = 77,
            |p| p.source += 1,
            |p| p.source = 0,
            |p| p.time += 1,
            |p| p.raw_headers = 77,
        ];
        for change in changes {
            let mut found = good();
            change(&mut found[14]);
            assert_eq!(defects(&with(&found)), [(Defect::Changed, Some(9))]);
        }
    }

    #[test]
    fn a_phantom_is_found_and_an_event_without_an_ack_is_none() {
        let mut found = good();
        found.push(fingerprint(16, 10, 11));
        assert_eq!(defects(&with(&found)), []);
        found.push(fingerprint(17, 50, 12));
        assert_eq!(defects(&with(&found)), [(Defect::Phantom, Some(50))]);
        found[16].event = None;
        assert_eq!(defects(&with(&found)), [(Defect::Phantom, None)]);
    }
}
