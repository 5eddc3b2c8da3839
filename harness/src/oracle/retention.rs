//! Retention: the messages that a stream need not have any more, because its consumers are done
//! with them or a newer message has replaced them.
//!
//! A message that is done before a tier could read it is gone by design. So it may be missing or
//! present, in the stream, in a tier and in a restored stream; messages that no consumer has
//! acknowledged must be present.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use serde_json::Value;

use crate::ledger::EventId;

/// The time for which a stream keeps a message.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Keeps {
    /// Until a limit drops it.
    #[default]
    Limits,
    /// Until every consumer has acknowledged it.
    Interest,
    /// Until its worker has acknowledged it.
    WorkQueue,
}

/// The retention that a stream's configuration asks for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Retention {
    keeps: Keeps,
    /// The most messages per subject.
    per_subject: Option<u64>,
}

/// The consumers' work on a stream's messages.
pub struct Work<'a> {
    /// By consumer, a check whether it may have acknowledged a message.
    pub acked: &'a [&'a dyn Fn(u64) -> bool],
    /// The subject of an event.
    pub subject: &'a dyn Fn(EventId) -> Option<String>,
    /// Events that were published and never acked: they may have been stored after everything else.
    pub unacked: &'a HashSet<EventId>,
}

impl Retention {
    /// Reads the retention from a configuration as a server fingerprints it.
    pub fn of(config: &Value) -> Self {
        let keeps = match config["retention"].as_str() {
            Some("interest") => Keeps::Interest,
            Some("workqueue") => Keeps::WorkQueue,
            _ => Keeps::Limits,
        };
        let per_subject = config["max_msgs_per_subject"].as_u64().filter(|limit| *limit > 0);
        Self { keeps, per_subject }
    }

    /// Reports whether it lets any message go.
    pub fn any(self) -> bool {
        self != Self::default()
    }

    /// Reports whether it is a work queue's, which takes no consumers but its workers.
    pub fn is_work_queue(self) -> bool {
        self.keeps == Keeps::WorkQueue
    }

    /// Reports whether a tier must have the messages that consumers are done with. A stream with
    /// interest retention can have one more consumer, which acknowledges a message when a tier has
    /// it.
    pub fn archived_whole(self) -> bool {
        self.keeps == Keeps::Interest
    }

    /// Returns the sequences of a history that may be gone.
    pub fn gone(self, history: &BTreeMap<u64, EventId>, work: &Work<'_>) -> BTreeSet<u64> {
        let acked = |seq: u64| match self.keeps {
            Keeps::Limits => false,
            Keeps::WorkQueue => work.acked.iter().any(|acked| acked(seq)),
            // A message without an interested consumer is gone at once.
            Keeps::Interest => work.acked.iter().all(|acked| acked(seq)),
        };
        let mut gone: BTreeSet<u64> = history.keys().copied().filter(|seq| acked(*seq)).collect();
        if let Some(limit) = self.per_subject {
            let mut newer: HashMap<String, u64> = HashMap::new();
            for subject in work.unacked.iter().filter_map(|event| (work.subject)(*event)) {
                *newer.entry(subject).or_default() += 1;
            }
            for (seq, event) in history.iter().rev() {
                let Some(subject) = (work.subject)(*event) else { continue };
                let newer = newer.entry(subject).or_default();
                if *newer >= limit {
                    gone.insert(*seq);
                }
                *newer += 1;
            }
        }
        gone
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Returns the gone sequences of ten events; event `n` is at sequence `n + 1`, subjects are `a`
    /// and `b` in turn.
    fn gone(config: &Value, acked: &[&dyn Fn(u64) -> bool], unacked: &[EventId]) -> Vec<u64> {
        let history = (0..10).map(|event| (event + 1, event)).collect();
        let subject =
            |event: EventId| Some(if event.is_multiple_of(2) { "a" } else { "b" }.to_owned());
        let unacked = unacked.iter().copied().collect();
        let work = Work { acked, subject: &subject, unacked: &unacked };
        Retention::of(config).gone(&history, &work).into_iter().collect()
    }

    #[test]
    fn what_a_worker_has_acknowledged_may_be_gone_and_nothing_else() {
        let queue = json!({ "retention": "workqueue", "max_msgs_per_subject": -1 });
        assert!(Retention::of(&queue).any() && Retention::of(&queue).is_work_queue());
        assert_eq!(gone(&queue, &[&|seq| seq <= 3], &[]), [1, 2, 3]);
        assert_eq!(gone(&queue, &[&|_| false, &|seq| seq == 7], &[]), [7]);
        assert_eq!(gone(&queue, &[], &[]), Vec::<u64>::new());
        assert!(!Retention::of(&queue).archived_whole());
    }

    #[test]
    fn what_every_consumer_has_acknowledged_may_be_gone() {
        let interest = json!({ "retention": "interest" });
        assert_eq!(gone(&interest, &[&|seq| seq <= 3, &|seq| seq >= 3], &[]), [3]);
        assert_eq!(gone(&interest, &[&|seq| seq <= 3, &|_| false], &[]), Vec::<u64>::new());
        assert!(Retention::of(&interest).archived_whole());
    }

    #[test]
    fn a_newer_message_of_its_subject_may_have_taken_a_messages_place() {
        let two = json!({ "retention": "limits", "max_msgs_per_subject": 2 });
        assert_eq!(gone(&two, &[&|_| true], &[]), [1, 2, 3, 4, 5, 6]);
        // One more on `a` may have been stored.
        assert_eq!(gone(&two, &[], &[20]), [1, 2, 3, 4, 5, 6, 7]);
        let none = json!({ "retention": "limits", "max_msgs_per_subject": -1 });
        assert!(!Retention::of(&none).any());
        assert_eq!(gone(&none, &[&|_| true], &[20]), Vec::<u64>::new());
    }
}
