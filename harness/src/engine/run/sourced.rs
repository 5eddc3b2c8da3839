//! Judges streams that copy their messages from leaf nodes.

use std::collections::BTreeMap;

use super::Run;
use crate::ledger::EventId;
use crate::oracle::fingerprint::Fingerprint;
use crate::oracle::judge::Findings;
use crate::oracle::sourced::{Sources, judge};

impl Run<'_> {
    /// Judges that every event acked by a leaf node is there, even if the host was lost meanwhile.
    pub(super) fn judge_taken(
        &self,
        stream: usize,
        recorded: &BTreeMap<u64, Fingerprint>,
        found: &[Fingerprint],
    ) -> Findings {
        let content = |event| self.content(event);
        let (origins, unacked) = (self.origins(stream), self.ledger.unacked());
        let truth = Sources {
            acked: origins.iter().map(|from| self.acked_at(*from)).collect(),
            unacked: origins.iter().map(|from| self.unacked_of(*from, &unacked)).collect(),
            content: &content,
            recorded,
        };
        judge(&truth, found)
    }

    /// Returns everything that was ever acked of a stream of a leaf node, which loses nothing.
    pub(super) fn acked_at(&self, stream: usize) -> BTreeMap<u64, EventId> {
        (0..=self.ledger.epoch()).flat_map(|life| self.ledger.acks(stream, life)).collect()
    }

    /// Reports whether an event is published to a stream.
    pub(super) fn is_of(&self, stream: usize, event: EventId) -> bool {
        let loads = self.plan.scenario.workloads.iter().zip(&self.generators);
        loads.into_iter().any(|(load, generator)| {
            self.stream_of(&load.stream) == stream && generator.owns(event)
        })
    }
}
