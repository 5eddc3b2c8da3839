//! A host's lives: how one ends, and how the next begins.

use cim_core::names::NodeName;
use serde_json::Value;

use super::stream_reader::{last_seq, stream_info};
use super::{Lost, Run};
use crate::error::Result;
use crate::scenario::{Program, Role, Tier};
use crate::workload;

impl Run<'_> {
    pub(super) async fn destroy(&mut self, node: &NodeName) -> Result<()> {
        let role = self.machines.role(node);
        if role != Role::Host {
            let tier = if role == Role::Nas { Tier::Nas } else { Tier::Wasabi };
            self.samplers.remove(&tier);
            self.damaged.retain(|damaged| damaged.tier != tier);
            self.count_strikes(node).await?;
            return self.machines.destroy(node).await;
        }
        self.destroyed_hosts.insert(node.clone());
        // A cluster survives the loss of a minority of its hosts.
        let hosts = self.plan.scenario.nodes_of(Role::Host).count();
        if self.host_lost || self.destroyed_hosts.len() * 2 < hosts {
            return self.machines.destroy(node).await;
        }
        self.host_lost = true;
        let at = self.ledger.now();
        self.active.send_replace(false);
        let destroyed = self.machines.destroy(node).await;
        self.host.send_replace(None);
        self.recorders.clear();
        self.consumptions.clear();
        destroyed?;
        let tiers = self.read_tiers().await?;
        let (node, epoch) = (node.clone(), self.ledger.epoch());
        self.losses.push(Lost {
            node,
            epoch,
            at,
            tiers,
            recovery_began: None,
            from: None,
            restored_at: None,
            read_at: None,
            loss: None,
        });
        Ok(())
    }

    /// Cuts the power and ends the host's life; its synced data begins the next one.
    pub(super) async fn power_cut(&mut self, node: &NodeName) -> Result<()> {
        let host = self.machines.role(node) == Role::Host;
        if host {
            self.active.send_replace(false);
        }
        let cut = self.machines.power_cut(node).await;
        if host {
            self.without_power = true;
            self.host.send_replace(None);
            self.recorders.clear();
            self.consumptions.clear();
        }
        cut
    }

    pub(super) async fn start(&mut self, node: &NodeName, program: Option<Program>) -> Result<()> {
        self.machines.start(node, program).await?;
        if self.machines.role(node) == Role::Host && std::mem::take(&mut self.without_power) {
            self.next_life(None, &Value::Null).await?;
            self.ledger.next_epoch();
        }
        // After a loss consumers wait for the storage manager's own consumer; after a crash that is
        // there already.
        let after_loss = self.losses.last().is_some_and(|lost| lost.restored_at.is_some());
        if after_loss && program == Some(Program::StorageManager) {
            self.await_anchors().await?;
        }
        Ok(())
    }

    /// Begins the next life: the host's messages live on, and all those of leaf nodes. A restored
    /// stream may continue after sequences that are not given out, as the restore's report says.
    async fn next_life(&mut self, from: Option<Tier>, report: &Value) -> Result<()> {
        let nats = self.machines.nats()?;
        let mut bounds = vec![u64::MAX; self.streams.len()];
        for (stream, spec) in self.plan.scenario.tiered() {
            let info = stream_info(&nats, spec.name.as_str()).await?;
            // A stream that the tier did not have does not come back; the judge decides what that
            // means.
            let mut last = info.map_or(0, |info| last_seq(&info));
            last = last.saturating_sub(fence(report, spec.name.as_str()));
            if self.takes(stream) {
                // The messages that it lacked it copies again at once, as part of the next life.
                let tiers = self.losses.last().map(|lost| &lost.tiers);
                let of_tier = from.and_then(|tier| tiers?.get(&tier)?[stream].as_ref());
                last = of_tier.map_or(last, |archived| last.min(archived.watermark));
            }
            self.streams[stream].seen.rewind(last);
            bounds[stream] = last;
        }
        for (spec, log) in self.plan.scenario.consumers.iter().zip(&self.consumer_logs) {
            log.rewind(bounds[workload::stream_index(&self.plan.scenario, spec.stream.as_str())]);
        }
        self.bounds.push(bounds);
        Ok(())
    }

    pub(super) async fn replace(&mut self, node: &NodeName) -> Result<()> {
        if self.machines.role(node) != Role::Host {
            self.machines.replace(node).await?;
            let role = self.machines.role(node);
            self.nas_replaced |= role == Role::Nas;
            return self.start_sampler(if role == Role::Nas { Tier::Nas } else { Tier::Wasabi });
        }
        if self.host_lost
            && let Some(lost) = self.losses.last_mut()
        {
            lost.recovery_began.get_or_insert(self.ledger.now());
        }
        self.machines.replace(node).await?;
        self.replica_holes.replaced(node);
        self.destroyed_hosts.remove(node);
        // A new cluster begins when all its hosts run.
        if self.host_lost && self.destroyed_hosts.is_empty() {
            self.host_lost = false;
            self.ledger.next_epoch();
        }
        Ok(())
    }

    pub(super) async fn restore(&mut self, node: &NodeName, from: Tier) -> Result<()> {
        let tier = from.to_string();
        let args = ["restore", "--all", "--from", tier.as_str(), "--json"];
        let ended = self.machines.run_storage_manager(node, &args).await?;
        ended.must_succeed(&args)?;
        let report: Value = serde_json::from_str(&ended.stdout).unwrap_or_default();
        let restored_at = self.ledger.now();
        self.next_life(Some(from), &report).await?;
        // The messages that the archive had kept are back.
        for stream in &mut self.streams {
            stream.holes.clear();
            stream.dropped_earlier = 0;
        }
        self.replica_holes.restored();
        self.check_restored(from).await?;
        if let Some(lost) = self.losses.last_mut() {
            lost.from = Some(from);
            lost.restored_at = Some(restored_at);
        }
        Ok(())
    }
}

/// Returns how many sequences behind the last one a restore has left unused.
fn fence(report: &Value, stream: &str) -> u64 {
    let mut streams = report["streams"].as_array().into_iter().flatten();
    let restored = streams.find(|restored| restored["restored_as"] == stream);
    restored.and_then(|restored| restored["fence"].as_u64()).unwrap_or(0)
}
