//! A run: its state, and what each step does to it.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use cim_core::names::NodeName;
use serde_json::{Value, json};
use tokio::sync::watch;

use super::Options;
use super::pace::Pace;
use crate::error::{Context as _, Error, Result};
use crate::lab::process::Signal;
use crate::lab::wait::wait_until;
use crate::ledger::{Ledger, Micros};
use crate::oracle::archive::Archived;
use crate::oracle::judge::Defect;
use crate::oracle::lag::{self, Head, Sampler, Samples};
use crate::oracle::wire::Wire;
use crate::oracle::witness::{Seen, Witness};
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::{Expectation, Loss, Report, Spread, StepReport, Verdict};
use crate::rundir::RunDir;
use crate::scenario::{
    AwaitLoad, AwaitTier, Drain, Effect, Fault, Judged, Load, Nature, Program, Role, Step, Tier,
};
use crate::substrate::Machines;
use crate::workload::{self, ConsumerLog, Consumption, Generator, Host, HostAt, Loads};

/// A run under way.
pub(super) struct Run<'a> {
    pub(super) plan: &'a Plan,
    pub(super) progress: &'a Progress,
    pub(super) report: &'a mut Report,
    pub(super) ledger: Arc<Ledger>,
    pub(super) generators: Vec<Arc<Generator>>,
    pub(super) machines: Machines,
    host: watch::Sender<Host>,
    pub(super) loads: Loads,
    loading: bool,
    /// The host's power was cut, and it was not started again.
    without_power: bool,
    active: watch::Sender<bool>,
    samples: Samples,
    pace: Pace,
    samplers: BTreeMap<Tier, Sampler>,
    /// By stream, what was read of it while the host lived.
    pub(super) seen: Vec<Arc<Seen>>,
    witnesses: Vec<Witness>,
    pub(super) consumer_logs: Vec<Arc<ConsumerLog>>,
    consumptions: Vec<Consumption>,
    /// By stream, its configuration as the server gave it when it was made.
    pub(super) stream_configs: Vec<Value>,
    /// By consumer, likewise.
    pub(super) consumer_configs: Vec<Value>,
    /// By host life that is over and by stream, the last sequence that lives on.
    pub(super) bounds: Vec<Vec<u64>>,
    pub(super) losses: Vec<Lost>,
    /// By stream, sequences whose delete a loss has undone.
    pub(super) undone: Vec<BTreeSet<u64>>,
    /// What is wrong, each event once.
    pub(super) wrong: HashSet<(Defect, usize, u64)>,
    /// What was damaged and is still there: tier and key.
    pub(super) damaged: BTreeSet<(Tier, String)>,
    /// By node and fault, how often it struck in plans that are over.
    pub(super) strikes: BTreeMap<(NodeName, Fault), u64>,
}

/// A host that was lost.
#[derive(Debug)]
pub(super) struct Lost {
    pub(super) node: NodeName,
    /// Which of the host's lives it ended.
    pub(super) epoch: u32,
    pub(super) at: Micros,
    /// By tier and stream, what the oracle read from it right after.
    pub(super) tiers: BTreeMap<Tier, Vec<Option<Archived>>>,
    pub(super) recovery_began: Option<Micros>,
    pub(super) from: Option<Tier>,
    pub(super) restored_at: Option<Micros>,
    pub(super) read_at: Option<Micros>,
    pub(super) loss: Option<Loss>,
}

/// Does everything that the plan says; what it finds goes into the report.
pub(super) async fn drive(
    plan: &Plan,
    options: &Options,
    dir: &RunDir,
    machines: Machines,
    progress: &Progress,
    report: &mut Report,
) -> Result<()> {
    let scenario = &plan.scenario;
    let total = workload::total(scenario);
    let streams = scenario.streams.len();
    let ledger = Ledger::new(total, streams, &dir.path().join("ledger.csv"))?;
    // One clock for what is measured and for the steps.
    let ledger = Arc::new(ledger.since(progress.started()));
    let plan_text = serde_json::to_vec_pretty(plan).expect("a plan is always JSON");
    crate::error::write_file(&dir.path().join("plan.json"), plan_text)?;
    let generators = workload::generators(plan, options.corpus.as_ref());
    let (host, hosts) = watch::channel(None);
    let pace = Pace::start(Arc::clone(&ledger));
    let mut run = Run {
        plan,
        progress,
        report,
        loads: Loads::new(generators.clone(), Arc::clone(&ledger), hosts),
        loading: false,
        without_power: false,
        ledger,
        generators,
        machines,
        host,
        active: watch::Sender::new(false),
        samples: Samples::default(),
        pace,
        samplers: BTreeMap::new(),
        seen: (0..streams).map(|_| Arc::default()).collect(),
        witnesses: Vec::new(),
        consumer_logs: scenario.consumers.iter().map(|_| Arc::default()).collect(),
        consumptions: Vec::new(),
        stream_configs: Vec::new(),
        consumer_configs: Vec::new(),
        bounds: Vec::new(),
        losses: Vec::new(),
        undone: vec![BTreeSet::new(); streams],
        wrong: HashSet::new(),
        damaged: BTreeSet::new(),
        strikes: BTreeMap::new(),
    };
    let outcome = run.all_steps().await;
    run.ledger.close();
    run.conclude();
    outcome
}

impl Run<'_> {
    async fn all_steps(&mut self) -> Result<()> {
        self.timed("start the lab", None, async |run| run.start_lab().await).await?;
        let plan = self.plan;
        for link in &plan.scenario.links {
            let (thing, how) = (format!("{} → {}", link.from, link.to), link.conditions);
            self.report.timeline.breaks(thing, how.to_string(), 0.0);
        }
        for step in &plan.steps {
            let start = self.progress.elapsed().as_secs_f64();
            let what = step.to_string();
            self.timed(&what, Some(step.nature()), async |run| run.step(step).await).await?;
            let timeline = &mut self.report.timeline;
            match step.effect() {
                Some(Effect::Breaks { thing, how }) => timeline.breaks(thing, how, start),
                Some(Effect::Strikes { thing, how }) => timeline.strikes(thing, how, start),
                Some(Effect::Mends { thing }) => {
                    timeline.mends(&thing, self.progress.elapsed().as_secs_f64());
                }
                None => {}
            }
        }
        self.count_all_strikes().await
    }

    async fn timed(
        &mut self,
        what: &str,
        nature: Option<Nature>,
        work: impl AsyncFnOnce(&mut Self) -> Result<()>,
    ) -> Result<()> {
        let start = self.progress.elapsed();
        self.progress.live(what);
        let result = work(self).await;
        let (end, outcome) = (
            self.progress.elapsed(),
            match &result {
                Ok(()) => "done".to_owned(),
                Err(error) => error.chain(),
            },
        );
        self.progress
            .line(&format!("{what} ({:.2} s): {outcome}", end.saturating_sub(start).as_secs_f64()));
        self.report.steps.push(StepReport {
            what: what.to_owned(),
            start: start.as_secs_f64(),
            end: end.as_secs_f64(),
            outcome,
            nature,
        });
        result
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Load(Load { workload }) => {
                self.start_load(workload.as_deref());
                Ok(())
            }
            Step::AwaitLoad(wait) => self.await_load(wait).await,
            Step::AwaitTier(wait) => self.await_tier(wait).await,
            Step::ResumeLoad(_) => self.host_is_up(),
            Step::FinishLoad(f) => self.finish_load(f.within.into()).await,
            Step::StopLoad(_) => self.stop_load().await,
            Step::Kill(t) => {
                self.count_strikes(&t.node).await?;
                self.machines.kill(&t.node, t.program).await
            }
            Step::Stop(t) => {
                self.count_strikes(&t.node).await?;
                self.machines.stop(&t.node, t.program).await
            }
            Step::CrashAt(c) => self.crash_at(c).await,
            Step::Start(t) => self.start(&t.node, t.program).await,
            Step::Pause(t) => self.machines.signal(&t.node, t.program, Signal::Stop).await,
            Step::Continue(t) => self.machines.signal(&t.node, t.program, Signal::Continue).await,
            Step::PowerCut(n) => self.power_cut(&n.node).await,
            Step::Destroy(n) => self.destroy(&n.node).await,
            Step::Replace(n) => self.replace(&n.node).await,
            Step::Restore(r) if r.refused => self.restore_is_refused(&r.node, r.from).await,
            Step::Restore(r) => match &r.crash_at {
                Some(point) => self.crash_restore(r, point).await,
                None => self.restore(&r.node, r.from).await,
            },
            Step::Drain(d) => self.drain(d).await,
            Step::Judge(j) => match j.what {
                Judged::Recovery => self.judge_recovery().await,
                Judged::Survival => self.judge_survival().await,
                Judged::Everything => self.judge_everything().await,
            },
            Step::Replay(r) => self.replay(r).await,
            Step::Link(l) => self.machines.set_link(&l.from, &l.to, l.conditions),
            Step::S3Faults(s) => self.s3_faults(&s.node, &s.rules).await,
            Step::Damage(d) => self.damage(d).await,
            Step::Verify(v) => self.verify(&v.node, v.tier).await,
            Step::FillDisk(d) => self.machines.fill_disk(&d.node, d.leave.bytes()),
            Step::FreeDisk(n) => self.free_disk(&n.node).await,
            // The plan has written it out.
            Step::Repeat(_) => Ok(()),
        }
    }

    async fn start_lab(&mut self) -> Result<()> {
        let nodes = self.plan.scenario.nodes.iter();
        let s3 = nodes.filter(|(_, n)| matches!(n.role, Role::Nas | Role::Wasabi));
        for (node, _) in s3 {
            self.machines.start(node, None).await?;
        }
        let host = self.machines.host();
        self.machines.start(&host, Some(crate::scenario::Program::Nats)).await?;
        self.make_streams().await?;
        self.machines.start(&host, Some(crate::scenario::Program::StorageManager)).await?;
        for tier in self.plan.scenario.tiers() {
            self.start_sampler(tier)?;
        }
        self.host_is_up()
    }

    async fn make_streams(&mut self) -> Result<()> {
        let cannot = || "cannot make the streams".to_owned();
        let mut wire = Wire::connect(&self.machines.nats()?).await.step(cannot)?;
        for stream in &self.plan.scenario.streams {
            let mut config = json!({
                "name": stream.name, "subjects": stream.subjects, "storage": "file",
                "retention": "limits", "discard": "old", "num_replicas": 1,
            });
            for (key, value) in &stream.config {
                config[key] = serde_json::to_value(value).step(cannot)?;
            }
            let made = wire.api(&format!("STREAM.CREATE.{}", stream.name), &config).await;
            self.stream_configs.push(made.step(cannot)?["config"].clone());
        }
        for consumer in &self.plan.scenario.consumers {
            let (stream, name) = (&consumer.stream, &consumer.name);
            let config = json!({
                "durable_name": name, "name": name, "ack_policy": "explicit",
                "ack_wait": 30_000_000_000_u64, "max_ack_pending": 10_000,
                "description": format!("acknowledges {:?}", consumer.acks),
            });
            let body = json!({ "stream_name": stream, "config": config });
            let made = wire.api(&format!("CONSUMER.CREATE.{stream}.{name}"), &body).await;
            self.consumer_configs.push(made.step(cannot)?["config"].clone());
        }
        Ok(())
    }

    fn start_sampler(&mut self, tier: Tier) -> Result<()> {
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
    fn host_is_up(&mut self) -> Result<()> {
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

    fn start_load(&mut self, only: Option<&str>) {
        for (at, workload) in self.plan.scenario.workloads.iter().enumerate() {
            if only.is_none_or(|name| name == workload.name) {
                self.loads.start(self.plan, at);
            }
        }
        self.loading = true;
        self.active.send_replace(true);
    }

    async fn await_load(&mut self, wait: &AwaitLoad) -> Result<()> {
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

    async fn await_tier(&mut self, wait: &AwaitTier) -> Result<()> {
        let goal = wait.holds.of(workload::total(&self.plan.scenario));
        let bucket = self.machines.bucket(wait.tier)?;
        let bucket = bucket.ok_or_else(|| Error::step(format!("tier {} is down", wait.tier)))?;
        let streams = self.plan.scenario.streams.iter();
        let mut heads: Vec<_> = streams.map(|s| Head::new(s.name.clone())).collect();
        let what = format!("filling {} with {goal} messages", wait.tier);
        wait_until(&what, wait.within.into(), async || {
            for head in &mut heads {
                head.advance(&bucket).await;
            }
            let held: u64 = heads.iter().map(Head::watermark).sum();
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

    async fn destroy(&mut self, node: &NodeName) -> Result<()> {
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
    async fn power_cut(&mut self, node: &NodeName) -> Result<()> {
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

    async fn start(&mut self, node: &NodeName, program: Option<Program>) -> Result<()> {
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

    async fn replace(&mut self, node: &NodeName) -> Result<()> {
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

    async fn restore(&mut self, node: &NodeName, from: Tier) -> Result<()> {
        let tier = from.to_string();
        let args = ["restore", "--all", "--from", tier.as_str(), "--json"];
        self.machines.run_storage_manager(node, &args).await?.must_succeed(&args)?;
        let restored_at = self.ledger.now();
        self.next_life().await?;
        self.check_restored(from).await?;
        if let Some(lost) = self.losses.last_mut() {
            lost.from = Some(from);
            lost.restored_at = Some(restored_at);
        }
        Ok(())
    }

    async fn drain(&mut self, drain: &Drain) -> Result<()> {
        let url = self.machines.nats()?;
        let mut wire = Wire::connect(&url).await.step(cannot_read)?;
        let deadline = tokio::time::Instant::now() + drain.within.into();
        for stream in &self.plan.scenario.streams {
            let info = wire.api(&format!("STREAM.INFO.{}", stream.name), &Value::Null).await;
            let last = info.step(cannot_read)?["state"]["last_seq"].as_u64().unwrap_or_default();
            for tier in &drain.tiers {
                let bucket = self.machines.bucket(*tier)?;
                let bucket = bucket.ok_or_else(|| Error::step(format!("tier {tier} is down")))?;
                let mut head = Head::new(stream.name.clone());
                let left = deadline.saturating_duration_since(tokio::time::Instant::now());
                let what = format!("draining `{}` to {tier}", stream.name);
                wait_until(&what, left, async || {
                    head.advance(&bucket).await;
                    let at = head.watermark();
                    if at >= last { Ok(()) } else { Err(format!("it is at {at} of {last}")) }
                })
                .await?;
            }
        }
        self.machines.all_alive()
    }

    /// Counts, percentiles, expectations, and the verdict if every step was done.
    fn conclude(&mut self) {
        let counts = self.ledger.counts();
        let deletes = (0..self.seen.len()).map(|s| self.ledger.deletes(s).len() as u64).sum();
        let oracle = &mut self.report.oracle;
        (oracle.published, oracle.acked) = (counts.published, counts.acked);
        oracle.unacked = counts.published - counts.acked;
        oracle.deleted = deletes;
        for (defect, count) in [
            (Defect::Lost, &mut oracle.lost),
            (Defect::Duplicated, &mut oracle.duplicated),
            (Defect::Reordered, &mut oracle.reordered),
            (Defect::Changed, &mut oracle.changed),
            (Defect::Phantom, &mut oracle.phantom),
        ] {
            *count = self.wrong.iter().filter(|(d, _, _)| *d == defect).count() as u64;
        }
        let mut recoveries: BTreeMap<Tier, Vec<f64>> = BTreeMap::new();
        for lost in &mut self.losses {
            let epoch = lost.epoch + 1;
            let Some(mut loss) = lost.loss.take() else { continue };
            let first_ack = self.ledger.first_ack(epoch);
            let done = lost.read_at.zip(first_ack).map(|(r, a)| r.max(a));
            loss.began_seconds = lost.recovery_began.map(seconds);
            loss.restored_seconds = lost.restored_at.map(seconds);
            loss.read_seconds = lost.read_at.map(seconds);
            loss.first_ack_seconds = first_ack.map(seconds);
            loss.rto_seconds =
                done.zip(lost.recovery_began).map(|(done, began)| seconds(done - began));
            if let (Some(tier), Some(rto)) = (loss.recovered_from, loss.rto_seconds) {
                recoveries.entry(tier).or_default().push(rto);
            }
            self.report.oracle.tail += loss.tail_events;
            self.report.losses.push(loss);
        }
        let spreads = recoveries.into_iter().filter_map(|(t, v)| Some((t, Spread::of(v)?)));
        self.report.rto_seconds = spreads.collect();
        let samples = self.samples.lock().unwrap_or_else(PoisonError::into_inner).clone();
        self.report.timeline.load = self.pace.points();
        let lag = samples.iter().map(|(tier, samples)| (*tier, lag::line(samples)));
        self.report.timeline.lag = lag.collect();
        let spreads = samples.into_iter().filter_map(|(tier, samples)| {
            Some((tier, Spread::of(samples.iter().map(|s| seconds(s.age)).collect())?))
        });
        self.report.rpo_seconds = spreads.collect();
        self.expectations();
        let must_lose = self.plan.scenario.expect.lost_at_least > 0;
        let clean = |judgement: &crate::report::Judgement| {
            judgement.clean() || (must_lose && judgement.only_lost())
        };
        let clean = self.report.judgements.iter().all(clean);
        let wrong = self.report.oracle.consumers_wrong + self.report.oracle.streams_wrong;
        let missed = self.report.expectations.iter().filter(|e| !e.met).count();
        (self.report.verdict, self.report.reason) = match (clean && wrong == 0, missed) {
            (true, 0) => (Verdict::Passed, None),
            (true, n) => (Verdict::Failed, Some(format!("{n} expectations were not met"))),
            (false, _) => (Verdict::Failed, Some("the oracle found what should not be".to_owned())),
        };
    }

    fn expectations(&mut self) {
        let expect = &self.plan.scenario.expect;
        let mut met = Vec::new();
        let mut at_most = |what: String, bound: f64, measured: Option<f64>| {
            let measured = measured.unwrap_or(f64::MAX);
            met.push(Expectation { what, bound, measured, met: measured <= bound });
        };
        for (tier, bounds) in &expect.lag {
            let spread = self.report.rpo_seconds.get(tier);
            for (name, bound, value) in [
                ("p50", bounds.p50, spread.map(|s| s.p50)),
                ("p99", bounds.p99, spread.map(|s| s.p99)),
                ("max", bounds.max, spread.map(|s| s.max)),
            ] {
                if let Some(bound) = bound {
                    at_most(format!("lag at {tier}, {name}"), seconds(bound.as_micros()), value);
                }
            }
        }
        for loss in &self.report.losses {
            let Some(tier) = loss.recovered_from else { continue };
            if let Some(bound) = expect.rpo.get(&tier) {
                let what = format!("RPO of the recovery from {tier}");
                at_most(what, seconds(bound.as_micros()), Some(loss.rpo_seconds));
            }
            if let Some(bound) = expect.rto.get(&tier) {
                let what = format!("RTO of the recovery from {tier}");
                at_most(what, seconds(bound.as_micros()), loss.rto_seconds);
            }
        }
        let mut at_least = |what: &str, bound: u64, measured: u64| {
            let (what, met_it) = (format!("{what}, at least"), measured >= bound);
            let (bound, measured) = (bound as f64, measured as f64);
            met.push(Expectation { what, bound, measured, met: met_it });
        };
        for loss in self.report.losses.iter().filter(|l| l.recovered_from.is_some()) {
            let bound = expect.recovered_at_least.max(1);
            at_least("messages that a recovery brought back", bound, loss.recovered);
        }
        if expect.lost_at_least > 0 {
            let lost = self.report.oracle.lost;
            at_least("acked events that were lost", expect.lost_at_least, lost);
        }
        let exact = self.report.judgements.iter().map(|j| j.exact).max().unwrap_or_default();
        at_least("messages in the largest comparison", expect.events_at_least.max(1), exact);
        for (what, struck) in self.struck() {
            at_least(&what, 1, struck);
        }
        self.report.expectations = met;
    }
}

pub(super) fn cannot_read() -> String {
    "the oracle cannot read from NATS".to_owned()
}

pub(super) fn seconds(micros: Micros) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}
