//! Administrators' changes to streams under load: purges, deletes, new streams, new configurations.
//!
//! A removal goes into the ledger as a rule, for acks of messages that it concerns may still be
//! under way. Only the server knows which messages it stored before a purge.

use std::collections::{BTreeMap, HashSet};

use cim_core::names::StreamName;
use serde_json::{Value, json};

use super::Run;
use crate::error::{Context as _, Error, Result};
use crate::ledger::{Delete, Removal};
use crate::oracle::limits::Held;
use crate::oracle::tier::Heads;
use crate::oracle::wire::Wire;
use crate::scenario::{PurgeStream, Tier, UpdateStream};

/// The history of a stream that was deleted.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ended {
    /// The stream, as its place in the scenario.
    pub(super) stream: usize,
    /// The last of the host's lives that it covers.
    pub(super) epoch: u32,
}

impl Run<'_> {
    /// Returns every message of a stream that was removed on purpose and that no loss has brought
    /// back.
    pub(super) fn deletes(&self, stream: usize) -> Vec<Delete> {
        let mut deletes = self.ledger.deletes(stream);
        for removal in self.ledger.removals(stream) {
            let Removal { epoch, asked_at, done_at, .. } = removal;
            let acks = (0..=epoch).flat_map(|life| self.ledger.acks(stream, life));
            let removed = acks.filter(|(seq, event)| {
                *seq < removal.below && removal.concerns(*seq, self.subject(*event).as_deref())
            });
            deletes.extend(removed.map(|(seq, event)| Delete {
                event,
                stream,
                epoch,
                seq,
                asked_at,
                done_at,
            }));
        }
        let mut seen = HashSet::new();
        // The latest of several counts: a loss may have undone the earlier ones only.
        deletes.sort_by_key(|delete| std::cmp::Reverse(delete.epoch));
        deletes.retain(|delete| {
            let undone = self.streams[stream].undone.get(&delete.seq);
            undone.is_none_or(|epoch| delete.epoch > *epoch)
                && seen.insert((delete.seq, delete.event))
        });
        deletes
    }

    /// Returns how many messages of a stream were removed on purpose, brought back or not.
    pub(super) fn removed(&self, stream: usize) -> u64 {
        let single = self.ledger.deletes(stream).into_iter();
        let all = single.chain(self.deletes(stream)).map(|delete| (delete.seq, delete.event));
        all.collect::<HashSet<_>>().len() as u64
    }

    pub(super) fn subject(&self, event: u64) -> Option<String> {
        self.generators.iter().find(|g| g.owns(event)).map(|g| g.subject(event))
    }

    /// Returns, by tier, the last sequence that it has confirmed of a stream.
    async fn confirmed(&self, name: &StreamName) -> Result<BTreeMap<Tier, u64>> {
        let mut confirmed = BTreeMap::new();
        for tier in self.plan.scenario.tiers() {
            let Some(bucket) = self.machines.bucket(tier)? else { continue };
            let mut heads = Heads::new(bucket, tier, vec![name.clone()]);
            heads.advance().await;
            confirmed.extend(heads.watermarks().map(|(_, at)| (tier, at)));
        }
        Ok(confirmed)
    }

    pub(super) async fn purge_stream(&mut self, purge: &PurgeStream) -> Result<()> {
        let name = &purge.stream;
        let cannot = || format!("cannot purge `{name}`");
        let mut wire = Wire::connect(&self.machines.nats()?).await.step(cannot)?;
        let confirmed = self.confirmed(name).await?;
        let info = wire.api(&format!("STREAM.INFO.{name}"), &Value::Null).await.step(cannot)?;
        let last = info["state"]["last_seq"].as_u64().unwrap_or_default();
        let body = match (&purge.subject, purge.keep) {
            // The bound decides which of the messages under way it concerns.
            (Some(subject), _) => json!({ "filter": subject, "seq": last + 1 }),
            (None, Some(keep)) => json!({ "keep": keep }),
            (None, None) => Value::Null,
        };
        let asked_at = self.ledger.now();
        let answer = wire.api(&format!("STREAM.PURGE.{name}"), &body).await.step(cannot)?;
        let done_at = Some(self.ledger.now());
        let below = if purge.subject.is_some() {
            last + 1
        } else {
            let info = wire.api(&format!("STREAM.INFO.{name}"), &Value::Null).await.step(cannot)?;
            info["state"]["first_seq"].as_u64().unwrap_or_default()
        };
        let (stream, epoch) = (self.stream_of(name), self.ledger.epoch());
        let subject = purge.subject.clone();
        self.ledger.removed(Removal {
            stream,
            epoch,
            below,
            subject,
            asked_at,
            done_at,
            confirmed,
        });
        match answer["purged"].as_u64() {
            Some(purged) if purged > 0 => {
                self.progress.line(&format!("{purged} messages purged"));
                Ok(())
            }
            _ => Err(Error::step(format!("the purge of `{name}` found nothing to remove"))),
        }
    }

    pub(super) async fn delete_stream(&mut self, name: &StreamName) -> Result<()> {
        let cannot = || format!("cannot delete `{name}`");
        let mut wire = Wire::connect(&self.machines.nats()?).await.step(cannot)?;
        wire.api(&format!("STREAM.DELETE.{name}"), &Value::Null).await.step(cannot)?;
        let ended = Ended { stream: self.stream_of(name), epoch: self.ledger.epoch() };
        self.ended.push(ended);
        Ok(())
    }

    /// Makes a deleted stream again: none of its messages live on, all of the other streams' do.
    pub(super) async fn make_stream(&mut self, name: &StreamName) -> Result<()> {
        let stream = self.stream_of(name);
        self.active.send_replace(false);
        self.host.send_replace(None);
        self.recorders.clear();
        self.consumptions.clear();
        // The publishers' clients may still have messages for the old stream in their buffers.
        self.machines.replace_link().await?;
        self.create(stream).await?;
        let streams = self.plan.scenario.streams.len();
        let bounds = (0..streams).map(|at| if at == stream { 0 } else { u64::MAX });
        self.bounds.push(bounds.collect());
        self.streams[stream].seen.rewind(0);
        self.streams[stream].dropped_earlier = 0;
        for (spec, log) in self.plan.scenario.consumers.iter().zip(&self.consumer_logs) {
            if spec.stream == *name {
                log.rewind(0);
            }
        }
        self.ledger.next_epoch();
        self.host_is_up().await
    }

    pub(super) async fn update_stream(&mut self, update: &UpdateStream) -> Result<()> {
        let name = &update.stream;
        let cannot = || format!("cannot change `{name}`");
        let mut wire = Wire::connect(&self.machines.nats()?).await.step(cannot)?;
        let info = wire.api(&format!("STREAM.INFO.{name}"), &Value::Null).await.step(cannot)?;
        let mut config = info["config"].clone();
        for (key, value) in &update.config {
            config[key] = serde_json::to_value(value).step(cannot)?;
        }
        let made = wire.api(&format!("STREAM.UPDATE.{name}"), &config).await.step(cannot)?;
        let at = self.ledger.now();
        let stream = self.stream_of(name);
        let before = self.limits(stream);
        self.streams[stream].configs.push((at, made["config"].clone()));
        // Messages dropped under the old limits need not be dropped under the new ones: they are
        // judged here.
        let first = made["state"]["first_seq"].as_u64().unwrap_or_default();
        let (seen, held) = (self.streams[stream].seen.fingerprints(), Held::live(&made));
        let limits = [before, self.limits(stream)];
        let of = format!("`{name}` when it was changed");
        self.check_dropped(stream, &seen, 0..first, &limits, held, jiff::Timestamp::now(), &of);
        self.streams[stream].dropped_earlier = first;
        Ok(())
    }
}
