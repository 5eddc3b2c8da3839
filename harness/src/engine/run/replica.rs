//! Damage to the files of one host of a cluster, under load: the others have everything, and go on.
//!
//! NATS does not notice what such a server lacks: servers compare where a stream ends, not its
//! content. So this server alone is excused for its losses, until it is replaced or the stream is
//! restored.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cim_core::names::NodeName;

use super::Run;
use super::stream_reader::{last_seq, read_replica, replicas, stream_info};
use crate::error::{Error, Result};
use crate::lab::wait::wait_until;
use crate::ledger::EventId;
use crate::oracle::fingerprint::Fingerprint;
use crate::oracle::judge::{Defect, judge};
use crate::oracle::wire::From;
use crate::report::PrimaryLoss;
use crate::scenario::DamageStream;

/// The limit for a returned server to fetch what it has missed.
const CAUGHT_UP_WITHIN: Duration = Duration::from_secs(120);

/// A host of a cluster whose files were damaged.
#[derive(Debug)]
pub(super) struct DamagedReplica {
    node: NodeName,
    what: String,
    /// By stream, the last sequence acked at the damage: later messages come from the other
    /// servers.
    newest: Vec<u64>,
}

/// The messages that a damaged host was found to lack, by stream and server.
#[derive(Debug, Default)]
pub(super) struct ReplicaHoles(BTreeMap<(usize, String), BTreeSet<(u64, EventId)>>);

impl ReplicaHoles {
    /// Reports whether this server may lack a message.
    pub(super) fn excuse(&self, stream: usize, server: Option<&str>, one: (u64, EventId)) -> bool {
        let holes = server.and_then(|server| self.0.get(&(stream, server.to_owned())));
        holes.is_some_and(|holes| holes.contains(&one))
    }

    /// Forgets the losses of a replaced server: the new machine gets everything from the others.
    pub(super) fn replaced(&mut self, server: &NodeName) {
        self.0.retain(|(_, of), _| of != server.as_str());
    }

    /// Forgets all losses: a restore has brought everything back.
    pub(super) fn restored(&mut self) {
        self.0.clear();
    }
}

impl Run<'_> {
    /// Damages a replica. The load goes on: no message is published twice, for no sequence is given
    /// out again.
    pub(super) async fn damage_replica(&mut self, damage: &DamageStream) -> Result<()> {
        let epoch = self.ledger.epoch();
        let what = self.machines.damage(damage).await?;
        self.progress.line(&what);
        let newest = (0..self.streams.len()).map(|stream| {
            self.history(stream, epoch, u64::MAX).last_key_value().map_or(0, |(seq, _)| *seq)
        });
        let newest = newest.collect();
        self.damaged_replicas.push(DamagedReplica { node: damage.node.clone(), what, newest });
        Ok(())
    }

    /// Compares the damaged replicas with everything that had been acked.
    pub(super) async fn judge_replicas(&mut self) -> Result<()> {
        let confirmed = self.confirmed_by_nas().await?;
        for damaged in std::mem::take(&mut self.damaged_replicas) {
            for (stream, _) in self.plan.scenario.tiered() {
                self.judge_replica(stream, &damaged, confirmed[stream]).await?;
            }
        }
        Ok(())
    }

    async fn judge_replica(
        &mut self,
        stream: usize,
        damaged: &DamagedReplica,
        confirmed: u64,
    ) -> Result<()> {
        let nats = self.machines.nats()?;
        let name = self.plan.scenario.streams[stream].name.as_str();
        let (server, last) = (damaged.node.as_str(), damaged.newest[stream]);
        let found = self.replica_up_to(stream, server, last).await?;
        let (content, seen) =
            (|event| self.content(event), self.streams[stream].seen.fingerprints());
        let mut expected = self.history(stream, self.ledger.epoch(), u64::MAX);
        drop(expected.split_off(&last.saturating_add(1)));
        let acked = expected.len() as u64;
        let gone = self.gone_by_right(stream, &expected);
        let mut truth = self.truth(stream, expected, &content, &seen);
        truth.maybe_deleted = self.deletes(stream).iter().map(|d| d.seq).chain(gone).collect();
        let findings = judge(&truth, &found).findings;
        drop(truth);
        let lost = findings.iter().filter(|f| f.defect == Defect::Lost);
        let lost: BTreeSet<_> = lost.filter_map(|f| Some((f.seq, f.event?))).collect();
        let info = stream_info(&nats, name).await?;
        let servers = info.as_ref().map(replicas).unwrap_or_default();
        let mut loss = PrimaryLoss {
            stream: name.to_owned(),
            server: Some(server.to_owned()),
            after: damaged.what.clone(),
            there: servers.iter().any(|one| one == server),
            acked,
            read: found.len() as u64,
            lost: lost.len() as u64,
            archived: 0,
            elsewhere: 0,
            wrong: (findings.len() - lost.len()) as u64,
            last_seq: info.as_ref().map(last_seq).unwrap_or_default(),
        };
        let mut gone: BTreeSet<u64> = lost.iter().map(|(seq, _)| *seq).collect();
        loss.archived = take(&mut gone, |seq| seq <= confirmed);
        for other in servers.iter().filter(|one| *one != server) {
            if gone.is_empty() {
                break;
            }
            let from = From::Sequence(gone.first().copied().unwrap_or_default());
            let read = read_replica(&nats, self.plan.seed, name, Some(other), from, last).await?;
            let there: BTreeSet<u64> = read.iter().map(|fingerprint| fingerprint.seq).collect();
            loss.elsewhere += take(&mut gone, |seq| there.contains(&seq));
        }
        self.report.primary.push(loss);
        self.replica_holes.0.insert((stream, server.to_owned()), lost);
        Ok(())
    }

    /// Returns a server's messages up to a sequence, after it has caught up that far.
    async fn replica_up_to(
        &self,
        stream: usize,
        server: &str,
        last: u64,
    ) -> Result<Vec<Fingerprint>> {
        let (nats, seed) = (self.machines.nats()?, self.plan.seed);
        let name = self.plan.scenario.streams[stream].name.as_str();
        let what = format!("`{server}` having `{name}` up to sequence {last}");
        wait_until(&what, CAUGHT_UP_WITHIN, async || {
            let info = stream_info(&nats, name).await.map_err(|e| e.to_string())?;
            let info = info.ok_or_else(|| "the stream does not exist".to_owned())?;
            // The last ones may have been deleted: then the wait ends at the stream's own end.
            let bound = last_seq(&info);
            let found = read_replica(&nats, seed, name, Some(server), From::Start, bound).await;
            let mut found = found.map_err(|e: Error| e.chain())?;
            let at = found.last().map_or(0, |fingerprint| fingerprint.seq);
            if at < last && at < bound && super::stream_reader::behind(&info).is_some() {
                return Err(format!("it is at {at}"));
            }
            found.retain(|fingerprint| fingerprint.seq <= last);
            Ok(found)
        })
        .await
    }
}

/// Removes the sequences that are `there` from `missing`; returns how many.
fn take(missing: &mut BTreeSet<u64>, there: impl Fn(u64) -> bool) -> u64 {
    let before = missing.len();
    missing.retain(|seq| !there(*seq));
    (before - missing.len()) as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_damaged_server_is_excused_and_only_for_what_it_lacked() {
        let lost = BTreeSet::from([(5, 50), (6, 60)]);
        let mut holes = ReplicaHoles([((0, "host-3".to_owned()), lost)].into());
        assert!(holes.excuse(0, Some("host-3"), (5, 50)));
        for (stream, server, one) in [
            (0, Some("host-3"), (7, 70)),
            (0, Some("host-3"), (5, 51)),
            (0, Some("host-2"), (5, 50)),
            (1, Some("host-3"), (5, 50)),
            (0, None, (5, 50)),
        ] {
            assert!(!holes.excuse(stream, server, one), "{stream} {server:?} {one:?}");
        }
        holes.replaced(&"host-2".parse().unwrap());
        assert!(holes.excuse(0, Some("host-3"), (5, 50)));
        holes.replaced(&"host-3".parse().unwrap());
        assert!(!holes.excuse(0, Some("host-3"), (5, 50)));
    }

    #[test]
    fn what_one_has_is_not_counted_for_another() {
        let mut missing = BTreeSet::from([1, 2, 3, 4]);
        assert_eq!(take(&mut missing, |seq| seq <= 2), 2);
        assert_eq!(take(&mut missing, |seq| seq <= 3), 1);
        assert_eq!(missing, BTreeSet::from([4]));
    }
}
