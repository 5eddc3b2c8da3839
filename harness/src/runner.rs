//! Many runs: one after another, or several at a time, each in a thread and a runtime of its own.
//!
//! Labs share only the machine: ports, credentials and directories are each one's own. So runs may
//! go side by side; a run that measures time goes alone.

use std::ops::ControlFlow;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::engine::{self, Options};
use crate::error::{Context as _, Error, Result};
use crate::report::Report;
use crate::scenario::Scenario;

/// A run to do.
#[derive(Debug, Clone)]
pub(crate) struct Job {
    /// The scenario's name.
    pub(crate) name: String,
    /// The scenario.
    pub(crate) scenario: Scenario,
    /// The seed of its choices.
    pub(crate) seed: u64,
    /// The arguments with which `cim-harness scenario` repeats it, but for the seed.
    pub(crate) arguments: Vec<String>,
}

impl Job {
    /// Reports whether it must run alone: a bound on a tier's lag tells about the storage manager
    /// only if no other run needs the processor.
    pub(crate) fn alone(&self) -> bool {
        !self.scenario.expect.lag.is_empty() || !self.scenario.expect.age.is_empty()
    }
}

/// A run that has ended.
#[derive(Debug)]
pub(crate) struct RunResult {
    /// The scenario's name.
    pub(crate) name: String,
    /// The seed of its choices.
    pub(crate) seed: u64,
    /// Its duration.
    pub(crate) took: Duration,
    /// The report; an error if there is no verdict.
    pub(crate) outcome: Result<Report>,
}

impl RunResult {
    /// Returns its outcome on one line, with the kept directory if it did not pass.
    pub(crate) fn line(&self) -> String {
        let (name, seed, took) = (&self.name, self.seed, self.took.as_secs_f64());
        match &self.outcome {
            Ok(report) => {
                let reason = report.reason.as_ref().map(|r| format!(": {r}"));
                let dir = report.run_dir.as_ref().map(|dir| format!(" (kept in {dir})"));
                let (reason, dir) = (reason.unwrap_or_default(), dir.unwrap_or_default());
                format!("{name}, seed {seed}, {} in {took:.1} s{reason}{dir}", report.verdict)
            }
            Err(error) => format!("{name}, seed {seed}, without a verdict: {}", error.chain()),
        }
    }
}

/// An event of [`run`].
#[derive(Debug)]
pub(crate) enum RunEvent<'a> {
    /// These runs are under way now, by name and seed.
    Running(&'a [(String, u64)]),
    /// A run has ended.
    Ended(Box<RunResult>),
}

/// Does all jobs, at most `at_once` at a time, and those that measure time alone. Starts no further
/// one after `tell` breaks or the harness is interrupted; the running ones then end in their own
/// way.
pub(crate) async fn run(
    jobs: impl Iterator<Item = Job>,
    at_once: usize,
    options: &Options,
    mut tell: impl FnMut(RunEvent<'_>) -> ControlFlow<()>,
) {
    let mut jobs = jobs.peekable();
    let mut running = JoinSet::new();
    let mut names: Vec<(String, u64)> = Vec::new();
    let mut alone = false;
    let mut stop = false;
    loop {
        while !stop && !options.interrupt.heard() && running.len() < at_once.max(1) && !alone {
            if jobs.peek().is_some_and(|job| job.alone() && !running.is_empty()) {
                break;
            }
            let Some(job) = jobs.next() else { break };
            alone = job.alone();
            names.push((job.name.clone(), job.seed));
            let seed = ["--seed".to_owned(), job.seed.to_string()];
            let arguments = job.arguments.iter().cloned().chain(seed).collect();
            let options = Options { seed: job.seed, arguments, ..options.clone() };
            running.spawn_blocking(move || one(job, &options));
            stop = tell(RunEvent::Running(&names)).is_break();
        }
        let Some(ended) = running.join_next().await else { return };
        let ended = ended.expect("a run's panic is caught in its thread");
        alone = false;
        names.retain(|(name, seed)| *name != ended.name || *seed != ended.seed);
        stop |= tell(RunEvent::Ended(Box::new(ended))).is_break();
    }
}

/// Does a run to its end in a runtime of its own, on this thread. A panic becomes an error, so that
/// other runs go on.
pub(crate) fn by_itself<T>(run: impl Future<Output = Result<T>>) -> Result<T> {
    let work = || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
        runtime.setup(|| "cannot start a runtime".into())?.block_on(run)
    };
    std::panic::catch_unwind(std::panic::AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(Error::setup("the harness panicked, which is a bug in it: report it with the panic message on stderr"))
    })
}

fn one(job: Job, options: &Options) -> RunResult {
    let began = Instant::now();
    let Job { name, scenario, seed, .. } = job;
    let outcome = by_itself(engine::run(&name, scenario, options));
    RunResult { name, seed, took: began.elapsed(), outcome }
}
