//! A host's lives: how one ends, and what begins the next.

use std::collections::BTreeSet;

use cim_core::names::NodeName;
use serde_json::Value;

use super::run::{Lost, Run, cannot_read};
use crate::error::{Context as _, Result};
use crate::oracle::wire::Wire;
use crate::scenario::{Program, Role, Tier};
use crate::workload;

impl Run<'_> {
    pub(super) async fn destroy(&mut self, node: &NodeName) -> Result<()> {
        let role = self.machines.role(node);
        if role != Role::Host {
            let tier = if role == Role::Nas { Tier::Nas } else { Tier::Wasabi };
            self.samplers.remove(&tier);
            self.damaged.retain(|(on, _)| *on != tier);
            self.count_strikes(node).await?;
            return self.machines.destroy(node).await;
        }
        let at = self.ledger.now();
        self.active.send_replace(false);
        let destroyed = self.machines.destroy(node).await;
        self.host.send_replace(None);
        self.witnesses.clear();
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

    /// A host's life ends with its power, as with its loss; what it had synced begins the next one.
    pub(super) async fn power_cut(&mut self, node: &NodeName) -> Result<()> {
        let host = self.machines.role(node) == Role::Host;
        if host {
            self.active.send_replace(false);
        }
        let cut = self.machines.power_cut(node).await;
        if host {
            self.without_power = true;
            self.host.send_replace(None);
            self.witnesses.clear();
            self.consumptions.clear();
        }
        cut
    }

    pub(super) async fn start(&mut self, node: &NodeName, program: Option<Program>) -> Result<()> {
        self.machines.start(node, program).await?;
        if self.machines.role(node) == Role::Host && std::mem::take(&mut self.without_power) {
            self.next_life().await?;
            self.ledger.next_epoch();
        }
        Ok(())
    }

    /// What the host has is what lives on.
    async fn next_life(&mut self) -> Result<()> {
        let mut wire = Wire::connect(&self.machines.nats()?).await.step(cannot_read)?;
        let mut bounds = Vec::new();
        for stream in &self.plan.scenario.streams {
            let info = wire.api(&format!("STREAM.INFO.{}", stream.name), &Value::Null).await;
            bounds.push(match info {
                Ok(info) => info["state"]["last_seq"].as_u64().unwrap_or_default(),
                // A stream that nobody knew does not come back; the judge will say what that means.
                Err(_) => 0,
            });
        }
        for (stream, bound) in bounds.iter().enumerate() {
            self.seen[stream].rewind(*bound);
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
            return self.start_sampler(if role == Role::Nas { Tier::Nas } else { Tier::Wasabi });
        }
        if let Some(lost) = self.losses.last_mut() {
            lost.recovery_began = Some(self.ledger.now());
        }
        self.machines.replace(node).await?;
        self.ledger.next_epoch();
        Ok(())
    }

    pub(super) async fn restore(&mut self, node: &NodeName, from: Tier) -> Result<()> {
        let tier = from.to_string();
        let args = ["restore", "--all", "--from", tier.as_str(), "--json"];
        self.machines.run_storage_manager(node, &args).await?.must_succeed(&args)?;
        let restored_at = self.ledger.now();
        self.next_life().await?;
        // What the archive had kept is back.
        self.holes.iter_mut().for_each(BTreeSet::clear);
        self.check_restored(from).await?;
        if let Some(lost) = self.losses.last_mut() {
            lost.from = Some(from);
            lost.restored_at = Some(restored_at);
        }
        Ok(())
    }
}
