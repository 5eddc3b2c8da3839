//! The facts about one stream under test.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use super::Run;
use crate::ledger::{EventId, Micros};
use crate::oracle::limits::Limits;
use crate::oracle::recorder::Recording;
use crate::oracle::retention::{Retention, Work};

/// One stream of the scenario. Its acks and deletes are in the ledger, by its place in the scenario.
#[derive(Debug, Default)]
pub(super) struct StreamUnderTest {
    /// The messages that were read from it while the host lived.
    pub(super) seen: Arc<Recording>,
    /// Its configurations as the server returned them, each with the moment of the change.
    pub(super) configs: Vec<(Micros, Value)>,
    /// Its first sequence when its configuration was last changed: earlier messages may have been
    /// dropped by the old limits.
    pub(super) dropped_earlier: u64,
    /// Messages that damage took from the live stream and that the NAS had confirmed.
    pub(super) holes: BTreeSet<(u64, EventId)>,
    /// Acked messages that damage took before any tier had confirmed them.
    pub(super) perished: BTreeSet<(u64, EventId)>,
    /// Sequences whose delete was undone by a loss, with the host's life that the loss ended.
    pub(super) undone: BTreeMap<u64, u32>,
}

impl StreamUnderTest {
    /// Returns the limits that it has now.
    pub(super) fn limits(&self) -> Limits {
        self.configs.last().map_or_else(Limits::default, |(_, config)| Limits::of(config))
    }

    /// Returns every retention that it has had.
    fn retentions(&self) -> impl Iterator<Item = Retention> {
        self.configs.iter().map(|(_, config)| Retention::of(config))
    }

    /// Reports whether a tier must have every message up to the tier's watermark, dropped or not.
    pub(super) fn must_be_archived(&self) -> bool {
        let limited = self.configs.iter().any(|(_, config)| Limits::of(config).any());
        !limited && self.retentions().any(Retention::archived_whole)
    }
}

impl Run<'_> {
    /// Returns the sequences of a history that neither the stream nor a restore of it need have:
    /// its consumers are done with them, or a newer message has replaced them.
    pub(super) fn gone_by_right(
        &self,
        stream: usize,
        history: &BTreeMap<u64, EventId>,
    ) -> BTreeSet<u64> {
        let retentions: Vec<_> = self.streams[stream].retentions().filter(|r| r.any()).collect();
        if retentions.is_empty() {
            return BTreeSet::new();
        }
        let acked: Vec<_> = self.acknowledgements(stream);
        let acked: Vec<&dyn Fn(u64) -> bool> = acked.iter().map(AsRef::as_ref).collect();
        let unacked = self.unacked_of(stream, &self.ledger.unacked());
        let subject = |event| self.subject(event);
        let work = Work { acked: &acked, subject: &subject, unacked: &unacked };
        let all = |history: &BTreeMap<u64, EventId>| -> BTreeSet<u64> {
            retentions.iter().flat_map(|one| one.gone(history, &work)).collect()
        };
        let mut gone = all(history);
        // Messages lost with a host may have replaced some that came back.
        for life in 0..=self.ledger.epoch() {
            let lived = self.history(stream, life, u64::MAX);
            let lost = all(&lived).into_iter();
            gone.extend(lost.filter(|seq| history.get(seq) == lived.get(seq)));
        }
        gone
    }

    /// Returns, by consumer of a stream, a check whether it may have acknowledged a message.
    fn acknowledgements(&self, stream: usize) -> Vec<Box<dyn Fn(u64) -> bool + '_>> {
        let of_stream =
            |at: &usize| self.stream_of(&self.plan.scenario.consumers[*at].stream) == stream;
        let consumers = (0..self.plan.scenario.consumers.len()).filter(of_stream);
        let each = consumers.map(|at| -> Box<dyn Fn(u64) -> bool + '_> {
            if self.plan.scenario.consumers[at].members.is_some() {
                let members = self.acknowledged_by_members(at);
                return Box::new(move |seq| members.contains(&seq));
            }
            let log = &self.consumer_logs[at];
            Box::new(move |seq| log.has_acked(seq))
        });
        each.collect()
    }
}
