//! Judges the deliveries and acknowledgements of a consumer's members, from their notes.
//!
//! The server may deliver a message twice for three reasons: the member that had it was lost, or
//! took longer than the server waits, or the host was lost and the restored consumer is further
//! back. The members' notes tell them apart, and lean to the strict side: a batch was requested
//! before the server delivered any of it, and an acknowledgement was confirmed after the server had
//! it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use crate::ledger::EventId;

/// The number of examples shown of each kind.
const EXAMPLES: usize = 3;

/// A delivery of a message to a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Delivery {
    /// Its sequence.
    pub seq: u64,
    /// The event, if it is one.
    pub event: Option<EventId>,
    /// The time at which its batch was requested, in microseconds.
    pub asked: i64,
    /// The time of its arrival.
    pub at: i64,
    /// The server's count of deliveries of the message, this one included.
    pub count: u64,
    /// The time just before the member acknowledged it.
    pub acking: Option<i64>,
    /// The time at which the server had confirmed that.
    pub confirmed: Option<i64>,
}

/// A member, from its start to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Its number in the group, from 1.
    pub number: u32,
    /// The host's life.
    pub epoch: u32,
    /// The time at which it was lost or ended, in microseconds; `None` while it works.
    pub ended: Option<i64>,
    /// The file of its notes.
    pub notes: PathBuf,
}

/// The problems of a group, and the counts.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Findings {
    /// Deliveries, all of them.
    pub received: u64,
    /// Of these, the deliveries of messages that had been delivered before, in the same life.
    pub redelivered: u64,
    /// Of the redelivered, the messages that a lost member had in hand.
    pub taken_over: u64,
    /// Of the redelivered, the messages that were not acknowledged in time.
    pub late: u64,
    /// Deliveries after a restore of messages that had been acknowledged before.
    pub again: u64,
    /// The problems.
    pub wrong: Vec<String>,
}

/// The messages that a group should have received.
#[derive(Debug)]
pub struct Due<'a> {
    /// The events that live on, by sequence.
    pub events: &'a BTreeMap<u64, EventId>,
    /// The consumer's ack floor at the beginning of each of the host's lives.
    pub floors: &'a BTreeMap<u32, u64>,
    /// The host's current life.
    pub epoch: u32,
    /// The server's wait for an acknowledgement, in microseconds.
    pub ack_wait: i64,
}

/// Reads a member's notes. A last line that is cut off is ignored.
pub fn read(notes: &Path) -> Vec<Delivery> {
    // A member that was killed before its first note has no file.
    parse(&std::fs::read_to_string(notes).unwrap_or_default())
}

fn parse(text: &str) -> Vec<Delivery> {
    let (mut deliveries, mut open) = (Vec::<Delivery>::new(), BTreeMap::new());
    let mut asked = 0;
    for line in text.split_inclusive('\n').filter_map(|line| line.strip_suffix('\n')) {
        let words: Vec<&str> = line.split(' ').collect();
        let number = |at: usize| words.get(at).and_then(|word| word.parse::<u64>().ok());
        let Some(at) = number(1).and_then(|at| i64::try_from(at).ok()) else { continue };
        match (words[0], number(2)) {
            ("q", _) => asked = at,
            ("r", Some(seq)) => {
                let (count, event) = (number(3).unwrap_or_default(), number(4));
                open.insert(seq, deliveries.len());
                let delivery =
                    Delivery { seq, event, asked, at, count, acking: None, confirmed: None };
                deliveries.push(delivery);
            }
            ("a", Some(seq)) => {
                if let Some(index) = open.get(&seq) {
                    deliveries[*index].acking = Some(at);
                }
            }
            ("c", Some(seq)) => {
                if let Some(index) = open.get(&seq) {
                    deliveries[*index].confirmed = Some(at);
                }
            }
            _ => {}
        }
    }
    deliveries
}

/// Returns the sequences that a member has and has not begun to acknowledge.
pub fn in_hand(deliveries: &[Delivery]) -> BTreeSet<u64> {
    deliveries.iter().filter(|d| d.acking.is_none()).map(|d| d.seq).collect()
}

/// Judges everything that was delivered to the members of a group.
pub fn judge(members: &[(Member, Vec<Delivery>)], due: &Due<'_>) -> Findings {
    let mut found = Findings::default();
    let mut all: Vec<(&Member, &Delivery)> =
        members.iter().flat_map(|(member, given)| given.iter().map(move |d| (member, d))).collect();
    // By the server's count; members may have received them in another order.
    all.sort_by_key(|(member, d)| (member.epoch, d.seq, d.count, d.at));
    let mut before: BTreeMap<(u32, u64), Vec<(&Member, &Delivery)>> = BTreeMap::new();
    let mut acked: BTreeSet<(u32, u64)> = BTreeSet::new();
    let mut first_acked: BTreeMap<EventId, u32> = BTreeMap::new();
    let mut wrong: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (member, delivery) in &all {
        found.received += 1;
        let (epoch, seq) = (member.epoch, delivery.seq);
        let prior = before.entry((epoch, seq)).or_default();
        let floor = due.floors.get(&epoch).copied().unwrap_or_default();
        if seq <= floor {
            let what = format!("sequence {seq} was given, the consumer stood at {floor}");
            wrong.entry("below the restored position").or_default().push(what);
        }
        let acked_in = delivery.event.and_then(|event| first_acked.get(&event));
        if prior.is_empty() && acked_in.is_some_and(|life| *life < epoch) {
            found.again += 1;
        }
        if delivery.count > 1 || !prior.is_empty() {
            found.redelivered += 1;
            match excuse(members, prior, delivery, due.ack_wait) {
                Ok(Excuse::Lost) => found.taken_over += 1,
                Ok(Excuse::Late) => found.late += 1,
                Err(why) => {
                    let what = format!("sequence {seq}, delivery {}: {why}", delivery.count);
                    wrong.entry("given again without a reason").or_default().push(what);
                }
            }
        }
        if delivery.acking.is_some() {
            acked.insert((epoch, seq));
            if let Some(event) = delivery.event {
                first_acked.entry(event).or_insert(epoch);
            }
        }
        prior.push((member, delivery));
    }
    let given: BTreeSet<EventId> = all.iter().filter_map(|(_, d)| d.event).collect();
    let floor = due.floors.get(&due.epoch).copied().unwrap_or_default();
    for (seq, event) in due.events {
        let missed = if !given.contains(event) {
            "never delivered"
        } else if *seq > floor
            && !acked.contains(&(due.epoch, *seq))
            // A message acknowledged out of order in an earlier life need not come again: the
            // archive may know that.
            && first_acked.get(event).is_none_or(|life| *life >= due.epoch)
        {
            "beyond the restored position and never acknowledged"
        } else {
            continue;
        };
        wrong.entry(missed).or_default().push(format!("sequence {seq} (event {event})"));
    }
    for (what, examples) in wrong {
        let shown = examples.iter().take(EXAMPLES).cloned().collect::<Vec<_>>().join("; ");
        found.wrong.push(format!("{} {what}: {shown}", examples.len()));
    }
    found
}

enum Excuse {
    Lost,
    Late,
}

/// Returns the reason for a repeated delivery; the error says why there is none.
fn excuse(
    members: &[(Member, Vec<Delivery>)],
    prior: &[(&Member, &Delivery)],
    again: &Delivery,
    ack_wait: i64,
) -> Result<Excuse, &'static str> {
    let ended = |member: &Member| member.ended.is_some_and(|ended| ended <= again.at);
    // A lost member may have received it without writing that down.
    let unseen = again.count > prior.len() as u64 + 1;
    if unseen && members.iter().any(|(member, _)| ended(member)) {
        return Ok(Excuse::Lost);
    }
    if unseen {
        return Err("the server counts a delivery that no member received");
    }
    if again.count <= prior.len() as u64 {
        return Err("the server does not count it as given again");
    }
    let first = prior.iter().map(|(_, d)| d.asked).min().unwrap_or(again.at);
    if again.at - first < ack_wait {
        return Err("the server did not wait for its acknowledgement");
    }
    if prior.iter().any(|(member, d)| ended(member) && d.confirmed.is_none()) {
        return Ok(Excuse::Lost);
    }
    let late = |d: &Delivery| d.confirmed.is_none_or(|confirmed| confirmed - d.asked >= ack_wait);
    if prior.iter().any(|(_, d)| late(d)) {
        return Ok(Excuse::Late);
    }
    Err("it had been acknowledged in time")
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAIT: i64 = 1_000_000;

    fn member(number: u32, epoch: u32, ended: Option<i64>) -> Member {
        Member { number, epoch, ended, notes: PathBuf::new() }
    }

    /// Returns a delivery that is acknowledged at once; event `n` is at sequence `n + 1`.
    fn given(seq: u64, at: i64, count: u64) -> Delivery {
        let (acking, confirmed) = (Some(at + 10), Some(at + 20));
        Delivery { seq, event: Some(seq - 1), asked: at - 10, at, count, acking, confirmed }
    }

    /// Returns a delivery that stays in hand.
    fn kept(seq: u64, at: i64) -> Delivery {
        Delivery { acking: None, confirmed: None, ..given(seq, at, 1) }
    }

    fn judged(members: &[(Member, Vec<Delivery>)], last: u64, floors: &[(u32, u64)]) -> Findings {
        let events = (1..=last).map(|seq| (seq, seq - 1)).collect();
        let floors: BTreeMap<u32, u64> = floors.iter().copied().collect();
        let epoch = floors.keys().last().copied().unwrap_or_default();
        judge(members, &Due { events: &events, floors: &floors, epoch, ack_wait: WAIT })
    }

    #[test]
    fn notes_are_read_up_to_where_they_end() {
        let text = "q 5\nr 10 1 1 0\nr 11 2 1 -\na 15 1\nc 16 1\nq 20\nr 21 3 2 7\na 22 3\nr 23 4";
        let read = parse(text);
        assert_eq!(read.len(), 3);
        assert_eq!(
            read[0],
            Delivery { acking: Some(15), confirmed: Some(16), ..given(1, 10, 1) }.with_asked(5)
        );
        assert_eq!((read[1].event, read[1].asked, read[1].acking), (None, 5, None));
        assert_eq!((read[2].event, read[2].asked, read[2].count), (Some(7), 20, 2));
        assert_eq!(in_hand(&read), BTreeSet::from([2]));
    }

    impl Delivery {
        fn with_asked(self, asked: i64) -> Self {
            Self { asked, ..self }
        }
    }

    #[test]
    fn everything_once_is_as_it_should_be() {
        let members = [
            (member(1, 0, None), vec![given(1, 100, 1), given(3, 300, 1)]),
            (member(2, 0, None), vec![given(2, 200, 1)]),
        ];
        assert_eq!(judged(&members, 3, &[]), Findings { received: 3, ..Findings::default() });
    }

    #[test]
    fn what_a_lost_member_had_is_taken_over_seen_or_unseen() {
        let members = [
            (member(1, 0, Some(500)), vec![kept(1, 100)]),
            // Sequence 2 had reached the lost member's socket, and nothing says so.
            (member(2, 0, None), vec![given(1, 100 + WAIT, 2), given(2, 200 + WAIT, 2)]),
        ];
        let found = judged(&members, 2, &[]);
        assert_eq!((found.redelivered, found.taken_over, found.late), (2, 2, 0));
        assert_eq!(found.wrong, Vec::<String>::new());
    }

    #[test]
    fn a_late_acknowledgement_explains_another_delivery_and_one_in_time_does_not() {
        let slow = Delivery { confirmed: Some(100 + 2 * WAIT), ..given(1, 100, 1) };
        let again = given(1, 200 + WAIT, 2);
        let found =
            judged(&[(member(1, 0, None), vec![slow]), (member(2, 0, None), vec![again])], 1, &[]);
        assert_eq!((found.late, found.wrong.len()), (1, 0));
        let quick = given(1, 100, 1);
        let found =
            judged(&[(member(1, 0, None), vec![quick]), (member(2, 0, None), vec![again])], 1, &[]);
        assert_eq!(
            found.wrong,
            [
                "1 given again without a reason: sequence 1, delivery 2: it had been acknowledged in time"
            ]
        );
    }

    #[test]
    fn a_redelivery_that_comes_too_early_or_from_nowhere_is_found() {
        let wrong = |first: Delivery, again: Delivery, ended| {
            let members = [(member(1, 0, ended), vec![first]), (member(2, 0, None), vec![again])];
            judged(&members, 1, &[]).wrong.join(" ")
        };
        assert!(
            wrong(kept(1, 100), given(1, 300, 2), Some(200))
                .ends_with("did not wait for its acknowledgement")
        );
        assert!(
            wrong(kept(1, 100), given(1, 100 + WAIT, 1), Some(200))
                .ends_with("does not count it as given again")
        );
        assert!(
            wrong(given(1, 100, 1), given(1, 100 + WAIT, 3), None)
                .ends_with("that no member received")
        );
    }

    #[test]
    fn a_restored_consumer_gives_again_what_is_beyond_its_position_and_nothing_else() {
        let first =
            (member(1, 0, Some(1000)), vec![given(1, 100, 1), given(2, 200, 1), given(3, 300, 1)]);
        let after = |seqs: &[u64]| {
            let given = seqs.iter().map(|seq| given(*seq, 5000, 1)).collect();
            judged(&[first.clone(), (member(1, 1, None), given)], 4, &[(0, 0), (1, 2)])
        };
        let found = after(&[3, 4]);
        assert_eq!((found.again, found.redelivered, found.wrong.len()), (1, 0, 0));
        assert!(
            after(&[2, 3, 4]).wrong[0].starts_with("1 below the restored position: sequence 2")
        );
        assert!(after(&[4]).wrong.is_empty(), "it was acknowledged before");
        let open =
            (member(1, 0, Some(1000)), vec![given(1, 100, 1), given(2, 200, 1), kept(3, 300)]);
        let last = (member(1, 1, None), vec![given(4, 5000, 1)]);
        assert_eq!(
            judged(&[open, last], 4, &[(0, 0), (1, 2)]).wrong,
            ["1 beyond the restored position and never acknowledged: sequence 3 (event 2)"]
        );
        assert_eq!(after(&[3]).wrong, ["1 never delivered: sequence 4 (event 3)"]);
    }
}
