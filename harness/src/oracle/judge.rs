//! The judgement: compares the expected messages with those that were read.
//!
//! This module neither reads nor waits; it compares fingerprints. So every defect that a storage manager
//! could have can be given to it by hand, and the tests below do.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use super::fingerprint::{ContentHash, Fingerprint};
use crate::ledger::EventId;

/// The expected content of one stream.
pub struct Truth<'a> {
    /// The acked events that must be there, by sequence.
    pub expected: BTreeMap<u64, EventId>,
    /// Sequences that were deleted and must be gone.
    pub deleted: BTreeSet<u64>,
    /// Sequences whose delete may have come too late: present or missing, both are right.
    pub maybe_deleted: BTreeSet<u64>,
    /// Events that were published and never acked: present or missing, both are right.
    pub unacked: HashSet<EventId>,
    /// The content fingerprint of an event.
    pub content: &'a dyn Fn(EventId) -> Option<ContentHash>,
    /// The messages read of the same history before, by sequence: time and raw headers must agree.
    pub recorded: &'a BTreeMap<u64, Fingerprint>,
    /// True if the stream copies its messages from others and they carry a source header.
    pub taken: bool,
}

/// The kind of a defect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Defect {
    /// An acked event is missing.
    Lost,
    /// An event is there more than once.
    Duplicated,
    /// An event is there, at another sequence, or out of order.
    Reordered,
    /// A message is there with another subject, header, payload or time.
    Changed,
    /// A message is there that should not be.
    Phantom,
}

/// One defect of one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Its kind.
    pub defect: Defect,
    /// Its sequence.
    pub seq: u64,
    /// The event, if it is one.
    pub event: Option<EventId>,
    /// An explanation for people.
    pub what: &'static str,
}

/// The explanation for a deleted message that is present: the one defect that time may heal, at a
/// tier.
pub(crate) const BACK: &str = "it was deleted and is back";

/// The places in the stream where events are missing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct LostWhere {
    /// Before the first message that is present.
    pub prefix: u64,
    /// Between messages that are present.
    pub middle: u64,
    /// After the last message that is present.
    pub postfix: u64,
}

/// The result of a judgement.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Findings {
    /// The number of messages read.
    pub read: u64,
    /// The number of messages without a defect.
    pub exact: u64,
    /// Of these, the number whose time was known from before.
    pub recorded: u64,
    /// All defects.
    pub findings: Vec<Finding>,
    /// The places of the lost messages.
    pub lost_where: LostWhere,
}

impl Findings {
    /// Returns the number of defects of a kind.
    pub fn count(&self, defect: Defect) -> u64 {
        self.findings.iter().filter(|f| f.defect == defect).count() as u64
    }
}

/// Compares `found`, in the order in which it was read, with the truth.
pub fn judge(truth: &Truth<'_>, found: &[Fingerprint]) -> Findings {
    let places: HashMap<EventId, u64> =
        truth.expected.iter().map(|(seq, event)| (*event, *seq)).collect();
    let mut out = Findings { read: found.len() as u64, ..Findings::default() };
    let mut seen: HashSet<EventId> = HashSet::new();
    let mut last = 0;
    for fingerprint in found {
        let verdict = if fingerprint.seq <= last {
            seen.extend(fingerprint.event);
            Err((Defect::Reordered, fingerprint.event, "its sequence does not ascend"))
        } else {
            last = fingerprint.seq;
            one(truth, &places, &mut seen, fingerprint)
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
    let bounds = found.iter().map(|p| p.seq).min().zip(found.iter().map(|p| p.seq).max());
    for (seq, event) in &truth.expected {
        let excused = truth.deleted.contains(seq) || truth.maybe_deleted.contains(seq);
        if excused || seen.contains(event) {
            continue;
        }
        match bounds {
            Some((first, _)) if *seq < first => out.lost_where.prefix += 1,
            Some((_, last)) if *seq < last => out.lost_where.middle += 1,
            _ => out.lost_where.postfix += 1,
        }
        let what = "it was acked and is missing";
        let finding = Finding { defect: Defect::Lost, seq: *seq, event: Some(*event), what };
        out.findings.push(finding);
    }
    out
}

type Wrong = (Defect, Option<EventId>, &'static str);

fn one(
    truth: &Truth<'_>,
    places: &HashMap<EventId, u64>,
    seen: &mut HashSet<EventId>,
    fingerprint: &Fingerprint,
) -> Result<(), Wrong> {
    let genuine =
        |event| (truth.content)(event).is_some_and(|content| content == fingerprint.content);
    let expected = truth.expected.get(&fingerprint.seq).copied();
    // A damaged payload may carry another event's number, or none: then the sequence decides.
    let event = match (fingerprint.event, expected) {
        (Some(event), _) if genuine(event) => event,
        (said, Some(expected)) => {
            seen.insert(expected);
            return Err(changed(truth, expected, said, fingerprint));
        }
        (Some(event), None) => {
            let known = places.contains_key(&event) || truth.unacked.contains(&event);
            let (defect, what) = if known {
                (Defect::Changed, "its content differs from the published one")
            } else {
                (Defect::Phantom, "it was never published")
            };
            seen.insert(event);
            return Err((defect, Some(event), what));
        }
        (None, None) => return Err((Defect::Phantom, None, "it is no event of this run")),
    };
    if !seen.insert(event) {
        return Err((Defect::Duplicated, Some(event), "it exists more than once"));
    }
    match places.get(&event) {
        Some(place) if *place != fingerprint.seq => {
            return Err((Defect::Reordered, Some(event), "it was acked with another sequence"));
        }
        Some(_) if truth.deleted.contains(&fingerprint.seq) => {
            return Err((Defect::Phantom, Some(event), BACK));
        }
        Some(_) => {}
        None if truth.unacked.contains(&event) => {}
        None => {
            return Err((Defect::Phantom, Some(event), "it does not belong to this history"));
        }
    }
    if fingerprint.source > 0 && !truth.taken {
        return Err((Defect::Changed, Some(event), "it names another stream as its origin"));
    }
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

fn changed(
    truth: &Truth<'_>,
    event: EventId,
    said: Option<EventId>,
    fingerprint: &Fingerprint,
) -> Wrong {
    let what = match (truth.content)(event) {
        _ if said.is_none() => "its payload is unreadable",
        Some(content) if content.subject != fingerprint.content.subject => "its subject differs",
        Some(content) if content.headers != fingerprint.content.headers => "its headers differ",
        _ => "its payload differs",
    };
    (Defect::Changed, Some(event), what)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns the content of event `n`, which is acked at sequence `n + 1`.
    fn content(event: EventId) -> Option<ContentHash> {
        (event < 100).then_some(ContentHash { subject: event, headers: event, payload: event })
    }

    fn fingerprint(seq: u64, event: EventId) -> Fingerprint {
        Fingerprint {
            seq,
            time: i64::try_from(1000 + seq).unwrap(),
            event: Some(event),
            content: ContentHash { subject: event, headers: event, payload: event },
            raw_headers: event,
            stored: 0,
            source: 0,
        }
    }

    fn good() -> Vec<Fingerprint> {
        (0..10).map(|event| fingerprint(event + 1, event)).collect()
    }

    struct Case {
        deleted: Vec<u64>,
        maybe_deleted: Vec<u64>,
        unacked: Vec<EventId>,
    }

    const PLAIN: Case =
        Case { deleted: Vec::new(), maybe_deleted: Vec::new(), unacked: Vec::new() };

    fn with(case: &Case, found: &[Fingerprint]) -> Findings {
        let recorded = good().into_iter().map(|p| (p.seq, p)).collect();
        let truth = Truth {
            expected: (0..10).map(|event| (event + 1, event)).collect(),
            deleted: case.deleted.iter().copied().collect(),
            maybe_deleted: case.maybe_deleted.iter().copied().collect(),
            unacked: case.unacked.iter().copied().collect(),
            content: &content,
            recorded: &recorded,
            taken: false,
        };
        judge(&truth, found)
    }

    fn defects(findings: &Findings) -> Vec<(Defect, u64, &'static str)> {
        findings.findings.iter().map(|f| (f.defect, f.seq, f.what)).collect()
    }

    #[test]
    fn what_is_as_it_should_be_has_no_findings() {
        let findings = with(&PLAIN, &good());
        assert_eq!(defects(&findings), []);
        assert_eq!((findings.read, findings.exact, findings.recorded), (10, 10, 10));
    }

    #[test]
    fn a_lost_event_is_found_and_placed() {
        for (lost, place) in [
            (0, LostWhere { prefix: 1, ..LostWhere::default() }),
            (4, LostWhere { middle: 1, ..LostWhere::default() }),
            (9, LostWhere { postfix: 1, ..LostWhere::default() }),
        ] {
            let mut found = good();
            found.remove(lost);
            let findings = with(&PLAIN, &found);
            let seq = lost as u64 + 1;
            assert_eq!(defects(&findings), [(Defect::Lost, seq, "it was acked and is missing")]);
            assert_eq!(findings.lost_where, place);
        }
        assert_eq!(with(&PLAIN, &[]).lost_where.postfix, 10);
    }

    #[test]
    fn a_hole_in_the_tail_is_a_loss() {
        let mut found = good();
        found.remove(8);
        assert_eq!(with(&PLAIN, &found).lost_where.middle, 1);
    }

    #[test]
    fn a_duplicate_is_found() {
        let mut found = good();
        found.push(fingerprint(11, 3));
        assert_eq!(
            defects(&with(&PLAIN, &found)),
            [(Defect::Duplicated, 11, "it exists more than once")]
        );
    }

    #[test]
    fn swapped_and_shifted_events_are_found() {
        let mut found = good();
        (found[2], found[3]) = (fingerprint(3, 3), fingerprint(4, 2));
        let findings = with(&PLAIN, &found);
        assert_eq!(findings.count(Defect::Reordered), 2);
        assert_eq!(findings.count(Defect::Lost), 0);
        // The stream was renumbered: a gap closed.
        let shifted: Vec<_> = (0..10).map(|event| fingerprint(event + 2, event)).collect();
        assert_eq!(with(&PLAIN, &shifted).count(Defect::Reordered), 10);
    }

    #[test]
    fn a_sequence_that_does_not_ascend_is_found() {
        let mut found = good();
        found.swap(2, 3);
        assert_eq!(
            defects(&with(&PLAIN, &found)),
            [(Defect::Reordered, 3, "its sequence does not ascend")]
        );
    }

    #[test]
    fn every_kind_of_change_is_found() {
        type Change = fn(&mut Fingerprint);
        let changes: [(Change, &str); 8] = [
            (|p| p.content.payload = 77, "its payload differs"),
            (|p| p.content.subject = 77, "its subject differs"),
            (|p| p.content.headers = 77, "its headers differ"),
            (|p| p.time += 1, "its time differs"),
            (|p| p.source = 3, "it names another stream as its origin"),
            (|p| p.raw_headers = 77, "its raw header block differs"),
            (
                |p| {
                    p.event = None;
                    p.content.payload = 77;
                },
                "its payload is unreadable",
            ),
            // A digit of its number has flipped.
            (
                |p| {
                    p.event = Some(7);
                    p.content.payload = 77;
                },
                "its payload differs",
            ),
        ];
        for (change, what) in changes {
            let mut found = good();
            change(&mut found[4]);
            assert_eq!(defects(&with(&PLAIN, &found)), [(Defect::Changed, 5, what)]);
        }
    }

    #[test]
    fn a_phantom_is_found() {
        let mut stranger = fingerprint(11, 0);
        stranger.event = None;
        stranger.content.payload = 77;
        let mut found = good();
        found.push(stranger);
        assert_eq!(
            defects(&with(&PLAIN, &found)),
            [(Defect::Phantom, 11, "it is no event of this run")]
        );
        // Published in a life of the host that is over, and lost with it.
        found[10] = fingerprint(11, 50);
        assert_eq!(
            defects(&with(&PLAIN, &found)),
            [(Defect::Phantom, 11, "it does not belong to this history")]
        );
        // Never published at all.
        found[10] = fingerprint(11, 500);
        assert_eq!(
            defects(&with(&PLAIN, &found)),
            [(Defect::Phantom, 11, "it was never published")]
        );
    }

    #[test]
    fn what_was_never_acked_may_be_there_once_and_only_unchanged() {
        let case = Case { unacked: vec![50], ..PLAIN };
        let mut found = good();
        found.push(fingerprint(11, 50));
        assert_eq!(defects(&with(&case, &found)), []);
        assert_eq!(defects(&with(&case, &good())), []);
        found.push(fingerprint(12, 50));
        assert_eq!(with(&case, &found).count(Defect::Duplicated), 1);
        found.pop();
        found[10].content.payload = 77;
        assert_eq!(with(&case, &found).count(Defect::Changed), 1);
    }

    #[test]
    fn an_unacked_event_in_an_acked_ones_place_is_a_loss() {
        let case = Case { unacked: vec![50], ..PLAIN };
        let mut found = good();
        found[4] = fingerprint(5, 50);
        let findings = with(&case, &found);
        assert_eq!(findings.count(Defect::Lost), 1);
        assert_eq!(findings.count(Defect::Changed), 1);
    }

    #[test]
    fn deletes_must_survive_unless_they_came_too_late() {
        let mut without = good();
        without.remove(4);
        let case = Case { deleted: vec![5], ..PLAIN };
        assert_eq!(defects(&with(&case, &without)), []);
        assert_eq!(
            defects(&with(&case, &good())),
            [(Defect::Phantom, 5, "it was deleted and is back")]
        );
        let case = Case { maybe_deleted: vec![5], ..PLAIN };
        assert_eq!(defects(&with(&case, &without)), []);
        assert_eq!(defects(&with(&case, &good())), []);
    }
}
