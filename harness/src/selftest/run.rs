//! One run of the self-test.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::cases::{Case, Small};
use super::{NONE, Outcome, Row};
use crate::engine::{self, Options, Substrate};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::lab::s3::Kind;
use crate::lab::test_build::SABOTAGE;
use crate::lab::tools::{Tool, Tools};
use crate::progress::Progress;
use crate::report::{Report, Verdict};
use crate::runner;

/// The parts that all runs share.
pub(super) struct Runner {
    pub(super) tools: Tools,
    /// The parent directory of run directories.
    pub(super) runs: PathBuf,
    pub(super) progress: Progress,
    pub(super) interrupt: Interrupt,
}

/// A run to do.
pub(super) struct Planned {
    /// The program's name in the table.
    pub(super) build: &'static str,
    pub(super) program: PathBuf,
    pub(super) small: Small,
    pub(super) seed: u64,
    /// The armed sabotage, if there is one.
    pub(super) lie: Option<Case>,
}

impl Runner {
    /// Does a run, in a thread and a runtime of its own: labs may go side by side.
    pub(super) async fn row(self: Arc<Self>, planned: Planned) -> Result<Row> {
        let work = move || runner::by_itself(self.judged(planned));
        tokio::task::spawn_blocking(work).await.expect("a run's panic is caught in its thread")
    }

    async fn judged(&self, planned: Planned) -> Result<Row> {
        let (report, logs) = self.run(&planned).await?;
        let (outcome, how) = match planned.lie {
            None => match report.verdict {
                Verdict::Passed => (Outcome::Clean, said(&report)),
                _ => (Outcome::Reported, said(&report)),
            },
            Some(case) => {
                let acted = logs.contains(&format!("sabotage/{}: ", case.sabotage));
                match (acted, case.found.in_report(&report), report.verdict) {
                    (false, ..) => (Outcome::NeverActed, said(&report)),
                    (true, Some(how), _) => (Outcome::Caught, how),
                    (true, None, Verdict::Failed) => (Outcome::Mistaken, said(&report)),
                    (true, None, _) => (Outcome::Unnoticed, said(&report)),
                }
            }
        };
        let mut run_dir = report.run_dir;
        if outcome.good() {
            // A directory that cannot be deleted now goes with its parent.
            drop(run_dir.take().map(std::fs::remove_dir_all));
        }
        let sabotage = planned.lie.map_or(NONE, |case| case.sabotage);
        let (program, scenario) = (planned.build, planned.small.name());
        let (seed, seconds) = (report.seed, report.seconds);
        let row = Row { sabotage, program, scenario, seed, outcome, how, seconds, run_dir };
        self.progress.line(&row.line());
        Ok(row)
    }

    /// Runs the scenario; returns the report, and all logs of the lab's programs.
    async fn run(&self, planned: &Planned) -> Result<(Report, String)> {
        let small = planned.small;
        let what = planned.lie.map_or(planned.build, |case| case.sabotage);
        self.progress.live(&format!("{what} in {}", small.name()));
        let lie = planned.lie.map(|case| (SABOTAGE.to_owned(), case.sabotage.to_owned()));
        let options = Options {
            seed: planned.seed,
            // The logs show whether the sabotage acted.
            keep: true,
            runs_dir: self.runs.clone(),
            tools: self.tools.clone().with(Tool::StorageManager, planned.program.clone()),
            corpus: None,
            substrate: Substrate::Process { nas: Kind::Minio },
            env: lie.into_iter().collect(),
            quiet: true,
            interrupt: self.interrupt.clone(),
            arguments: Vec::new(),
        };
        let report = engine::run(small.name(), small.scenario()?, &options).await?;
        let logs = report.run_dir.as_deref().map(|dir| logs(&Path::new(dir).join("logs")));
        Ok((report, logs.unwrap_or_default()))
    }
}

/// Returns the report's findings, in short.
fn said(report: &Report) -> String {
    let oracle = &report.oracle;
    let counts = [
        ("lost", oracle.lost),
        ("duplicated", oracle.duplicated),
        ("reordered", oracle.reordered),
        ("changed", oracle.changed),
        ("phantom", oracle.phantom),
        ("consumers wrong", oracle.consumers_wrong),
        ("streams wrong", oracle.streams_wrong),
    ];
    let counted = counts.iter().filter(|(_, count)| *count > 0);
    let mut said: Vec<_> = counted.map(|(name, count)| format!("{name} {count}")).collect();
    said.extend(report.reason.clone());
    said.join(", ")
}

fn logs(dir: &Path) -> String {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let texts = files.filter_map(|file| std::fs::read(file.path()).ok());
    texts.map(|text| String::from_utf8_lossy(&text).into_owned()).collect()
}
