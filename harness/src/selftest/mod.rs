//! The proof that the tests can fail: the storage manager is built with sabotages, and the oracle
//! must find each of them as the right defect; and it must find nothing in runs without one.
//!
//! Owns the list of mutations, the cases that must find them, and the verdict on the tests. Does
//! not own the mutations' code, which is the storage manager's, in a test build.

mod cases;
mod print;
mod run;

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use serde::Serialize;

use crate::error::{Error, Result};
use crate::interrupt::Interrupt;
use crate::lab::test_build::TestBuild;
use crate::lab::tools::{Tool, Tools};
use crate::progress::Progress;
use crate::rundir::{RunDir, default_root};
use cases::{CASES, Case, Small};
use run::{Planned, Runner};

const STATUSES: &str = "Exit status:
  0    every sabotage was found as the right defect, and runs without one were clean
  1    a sabotage was missed or mistaken, or a run without one failed: the table says which, and its directory is kept
  2    the command line is wrong
  3    a lab could not be set up, or there is no storage manager with sabotages: `ci/selftest` builds it
  130  interrupted; nothing is left running";

/// `cim-harness selftest`
#[derive(Debug, clap::Args)]
#[command(after_help = STATUSES)]
pub struct Args {
    /// Run only these sabotages, comma-separated; `none` for the runs without any.
    #[arg(long, value_name = "NAMES", value_delimiter = ',')]
    only: Vec<String>,
    /// List the sabotages.
    #[arg(long)]
    list: bool,
    /// Print the rows as JSON.
    #[arg(long)]
    json: bool,
    /// Draw every choice from this number [default: a new one].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// The number of runs of each scenario with the ordinary storage manager, with the seed and
    /// those after it.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    repeat: u64,
    /// The number of labs at a time.
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..))]
    jobs: u16,
    /// The parent directory of run directories [default: runs of the project].
    #[arg(long, value_name = "DIR")]
    runs_dir: Option<PathBuf>,
    /// Look for programs here first.
    #[arg(long, value_name = "DIR", env = "CIM_BIN_DIR")]
    bin_dir: Option<PathBuf>,
}

/// The name of the runs without a sabotage.
const NONE: &str = "none";

/// A run and its outcome.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct Row {
    /// The sabotage, or `none`.
    sabotage: &'static str,
    /// The program that ran: the ordinary one, or the test build.
    program: &'static str,
    scenario: &'static str,
    seed: u64,
    outcome: Outcome,
    /// The finding, or the problem.
    how: String,
    seconds: f64,
    /// The directory of logs and disks, if the outcome is bad.
    #[serde(skip_serializing_if = "Option::is_none")]
    run_dir: Option<String>,
}

/// The outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
enum Outcome {
    /// The scenario failed, and the report names the right defect.
    Caught,
    /// No sabotage was armed, and nothing was reported.
    Clean,
    /// The scenario passed.
    Unnoticed,
    /// It failed, and the report names another defect.
    Mistaken,
    /// The sabotage never acted: the run proves nothing.
    NeverActed,
    /// A defect was reported, and no sabotage was armed.
    Reported,
}

impl Outcome {
    fn good(self) -> bool {
        matches!(self, Self::Caught | Self::Clean)
    }
}

/// Runs the self-test, or lists the sabotages.
pub(crate) fn main(args: &Args) -> Result<ExitCode> {
    let wanted = wanted(&args.only)?;
    if args.list {
        print::list();
        return Ok(ExitCode::SUCCESS);
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime =
        runtime.map_err(|e| Error::Setup("cannot start the runtime".into(), Some(e.into())))?;
    // An interrupted run reports that itself, when its whole lab is gone.
    let rows = runtime.block_on(rows(args, &wanted))?;
    print::rows(&rows, args.json);
    Ok(ExitCode::from(u8::from(!rows.iter().all(|row| row.outcome.good()))))
}

/// Returns the selected cases, and whether the runs without sabotage are selected.
fn wanted(only: &[String]) -> Result<(Vec<Case>, bool)> {
    let known = |name: &String| name == NONE || CASES.iter().any(|case| case.sabotage == *name);
    if let Some(unknown) = only.iter().find(|name| !known(name)) {
        let names: Vec<_> = CASES.iter().map(|case| case.sabotage).collect();
        let names = names.join(", ");
        return Err(Error::Usage(format!(
            "`{unknown}` is not a sabotage: there are {names}, and `{NONE}`"
        )));
    }
    let asked = |name: &str| only.is_empty() || only.iter().any(|o| o == name);
    Ok((CASES.into_iter().filter(|case| asked(case.sabotage)).collect(), asked(NONE)))
}

async fn rows(args: &Args, (cases, clean): &(Vec<Case>, bool)) -> Result<Vec<Row>> {
    let tools = Tools::new(args.bin_dir.clone());
    let build = TestBuild::find(&tools)?;
    agrees(&build)?;
    let ordinary = tools.find(Tool::StorageManager)?;
    let seed = args.seed.unwrap_or_else(|| u64::from(rand::random::<u32>()));
    let root = args.runs_dir.clone().unwrap_or_else(default_root);
    let mut runs = Runs { dir: RunDir::create(&root, "selftest", seed)?, keep: false };
    let path = runs.dir.path().to_owned();
    let progress = Progress::new(false);
    progress.line(&format!("seed {seed}, in {}", path.display()));
    let bench = Runner { tools, runs: path, progress, interrupt: Interrupt::listen()? };
    let test_build = |small, seed, lie| Planned {
        build: "test build",
        program: build.program.clone(),
        small,
        seed,
        lie,
    };
    let mut planned: Vec<_> =
        cases.iter().map(|case| test_build(case.scenario, seed, Some(*case))).collect();
    if *clean {
        planned.extend(Small::ALL.map(|small| test_build(small, seed, None)));
        for seed in (seed..).take(usize::try_from(args.repeat).unwrap_or(usize::MAX)) {
            planned.extend(Small::ALL.map(|small| {
                let program = ordinary.clone();
                Planned { build: "ordinary", program, small, seed, lie: None }
            }));
        }
    }
    let bench = Arc::new(bench);
    let rows: Vec<Row> = stream::iter(planned)
        .map(|planned| Arc::clone(&bench).row(planned))
        .buffered(args.jobs.into())
        .try_collect()
        .await?;
    runs.keep = rows.iter().any(|row| row.run_dir.is_some());
    Ok(rows)
}

/// Checks that both programs know the same sabotages: others would stay unproven.
fn agrees(build: &TestBuild) -> Result<()> {
    let there = &build.hooks.sabotages;
    let unproven = there.iter().find(|name| CASES.iter().all(|case| case.sabotage != **name));
    let missing = CASES.iter().find(|case| there.iter().all(|name| name != case.sabotage));
    let what = match (unproven, missing) {
        (None, None) => return Ok(()),
        (Some(name), _) => format!("has a sabotage `{name}` that no scenario here catches"),
        (None, Some(case)) => format!("has no sabotage `{}`", case.sabotage),
    };
    let path = build.program.display();
    Err(Error::setup(format!("`{path}` {what}: build both from the same source, `ci/selftest`")))
}

/// The directory of all runs. It is deleted with everything in it, unless a run is kept.
struct Runs {
    dir: RunDir,
    keep: bool,
}

impl Drop for Runs {
    fn drop(&mut self) {
        if !self.keep {
            // A directory that cannot be deleted does no harm.
            drop(self.dir.remove());
        }
    }
}
