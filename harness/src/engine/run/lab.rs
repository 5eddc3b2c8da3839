//! Starts a lab: machines, streams, consumers, recorders and samplers.

use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::ANCHOR;
use serde_json::{Value, json};

use super::Run;
use crate::error::{Context as _, Result};
use crate::lab::wait::wait_until;
use crate::oracle::lag::{Sampler, When};
use crate::oracle::recorder::StreamRecorder;
use crate::oracle::wire::Wire;
use crate::scenario::{Program, Role, StreamSpec, Tier};
use crate::workload::{Consumption, HostAt};

/// The limit for a cluster's first election, and for a leaf node to reach its hub.
const READY_WITHIN: Duration = Duration::from_secs(60);
/// The most replicas that nats-server gives a stream.
const REPLICAS_MAX: usize = 5;

impl Run<'_> {
    pub(super) async fn start_lab(&mut self) -> Result<()> {
        self.machines.switch_on().await?;
        let nodes = self.plan.scenario.nodes.iter();
        let s3 = nodes.filter(|(_, n)| matches!(n.role, Role::Nas | Role::Wasabi));
        for (node, _) in s3 {
            self.machines.start(node, None).await?;
        }
        let plan = self.plan;
        let servers = plan.scenario.nodes_of(Role::Host).chain(plan.scenario.nodes_of(Role::Leaf));
        for node in servers {
            self.machines.start(node, Some(Program::Nats)).await?;
        }
        self.leaves_are_connected().await?;
        self.make_streams().await?;
        let host = plan.scenario.node_of(Role::Host).expect("a checked scenario has a host");
        self.machines.start(host, Some(Program::StorageManager)).await?;
        self.await_anchors().await?;
        for tier in self.plan.scenario.tiers() {
            self.start_sampler(tier)?;
        }
        self.host_is_up().await
    }

    /// Waits until the host reaches JetStream on every leaf node.
    async fn leaves_are_connected(&self) -> Result<()> {
        let nats = self.machines.nats()?;
        for leaf in self.plan.scenario.nodes_of(Role::Leaf) {
            wait_until(&format!("`{leaf}` connecting to the host"), READY_WITHIN, async || {
                let mut wire = Wire::connect(&nats).await.map_err(|e| e.to_string())?;
                let answer = wire.request(&format!("$JS.{leaf}.API.INFO"), b"").await;
                match answer {
                    Ok(answer) if !answer.is_empty() => Ok(()),
                    Ok(_) => Err("it does not answer".to_owned()),
                    Err(error) => Err(error.to_string()),
                }
            })
            .await?;
        }
        Ok(())
    }

    async fn make_streams(&mut self) -> Result<()> {
        let plan = self.plan;
        let streams = plan.scenario.streams.iter().enumerate();
        // Streams of leaf nodes first, for others copy from them.
        let (leaves, rest): (Vec<_>, Vec<_>) = streams.partition(|(_, s)| s.node.is_some());
        for (stream, _) in leaves.into_iter().chain(rest) {
            self.create(stream).await?;
        }
        Ok(())
    }

    /// Makes a stream and its consumers as the scenario defines them.
    pub(super) async fn create(&mut self, stream: usize) -> Result<()> {
        let plan = self.plan;
        let spec = &plan.scenario.streams[stream];
        let config = self.stream_config(spec)?;
        let nats = self.place(stream)?;
        let subject = format!("STREAM.CREATE.{}", spec.name);
        // A cluster that has just elected may not know all of its servers yet.
        let what = format!("making `{}`", spec.name);
        let made = wait_until(&what, READY_WITHIN, async || {
            let mut wire = Wire::connect(&nats).await.map_err(|e| e.to_string())?;
            match wire.api(&subject, &config).await {
                Ok(made) => Ok(Ok(made)),
                Err(error) if plan.scenario.clustered() => Err(error.to_string()),
                Err(error) => Ok(Err(error)),
            }
        });
        let made = made.await?.step(cannot_make)?["config"].clone();
        self.streams[stream].configs.push((self.ledger.now(), made));
        if plan.scenario.clustered() {
            self.await_replicas(&spec.name, READY_WITHIN).await?;
        }
        let mut wire = Wire::connect(&nats).await.step(cannot_make)?;
        for (at, consumer) in plan.scenario.consumers.iter().enumerate() {
            if consumer.stream != spec.name {
                continue;
            }
            let (stream, name) = (&consumer.stream, &consumer.name);
            let config = json!({
                "durable_name": name, "name": name, "ack_policy": "explicit",
                "ack_wait": consumer.ack_wait.as_micros() * 1000, "max_ack_pending": 10_000,
                "description": format!("acknowledges {:?}", consumer.acks),
            });
            let body = json!({ "stream_name": stream, "config": config });
            let made = wire.api(&format!("CONSUMER.CREATE.{stream}.{name}"), &body).await;
            self.consumer_configs[at] = made.step(cannot_make)?["config"].clone();
        }
        Ok(())
    }

    fn stream_config(&self, stream: &StreamSpec) -> Result<Value> {
        let hosts = self.plan.scenario.nodes_of(Role::Host).count();
        let replicas = if stream.node.is_some() { 1 } else { hosts.min(REPLICAS_MAX) };
        let mut config = json!({
            "name": stream.name, "subjects": stream.subjects, "storage": "file",
            "retention": "limits", "discard": "old", "num_replicas": replicas,
        });
        if !stream.sources.is_empty() {
            let sources = stream.sources.iter().map(|source| {
                let of = &self.plan.scenario.streams[self.stream_of(source)];
                let leaf = of.node.as_ref().map(ToString::to_string).unwrap_or_default();
                json!({ "name": source, "external": { "api": format!("$JS.{leaf}.API") } })
            });
            config["sources"] = sources.collect();
        }
        for (key, value) in &stream.config {
            let value = serde_json::to_value(value);
            config[key] = value.step(|| format!("`{key}` of `{}` is no JSON", stream.name))?;
        }
        Ok(config)
    }

    pub(super) fn start_sampler(&mut self, tier: Tier) -> Result<()> {
        let Some(bucket) = self.machines.bucket(tier)? else { return Ok(()) };
        // A stream that copies from others has no acks that name its sequences.
        let streams = self.plan.scenario.tiered().filter(|(_, stream)| stream.sources.is_empty());
        let streams: Vec<_> = streams.map(|(at, stream)| (at, stream.name.clone())).collect();
        if streams.is_empty() {
            return Ok(());
        }
        let sampler = Sampler::start(
            tier,
            bucket,
            streams,
            Arc::clone(&self.ledger),
            When { loading: self.active.subscribe(), draining: self.draining.subscribe() },
            Arc::clone(&self.measured),
        );
        self.samplers.insert(tier, sampler);
        Ok(())
    }

    /// Waits until the storage manager has its consumer on each stream with interest retention.
    /// Messages that the other consumers were done with before that are gone for good.
    pub(super) async fn await_anchors(&self) -> Result<()> {
        let nats = self.machines.nats()?;
        for (at, stream) in self.plan.scenario.tiered() {
            let config = self.streams[at].configs.last().map(|(_, config)| config);
            if config.is_none_or(|config| config["retention"] != "interest") {
                continue;
            }
            let subject = format!("CONSUMER.NAMES.{}", stream.name);
            let what = format!("the storage manager's interest in `{}`", stream.name);
            wait_until(&what, READY_WITHIN, async || {
                let mut wire = Wire::connect(&nats).await.map_err(|e| e.to_string())?;
                let names = wire.api(&subject, &Value::Null).await.map_err(|e| e.to_string())?;
                let mut names = names["consumers"].as_array().into_iter().flatten();
                let there = names.any(|name| name.as_str().is_some_and(|n| n.starts_with(ANCHOR)));
                if there { Ok(()) } else { Err("it has no consumer there".into()) }
            })
            .await?;
        }
        Ok(())
    }

    /// Points publishers, consumers and recorders at the current host.
    pub(super) async fn host_is_up(&mut self) -> Result<()> {
        let epoch = self.ledger.epoch();
        let host = HostAt { nats: self.machines.nats_through_link(), epoch };
        self.recorders.clear();
        for (at, stream) in self.plan.scenario.streams.iter().enumerate() {
            let (name, seen) = (stream.name.to_string(), Arc::clone(&self.streams[at].seen));
            let recorder = StreamRecorder::start(self.place(at)?, name, self.plan.seed, seen);
            self.recorders.push(recorder);
        }
        for (leaf, at) in &self.leaves {
            // A leaf node is never lost: its first life is its only one.
            let nats = self.machines.leaf_through_link(leaf)?;
            at.send_replace(Some(HostAt { nats, epoch: 0 }));
        }
        self.consumptions.clear();
        for (at, spec) in self.plan.scenario.consumers.iter().enumerate() {
            let reading = match spec.members {
                Some(members) => self.start_members(at, members, &host).await?,
                None => Consumption::start(spec, host.clone(), Arc::clone(&self.consumer_logs[at])),
            };
            self.consumptions.push(reading);
        }
        self.host.send_replace(Some(host));
        self.active.send_replace(self.loading);
        Ok(())
    }
}

fn cannot_make() -> String {
    "cannot make the streams".to_owned()
}
