//! One run of the self-test.

use std::path::{Path, PathBuf};

use super::cases::{Case, Small};
use super::{NONE, Outcome, Row};
use crate::engine::{self, Options, Substrate};
use crate::error::Result;
use crate::interrupt::Interrupt;
use crate::lab::test_build::SABOTAGE;
use crate::lab::tools::{Tool, Tools};
use crate::progress::Progress;
use crate::report::{Report, Verdict};

/// What all runs share.
pub(super) struct Bench {
    pub(super) tools: Tools,
    /// Where run directories go.
    pub(super) runs: PathBuf,
    pub(super) progress: Progress,
    pub(super) interrupt: Interrupt,
}

impl Bench {
    /// A run in which the storage manager lies.
    pub(super) async fn sabotaged(&self, program: &Path, case: Case, seed: u64) -> Result<Row> {
        let env = vec![(SABOTAGE.to_owned(), case.sabotage.to_owned())];
        let (report, logs) = self.run(program, case.sabotage, case.scenario, seed, env).await?;
        let acted = logs.contains(&format!("sabotage/{}: ", case.sabotage));
        let (outcome, how) = match (acted, case.found.in_report(&report), report.verdict) {
            (false, ..) => (Outcome::NeverActed, said(&report)),
            (true, Some(how), _) => (Outcome::Caught, how),
            (true, None, Verdict::Failed) => (Outcome::Mistaken, said(&report)),
            (true, None, _) => (Outcome::Unnoticed, said(&report)),
        };
        Ok(self.row((case.sabotage, "test build"), case.scenario, outcome, how, report))
    }

    /// A run in which nobody lies.
    pub(super) async fn clean(
        &self,
        name: &'static str,
        program: &Path,
        small: Small,
        seed: u64,
    ) -> Result<Row> {
        let (report, _) = self.run(program, name, small, seed, Vec::new()).await?;
        let outcome = match report.verdict {
            Verdict::Passed => Outcome::Clean,
            _ => Outcome::Reported,
        };
        let how = said(&report);
        Ok(self.row((NONE, name), small, outcome, how, report))
    }

    /// Runs; answers the report, and all that the programs of the lab logged.
    async fn run(
        &self,
        program: &Path,
        what: &str,
        small: Small,
        seed: u64,
        env: Vec<(String, String)>,
    ) -> Result<(Report, String)> {
        self.progress.live(&format!("{what} in {}", small.name()));
        let options = Options {
            seed,
            // The logs say whether the sabotage acted.
            keep: true,
            runs_dir: self.runs.clone(),
            tools: self.tools.clone().with(Tool::StorageManager, program.to_owned()),
            corpus: None,
            substrate: Substrate::Process,
            env,
            quiet: true,
            interrupt: self.interrupt.clone(),
            arguments: Vec::new(),
        };
        let report = engine::run(small.name(), small.scenario()?, &options).await?;
        let logs = report.run_dir.as_deref().map(|dir| logs(&Path::new(dir).join("logs")));
        Ok((report, logs.unwrap_or_default()))
    }

    fn row(
        &self,
        (sabotage, program): (&'static str, &'static str),
        small: Small,
        outcome: Outcome,
        how: String,
        report: Report,
    ) -> Row {
        let mut run_dir = report.run_dir;
        if outcome.good() {
            // What cannot be deleted now goes with the directory around it.
            drop(run_dir.take().map(std::fs::remove_dir_all));
        }
        let (scenario, seed, seconds) = (small.name(), report.seed, report.seconds);
        let row = Row { sabotage, program, scenario, seed, outcome, how, seconds, run_dir };
        self.progress.line(&row.line());
        row
    }
}

/// What the report says, in short.
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
