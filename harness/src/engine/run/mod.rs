//! A run: its state, and the dispatch of its steps.

mod administrator;
mod configuration;
mod consumer_group;
mod copy;
mod crash;
mod damage;
mod faults;
mod host_loss;
mod judging;
mod lab;
mod loads;
mod objects;
mod quorum_loss;
mod recovery;
mod replay;
mod replica;
mod sourced;
mod stream_reader;
mod throughput;
mod under_test;
mod verdict;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::Duration;

use cim_core::names::NodeName;
use serde_json::Value;
use tokio::sync::watch;

use self::administrator::Ended;
use self::consumer_group::Group;
use self::replica::{DamagedReplica, ReplicaHoles};
use self::throughput::Pace;
use self::under_test::StreamUnderTest;
use crate::engine::Options;
use crate::error::Result;
use crate::lab::process::{Launcher, Signal};
use crate::ledger::{Ledger, Micros};
use crate::oracle::judge::Defect;
use crate::oracle::lag::{Measurements, Sampler};
use crate::oracle::recorder::StreamRecorder;
use crate::oracle::tier::Holding;
use crate::plan::Plan;
use crate::progress::Progress;
use crate::report::{Loss, Report, StepReport};
use crate::rundir::RunDir;
use crate::scenario::{Effect, Expect, Fault, Judged, Load, Nature, Role, Span, Step, Tier};
use crate::substrate::Machines;
use crate::workload::{self, ConsumerLog, Consumption, Generator, Host, Loads};

/// A run under way.
struct Run<'a> {
    plan: &'a Plan,
    /// The scenario's bounds, widened for a slow lab.
    expect: Expect,
    progress: &'a Progress,
    report: &'a mut Report,
    ledger: Arc<Ledger>,
    generators: Vec<Arc<Generator>>,
    machines: Machines,
    host: watch::Sender<Host>,
    leaves: BTreeMap<NodeName, watch::Sender<Host>>,
    loads: Loads,
    loading: bool,
    /// The hosts that are destroyed and not replaced yet.
    destroyed_hosts: BTreeSet<NodeName>,
    /// True while the host, or the majority of its cluster, is lost and its replacement is not
    /// complete.
    host_lost: bool,
    /// True after the NAS was replaced: the new one gets back what Wasabi has.
    nas_replaced: bool,
    /// True after the host's power was cut, until it is started again.
    without_power: bool,
    active: watch::Sender<bool>,
    /// True while a step waits for tiers to catch up.
    draining: watch::Sender<bool>,
    measured: Measurements,
    pace: Pace,
    samplers: BTreeMap<Tier, Sampler>,
    /// The streams, by their places in the scenario.
    streams: Vec<StreamUnderTest>,
    recorders: Vec<StreamRecorder>,
    consumer_logs: Vec<Arc<ConsumerLog>>,
    consumptions: Vec<Consumption>,
    /// By consumer, its members and their fates; empty for one without.
    groups: Vec<Group>,
    launcher: Launcher,
    /// By consumer, the configuration that the server returned when it was made.
    consumer_configs: Vec<Value>,
    /// By ended host life and by stream, the last sequence that lives on.
    bounds: Vec<Vec<u64>>,
    losses: Vec<Lost>,
    /// The hosts of a cluster that were damaged and not judged yet.
    damaged_replicas: Vec<DamagedReplica>,
    /// The messages that damaged hosts of a cluster were found to lack.
    replica_holes: ReplicaHoles,
    /// A description of the damage, and by stream the last sequence that the NAS had confirmed
    /// before it.
    damaged_streams: Option<(String, Vec<u64>)>,
    /// The histories of streams that were deleted, in order.
    ended: Vec<Ended>,
    /// The number of copies restored so far.
    copies: u32,
    /// The defects found, each event once.
    wrong: HashSet<(Defect, usize, u64)>,
    /// The damaged objects that are still there.
    damaged: BTreeSet<Damaged>,
    /// By node and fault, the strikes of fault plans that are over.
    strikes: BTreeMap<(NodeName, Fault), u64>,
}

/// An object of a tier that was damaged.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Damaged {
    tier: Tier,
    key: String,
    /// True for an entry that cannot be read: no reader gets to the entries after it.
    ends: bool,
}

/// A host that was lost.
#[derive(Debug)]
struct Lost {
    node: NodeName,
    /// The host's life that it ended.
    epoch: u32,
    at: Micros,
    /// By tier and stream, what the oracle read right after.
    tiers: BTreeMap<Tier, Vec<Option<Holding>>>,
    recovery_began: Option<Micros>,
    from: Option<Tier>,
    restored_at: Option<Micros>,
    read_at: Option<Micros>,
    loss: Option<Loss>,
}

/// Performs the plan and writes the findings into the report.
pub(super) async fn drive(
    plan: &Plan,
    options: &Options,
    dir: &RunDir,
    machines: Machines,
    launcher: Launcher,
    progress: &Progress,
    report: &mut Report,
) -> Result<()> {
    let scenario = &plan.scenario;
    let total = workload::total(scenario);
    let streams = scenario.streams.len();
    let ledger = Ledger::new(total, streams, &dir.path().join("ledger.csv"))?;
    // One clock for measurements and steps.
    let ledger = Arc::new(ledger.since(progress.started()));
    let plan_text = serde_json::to_vec_pretty(plan).expect("a plan is always JSON");
    crate::error::write_file(&dir.path().join("plan.json"), plan_text)?;
    let generators = workload::generators(plan, options.corpus.as_ref());
    let pace = Pace::start(Arc::clone(&ledger));
    let host = watch::Sender::new(None);
    let leaves = scenario.nodes_of(Role::Leaf).map(|leaf| (leaf.clone(), watch::Sender::new(None)));
    let leaves: BTreeMap<_, _> = leaves.collect();
    let places = scenario.streams.iter().map(|stream| match &stream.node {
        Some(leaf) => leaves[leaf].subscribe(),
        None => host.subscribe(),
    });
    let places = places.collect();
    let slowdown = options.substrate.slowdown();
    report.slowdown = (slowdown > 1).then_some(slowdown);
    let mut run = Run {
        plan,
        expect: scenario.expect.clone().widened(slowdown),
        progress,
        report,
        loads: Loads::new(generators.clone(), Arc::clone(&ledger), places),
        loading: false,
        destroyed_hosts: BTreeSet::new(),
        host_lost: false,
        nas_replaced: false,
        without_power: false,
        ledger,
        generators,
        machines,
        host,
        leaves,
        active: watch::Sender::new(false),
        draining: watch::Sender::new(false),
        measured: Measurements::default(),
        pace,
        samplers: BTreeMap::new(),
        streams: (0..streams).map(|_| StreamUnderTest::default()).collect(),
        recorders: Vec::new(),
        consumer_logs: scenario.consumers.iter().map(|_| Arc::default()).collect(),
        consumptions: Vec::new(),
        groups: scenario.consumers.iter().map(|_| Group::default()).collect(),
        launcher,
        consumer_configs: vec![Value::Null; scenario.consumers.len()],
        bounds: Vec::new(),
        losses: Vec::new(),
        damaged_replicas: Vec::new(),
        replica_holes: ReplicaHoles::default(),
        damaged_streams: None,
        ended: Vec::new(),
        copies: 0,
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

    /// Returns how long a step may take in this lab.
    fn patient(&self, within: Span) -> Duration {
        Duration::from(within) * self.report.slowdown.unwrap_or(1)
    }

    async fn step(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::Load(Load { workload }) => {
                self.start_load(workload.as_deref());
                Ok(())
            }
            Step::AwaitLoad(wait) => self.await_load(wait).await,
            Step::AwaitTier(wait) => self.await_tier(wait).await,
            Step::AwaitTakeover(a) => {
                self.await_takeover(&a.consumer, self.patient(a.within)).await
            }
            Step::StepClock(c) => self.machines.step_clock(&c.node, c.by).await,
            Step::LoseMember(l) => self.lose_member(l).await,
            Step::AwaitReplicas(a) => self.await_all_replicas(self.patient(a.within)).await,
            Step::ExpectNoAcks(e) => self.expect_no_acks(e).await,
            Step::ResumeLoad(_) => self.host_is_up().await,
            Step::FinishLoad(f) => self.finish_load(self.patient(f.within)).await,
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
            Step::Age(a) => self.machines.age(&a.node, a.days).await,
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
                Judged::Primary => self.judge_primary().await,
                Judged::Everything => self.judge_everything().await,
            },
            Step::Replay(r) => self.replay(r).await,
            Step::ReadObjects(r) => self.read_objects(r).await,
            Step::PurgeStream(p) => self.purge_stream(p).await,
            Step::DeleteStream(s) => self.delete_stream(&s.stream).await,
            Step::MakeStream(s) => self.make_stream(&s.stream).await,
            Step::UpdateStream(u) => self.update_stream(u).await,
            Step::RestoreCopy(r) => self.restore_copy(r).await,
            Step::DamageStream(d) => self.damage_stream(d).await,
            Step::Link(l) => self.machines.set_link(&l.from, &l.to, l.conditions),
            Step::S3Faults(s) => self.s3_faults(&s.node, &s.rules).await,
            Step::Damage(d) => self.damage(d).await,
            Step::Verify(v) => self.verify(&v.node, v.tier).await,
            Step::FillDisk(d) => self.machines.fill_disk(&d.node, d.leave.bytes()),
            Step::FreeDisk(n) => self.free_disk(&n.node).await,
            // The plan has expanded it.
            Step::Repeat(_) => Ok(()),
        }
    }
}

fn cannot_read() -> String {
    "the oracle cannot read from NATS".to_owned()
}

fn seconds(micros: Micros) -> f64 {
    Duration::from_micros(micros).as_secs_f64()
}
