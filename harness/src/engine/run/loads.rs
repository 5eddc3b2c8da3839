//! Starts loads, waits for them and ends them; waits for tiers to catch up.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cim_core::names::StreamName;

use super::Run;
use super::stream_reader::{last_seq, stream_info};
use crate::error::{Error, Result};
use crate::lab::wait::wait_until;
use crate::oracle::tier::{Archive, Heads};
use crate::scenario::{AwaitLoad, AwaitTier, Drain, Tier};
use crate::workload;

impl Run<'_> {
    pub(super) fn start_load(&mut self, only: Option<&str>) {
        for (at, workload) in self.plan.scenario.workloads.iter().enumerate() {
            if only.is_none_or(|name| name == workload.name) {
                self.loads.start(self.plan, at);
            }
        }
        self.loading = true;
        self.active.send_replace(true);
    }

    pub(super) async fn await_load(&mut self, wait: &AwaitLoad) -> Result<()> {
        let deadline = wait.time.map(|t| tokio::time::Instant::now() + t.0.into());
        let total = workload::total(&self.plan.scenario);
        let goal = wait.published.map_or(u64::MAX, |share| share.0.of(total));
        let (mut last, mut since) = (u64::MAX, tokio::time::Instant::now());
        loop {
            let counts = self.ledger.counts();
            let done = deadline.is_some_and(|at| tokio::time::Instant::now() >= at);
            if done || counts.acked >= goal.min(total) {
                return Ok(());
            }
            if counts.published == total && deadline.is_none() {
                return Ok(());
            }
            if counts.acked != last {
                (last, since) = (counts.acked, tokio::time::Instant::now());
            } else if since.elapsed() > Duration::from_secs(30) {
                return Err(Error::step(format!("the load stands still at {last} acked events")));
            }
            self.machines.all_alive()?;
            self.progress.live(&format!("{} of {total} events acked", counts.acked));
            let pause = Duration::from_millis(5);
            let next = tokio::time::Instant::now() + pause;
            tokio::time::sleep_until(deadline.map_or(next, |at| at.min(next))).await;
        }
    }

    pub(super) async fn await_tier(&mut self, wait: &AwaitTier) -> Result<()> {
        let goal = wait.holds.of(workload::total(&self.plan.scenario));
        let bucket = self.machines.bucket(wait.tier)?;
        let bucket = bucket.ok_or_else(|| Error::step(format!("tier {} is down", wait.tier)))?;
        let streams = self.plan.scenario.tiered();
        let streams = streams.map(|(_, s)| s.name.clone()).collect();
        let mut heads = Heads::new(bucket, wait.tier, streams);
        let what = format!("filling {} with {goal} messages", wait.tier);
        wait_until(&what, self.patient(wait.within), async || {
            heads.advance().await;
            let held: u64 = heads.watermarks().map(|(_, at)| at).sum();
            if held >= goal { Ok(()) } else { Err(format!("it holds {held}")) }
        })
        .await?;
        self.machines.all_alive()
    }

    pub(super) async fn finish_load(&mut self, within: Duration) -> Result<()> {
        let progress = self.progress;
        let ledger = Arc::clone(&self.ledger);
        let total = workload::total(&self.plan.scenario);
        let show = async {
            loop {
                progress.live(&format!("{} of {total} events acked", ledger.counts().acked));
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        };
        tokio::select! {
            () = self.loads.finish() => {}
            () = show => {}
            () = tokio::time::sleep(within) => {
                let acked = self.ledger.counts().acked;
                let what = format!("the load did not end within {within:?}: {acked} of {total} acked");
                return Err(Error::step(what));
            }
        }
        self.loading = false;
        self.active.send_replace(false);
        self.machines.all_alive()
    }

    pub(super) async fn drain(&mut self, drain: &Drain) -> Result<()> {
        self.draining.send_replace(true);
        let drained = self.drain_all(drain).await;
        self.draining.send_replace(false);
        drained
    }

    async fn drain_all(&mut self, drain: &Drain) -> Result<()> {
        let nats = self.machines.nats()?;
        let deadline = tokio::time::Instant::now() + self.patient(drain.within);
        let mut ends = BTreeMap::new();
        for (at, stream) in self.plan.scenario.tiered() {
            self.await_origins(at, deadline).await?;
            let info = stream_info(&nats, stream.name.as_str()).await?;
            let info = info
                .ok_or_else(|| Error::step(format!("stream `{}` does not exist", stream.name)))?;
            ends.insert(stream.name.clone(), last_seq(&info));
        }
        for tier in &drain.tiers {
            let bucket = self.machines.bucket(*tier)?;
            let bucket = bucket.ok_or_else(|| Error::step(format!("tier {tier} is down")))?;
            let mut behind = Heads::new(bucket, *tier, ends.keys().cloned().collect());
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            wait_until(&format!("draining to {tier}"), left, async || {
                behind.advance().await;
                behind.retain(|name, at| at < ends[name]);
                let first = behind.watermarks().next();
                let first =
                    first.map(|(name, at)| format!("`{name}` is at {at} of {}", ends[name]));
                first.map_or(Ok(()), Err)
            })
            .await?;
            if *tier == Tier::Nas && self.nas_replaced {
                self.await_objects(&ends, deadline).await?;
            }
        }
        self.machines.all_alive()
    }

    /// Waits until the NAS has the objects that it names: a replaced one gets them back after it
    /// has named them.
    async fn await_objects(
        &self,
        streams: &BTreeMap<StreamName, u64>,
        deadline: tokio::time::Instant,
    ) -> Result<()> {
        let tier = Tier::Nas;
        let bucket = self.machines.bucket(tier)?;
        let bucket = bucket.ok_or_else(|| Error::step(format!("tier {tier} is down")))?;
        let left = deadline.saturating_duration_since(tokio::time::Instant::now());
        wait_until("fetching the objects that the NAS names", left, async || {
            let archive = Archive::open(&bucket, tier).await.map_err(|error| error.to_string())?;
            let lacking =
                archive.lacking(streams.keys()).await.map_err(|error| error.to_string())?;
            lacking.map_or(Ok(()), |key| Err(format!("`{key}` is missing")))
        })
        .await
    }

    /// Waits until a stream has the last event of every stream that it copies from.
    async fn await_origins(&self, stream: usize, deadline: tokio::time::Instant) -> Result<()> {
        let (name, seen) = (&self.plan.scenario.streams[stream].name, &self.streams[stream].seen);
        for from in self.origins(stream) {
            let Some((last, event)) = self.acked_at(from).pop_last() else { continue };
            let origin = &self.plan.scenario.streams[from].name;
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            let what = format!("`{name}` taking sequence {last} of `{origin}`");
            wait_until(&what, left, async || {
                let there = seen
                    .fingerprints()
                    .into_values()
                    .any(|fingerprint| fingerprint.event == Some(event));
                if there { Ok(()) } else { Err(format!("the recorder is at {}", seen.last())) }
            })
            .await?;
        }
        Ok(())
    }
}
