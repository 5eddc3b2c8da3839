//! Loads: publishers, deletes and consumers against the current host.
//!
//! Owns publishers and consumers, and the record of what they did in the ledger. Does not own the
//! streams' configuration, and any judgement of what arrived (`oracle`).

mod consume;
mod delete;
pub mod event;
pub mod group;
pub mod member;
mod publish;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

pub use consume::{ConsumerLog, Consumption, Worker};
pub use event::{Content, Generator, Object};
pub(crate) use publish::connect;
pub use publish::{Host, HostAt};

use crate::ledger::{EventId, Ledger};
use crate::plan::Plan;
use crate::scenario::{Scenario, WorkloadSpec};

/// The loads of a run.
#[derive(Debug)]
pub struct Loads {
    generators: Vec<Arc<Generator>>,
    /// By stream, the host or leaf node that has it.
    hosts: Vec<watch::Receiver<Host>>,
    ledger: Arc<Ledger>,
    running: JoinSet<()>,
    stopped: Arc<AtomicBool>,
    deleters: Vec<JoinHandle<()>>,
}

/// Returns the loads' generators, with events numbered through all of them.
pub fn generators(plan: &Plan, corpus: Option<&Arc<Vec<bytes::Bytes>>>) -> Vec<Arc<Generator>> {
    let bases = bases(&plan.scenario);
    let specs = plan.scenario.workloads.iter().zip(bases);
    specs
        .map(|(w, base)| Arc::new(Generator::new(plan.seed, base, w.clone(), corpus.cloned())))
        .collect()
}

/// Returns the number of each load's first event.
pub(crate) fn bases(scenario: &Scenario) -> Vec<EventId> {
    let mut next = 0;
    let mut bases = Vec::new();
    for workload in &scenario.workloads {
        bases.push(next);
        next += workload.events;
    }
    bases
}

/// Returns the number of all events of a scenario.
pub(crate) fn total(scenario: &Scenario) -> u64 {
    scenario.workloads.iter().map(|w| w.events).sum()
}

impl Loads {
    /// Makes loads that have not started yet.
    pub fn new(
        generators: Vec<Arc<Generator>>,
        ledger: Arc<Ledger>,
        hosts: Vec<watch::Receiver<Host>>,
    ) -> Self {
        let (running, deleters) = (JoinSet::new(), Vec::new());
        Self { generators, hosts, ledger, running, stopped: Arc::default(), deleters }
    }

    /// Starts the load at this place in the scenario.
    pub fn start(&mut self, plan: &Plan, workload: usize) {
        let spec = &plan.scenario.workloads[workload];
        let base = bases(&plan.scenario)[workload];
        let stream = stream_index(&plan.scenario, spec.stream.as_str());
        let chosen = plan.deletes[workload].iter().map(|event| base + event).collect();
        let chosen: Arc<BTreeSet<EventId>> = Arc::new(chosen);
        let (to_delete, asked) = mpsc::unbounded_channel();
        let deleter = delete::Deleter {
            ledger: Arc::clone(&self.ledger),
            stream,
            name: spec.stream.clone(),
            host: self.hosts[stream].clone(),
        };
        self.deleters.push(tokio::spawn(deleter.run(asked)));
        for publisher in 0..spec.publishers {
            let share = share(publisher, spec);
            let publisher = publish::Publisher {
                ledger: Arc::clone(&self.ledger),
                generator: Arc::clone(&self.generators[workload]),
                stream,
                events: share.map(|event| base + event).collect(),
                rate: spec.rate,
                publishers: spec.publishers,
                window: spec.window,
                republish: spec.republish,
                ack_within: spec.ack_within.into(),
                deletes: Arc::clone(&chosen),
                to_delete: to_delete.clone(),
                stopped: Arc::clone(&self.stopped),
                host: self.hosts[stream].clone(),
            };
            self.running.spawn(publisher.run());
        }
    }

    /// Makes every publisher stop before its next event.
    pub fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Waits until every started publisher has ended and every delete is done.
    pub async fn finish(&mut self) {
        while self.running.join_next().await.is_some() {}
        for deleter in self.deleters.drain(..) {
            // A deleter ends when its publishers have; one that panicked has left its deletes
            // undone, and the oracle finds that.
            drop(deleter.await);
        }
    }
}

/// Returns one publisher's events of a load; an object is put by one publisher.
fn share(publisher: u32, spec: &WorkloadSpec) -> impl Iterator<Item = EventId> {
    let (publishers, together) = (u64::from(spec.publishers), event::together(spec));
    (0..spec.events).filter(move |event| event / together % publishers == u64::from(publisher))
}

impl Drop for Loads {
    fn drop(&mut self) {
        for deleter in &self.deleters {
            deleter.abort();
        }
    }
}

/// Returns a stream's place in the scenario, which the check has found to exist.
pub(crate) fn stream_index(scenario: &Scenario, name: &str) -> usize {
    scenario.streams.iter().position(|s| s.name.as_str() == name).unwrap_or_default()
}
