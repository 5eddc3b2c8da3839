//! Unattended runs: scenario after scenario, seed after seed, until the time is over.
//!
//! Owns the order of runs, the journal of their ends, and the summary. Does not own a run itself
//! (`runner`, `engine`).
//!
//! - Scenarios come in rounds: each once, in an order that the soak's seed draws, then all of them
//!   again. The same seed gives the same scenarios and seeds in the same order.
//! - Every run that ends adds a line to `soak.ndjson` and syncs it, so the findings so far survive
//!   the end of this process or machine.
//! - A run that does not pass keeps its directory, up to a number of them; its seed is always kept.

mod journal;
mod summary;

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Duration;

use rand::rngs::Xoshiro256PlusPlus;
use rand::seq::SliceRandom as _;
use rand::{RngExt as _, SeedableRng as _};
use tokio::time::Instant;

use crate::engine::Options;
use crate::error::{Context as _, Error, Result, make_dir};
use crate::progress::Progress;
use crate::report::Verdict;
use crate::runner::{self, Job, RunEvent, RunResult};

pub(crate) use journal::{FILE, read};
use journal::{Journal, Line};
pub(crate) use summary::Summary;

/// The options of a soak.
#[derive(Debug, Clone)]
pub(crate) struct Soak {
    /// The seed of all choices.
    pub(crate) seed: u64,
    /// The time after the start from which no run begins.
    pub(crate) time: Option<Duration>,
    /// The most runs.
    pub(crate) runs: Option<u64>,
    /// The number of runs at a time.
    pub(crate) at_once: usize,
    /// True to end after the first run that does not pass.
    pub(crate) fail_fast: bool,
    /// The most directories of runs that did not pass to keep: the first ones.
    pub(crate) keep_at_most: usize,
}

/// The runs that jobs are drawn from: everything of a job but its seed.
pub(crate) type Pool = Vec<Job>;

/// Runs the soak. `pool` has at least one scenario, and all of them can run.
pub(crate) async fn run(soak: &Soak, pool: Pool, options: &Options) -> Result<Summary> {
    let dir = directory(&options.runs_dir, soak.seed)?;
    let mut journal = Journal::create(&dir)?;
    let (progress, began) = (Progress::new(false), Instant::now());
    progress.line(&format!(
        "soak, seed {}, {} scenarios, in {}",
        soak.seed,
        pool.len(),
        dir.display()
    ));
    let options = Options { runs_dir: dir.clone(), quiet: true, keep: false, ..options.clone() };
    let mut tally = Summary::new(soak.seed, &dir);
    let mut kept = 0;
    let mut wrong = None;
    let deadline = soak.time.map(|time| began + time);
    let limit = soak.runs.map_or(usize::MAX, |runs| usize::try_from(runs).unwrap_or(usize::MAX));
    let jobs = draws(pool, soak.seed)
        .take(limit)
        .take_while(|_| deadline.is_none_or(|deadline| Instant::now() < deadline));
    runner::run(jobs, soak.at_once, &options, |news| {
        let ended = match news {
            RunEvent::Running(names) => {
                progress.live(&status(&tally, names, deadline));
                return ControlFlow::Continue(());
            }
            RunEvent::Ended(ended) => ended,
        };
        if matches!(ended.outcome, Err(Error::Interrupted)) {
            return ControlFlow::Break(());
        }
        let good = matches!(&ended.outcome, Ok(r) if r.verdict != Verdict::Failed);
        progress.line(&ended.line());
        let mut line = Line::of(&ended);
        line.run_dir = kept_dir(&dir, &ended);
        if let Some(path) = &line.run_dir {
            kept += 1;
            if kept > soak.keep_at_most {
                // Its seed reproduces it.
                drop(std::fs::remove_dir_all(path));
                line.run_dir = None;
            }
        }
        if let Err(error) = journal.add(&line) {
            wrong = Some(error);
            return ControlFlow::Break(());
        }
        tally.add(line);
        if soak.fail_fast && !good { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    })
    .await;
    tally.seconds = began.elapsed().as_secs_f64();
    tally.interrupted = options.interrupt.heard();
    wrong.map_or(Ok(tally), Err)
}

fn directory(root: &Path, seed: u64) -> Result<PathBuf> {
    make_dir(root)?;
    let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
    let path = root.join(format!("soak-{time}-{seed}"));
    std::fs::create_dir(&path).setup(|| format!("cannot make `{}`", path.display()))?;
    path.canonicalize().setup(|| format!("cannot find `{}`", path.display()))
}

/// Draws jobs without end.
fn draws(mut pool: Pool, seed: u64) -> impl Iterator<Item = Job> {
    let mut rng = Xoshiro256PlusPlus::seed_from_u64(seed);
    let mut left: Vec<Job> = Vec::new();
    std::iter::from_fn(move || {
        if left.is_empty() {
            pool.sort_by(|a, b| a.name.cmp(&b.name));
            pool.shuffle(&mut rng);
            left.clone_from(&pool);
        }
        // Seeds that a person can read out.
        let seed = u64::from(rng.random::<u32>());
        left.pop().map(|job| Job { seed, ..job })
    })
}

/// Returns the directory that a run left, if it did.
fn kept_dir(soak: &Path, ended: &RunResult) -> Option<String> {
    let (start, end) = (format!("{}-", ended.name), format!("-{}", ended.seed));
    let mut entries = std::fs::read_dir(soak).ok()?.filter_map(Result::ok);
    let of_it = entries.find(|entry| {
        let name = entry.file_name();
        let name = name.to_string_lossy();
        name.starts_with(&start) && name.ends_with(&end)
    });
    of_it.map(|entry| entry.path().display().to_string())
}

fn status(tally: &Summary, names: &[(String, u64)], deadline: Option<Instant>) -> String {
    let names: Vec<_> = names.iter().map(|(name, seed)| format!("{name} ({seed})")).collect();
    let left = deadline.map(|d| d.saturating_duration_since(Instant::now()).as_secs());
    let left = left.map(|s| format!(", {}:{:02}:{:02} left", s / 3600, s / 60 % 60, s % 60));
    let (runs, bad) = (tally.runs(), tally.bad());
    format!(
        "{runs} runs, {bad} not passed{}, running {}",
        left.unwrap_or_default(),
        names.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_seed_draws_one_sequence_in_rounds() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/scenarios");
        let listed = crate::scenario::list(&dir).unwrap();
        let pool: Pool = listed
            .into_iter()
            .map(|l| Job {
                name: l.name,
                scenario: l.scenario.unwrap(),
                seed: 0,
                arguments: Vec::new(),
            })
            .collect();
        let count = pool.len();
        let drawn = |seed: u64| -> Vec<(String, u64)> {
            draws(pool.clone(), seed).take(count * 3).map(|job| (job.name, job.seed)).collect()
        };
        assert_eq!(drawn(5), drawn(5));
        assert_ne!(drawn(5), drawn(6));
        for round in drawn(5).chunks(count) {
            let names: std::collections::BTreeSet<_> = round.iter().map(|(name, _)| name).collect();
            assert_eq!(names.len(), count, "each once");
        }
    }
}
