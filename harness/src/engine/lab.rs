//! A lab comes up: machines, streams, consumers, and everybody who looks at them.

use std::sync::Arc;

use serde_json::json;

use super::run::Run;
use crate::error::{Context as _, Result};
use crate::oracle::lag::Sampler;
use crate::oracle::wire::Wire;
use crate::oracle::witness::Witness;
use crate::scenario::{Program, Role, Tier};
use crate::workload::{Consumption, HostAt};

impl Run<'_> {
    pub(super) async fn start_lab(&mut self) -> Result<()> {
        let nodes = self.plan.scenario.nodes.iter();
        let s3 = nodes.filter(|(_, n)| matches!(n.role, Role::Nas | Role::Wasabi));
        for (node, _) in s3 {
            self.machines.start(node, None).await?;
        }
        let host = self.machines.host();
        self.machines.start(&host, Some(Program::Nats)).await?;
        self.make_streams().await?;
        self.machines.start(&host, Some(Program::StorageManager)).await?;
        for tier in self.plan.scenario.tiers() {
            self.start_sampler(tier)?;
        }
        self.host_is_up()
    }

    async fn make_streams(&mut self) -> Result<()> {
        let mut wire = Wire::connect(&self.machines.nats()?).await.step(cannot_make)?;
        for stream in 0..self.plan.scenario.streams.len() {
            self.create(&mut wire, stream).await?;
        }
        Ok(())
    }

    /// Makes a stream and its consumers as the scenario has them.
    pub(super) async fn create(&mut self, wire: &mut Wire, stream: usize) -> Result<()> {
        let spec = &self.plan.scenario.streams[stream];
        let mut config = json!({
            "name": spec.name, "subjects": spec.subjects, "storage": "file",
            "retention": "limits", "discard": "old", "num_replicas": 1,
        });
        for (key, value) in &spec.config {
            config[key] = serde_json::to_value(value).step(cannot_make)?;
        }
        let made = wire.api(&format!("STREAM.CREATE.{}", spec.name), &config).await;
        let made = made.step(cannot_make)?["config"].clone();
        self.stream_configs[stream].push((self.ledger.now(), made));
        for (at, consumer) in self.plan.scenario.consumers.iter().enumerate() {
            if consumer.stream != spec.name {
                continue;
            }
            let (stream, name) = (&consumer.stream, &consumer.name);
            let config = json!({
                "durable_name": name, "name": name, "ack_policy": "explicit",
                "ack_wait": 30_000_000_000_u64, "max_ack_pending": 10_000,
                "description": format!("acknowledges {:?}", consumer.acks),
            });
            let body = json!({ "stream_name": stream, "config": config });
            let made = wire.api(&format!("CONSUMER.CREATE.{stream}.{name}"), &body).await;
            self.consumer_configs[at] = made.step(cannot_make)?["config"].clone();
        }
        Ok(())
    }

    pub(super) fn start_sampler(&mut self, tier: Tier) -> Result<()> {
        let Some(bucket) = self.machines.bucket(tier)? else { return Ok(()) };
        let streams = self.plan.scenario.streams.iter().map(|s| s.name.clone()).collect();
        let sampler = Sampler::start(
            tier,
            bucket,
            streams,
            Arc::clone(&self.ledger),
            self.active.subscribe(),
            Arc::clone(&self.samples),
        );
        self.samplers.insert(tier, sampler);
        Ok(())
    }

    /// Publishers, consumers and witnesses go to the host as it is now.
    pub(super) fn host_is_up(&mut self) -> Result<()> {
        let epoch = self.ledger.epoch();
        let direct = self.machines.nats()?;
        let host = HostAt { nats: self.machines.nats_through_link(), epoch };
        let streams = self.plan.scenario.streams.iter().zip(&self.seen);
        self.witnesses = streams
            .map(|(stream, seen)| {
                let name = stream.name.to_string();
                Witness::start(direct.clone(), name, self.plan.seed, Arc::clone(seen))
            })
            .collect();
        let consumers = self.plan.scenario.consumers.iter().zip(&self.consumer_logs);
        self.consumptions = consumers
            .map(|(spec, log)| Consumption::start(spec, host.clone(), Arc::clone(log)))
            .collect();
        self.host.send_replace(Some(host));
        self.active.send_replace(self.loading);
        Ok(())
    }
}

fn cannot_make() -> String {
    "cannot make the streams".to_owned()
}
