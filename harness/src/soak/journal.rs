//! `soak.ndjson`: a line for every run that has ended.

use std::fs::File;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::error::{Context as _, Error, Result};
use crate::report::Verdict;
use crate::runner::RunResult;
use crate::scenario::Tier;

/// The file's name.
pub(crate) const FILE: &str = "soak.ndjson";

/// A run that has ended. Fields are only ever added.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The time of its end.
    pub(super) at: Timestamp,
    /// The scenario.
    pub(super) scenario: String,
    /// The seed of its choices.
    pub(super) seed: u64,
    /// Its verdict; absent without one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) verdict: Option<Verdict>,
    /// The reason why it did not pass.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) reason: Option<String>,
    /// Its duration.
    pub(super) seconds: f64,
    /// The plan's digest.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) plan_digest: Option<String>,
    /// Its recoveries.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) recoveries: Vec<Recovery>,
    /// The directory of its logs and disks, if they are kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) run_dir: Option<String>,
}

/// A recovery.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Recovery {
    pub(super) tier: Tier,
    pub(super) rpo_seconds: f64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) rto_seconds: Option<f64>,
}

impl Line {
    /// Returns the line about a run.
    pub(super) fn of(ended: &RunResult) -> Self {
        let report = ended.outcome.as_ref().ok();
        let error = ended.outcome.as_ref().err().map(Error::chain);
        let losses = report.iter().flat_map(|r| &r.losses);
        let recoveries = losses.filter_map(|loss| {
            let (rpo_seconds, rto_seconds) = (loss.rpo_seconds, loss.rto_seconds);
            Some(Recovery { tier: loss.recovered_from?, rpo_seconds, rto_seconds })
        });
        Self {
            at: Timestamp::now(),
            scenario: ended.name.clone(),
            seed: ended.seed,
            verdict: report.map(|r| r.verdict),
            reason: error.or_else(|| report.and_then(|r| r.reason.clone())),
            seconds: ended.took.as_secs_f64(),
            plan_digest: report.map(|r| r.plan_digest.clone()),
            recoveries: recoveries.collect(),
            run_dir: None,
        }
    }
}

/// The open file.
#[derive(Debug)]
pub(super) struct Journal {
    path: PathBuf,
    file: File,
}

impl Journal {
    pub(super) fn create(dir: &Path) -> Result<Self> {
        let path = dir.join(FILE);
        let file = File::create_new(&path).setup(|| format!("cannot make `{}`", path.display()))?;
        Ok(Self { path, file })
    }

    /// Adds a line, and returns after it is synced to disk.
    pub(super) fn add(&mut self, line: &Line) -> Result<()> {
        let mut text = serde_json::to_string(line).expect("a line is always JSON");
        text.push('\n');
        let written = self.file.write_all(text.as_bytes()).and_then(|()| self.file.sync_data());
        written.setup(|| format!("cannot write `{}`", self.path.display()))
    }
}

/// Reads every line of a soak's directory; an incomplete last one is ignored.
pub(crate) fn read(dir: &Path) -> Result<Vec<Line>> {
    let path = dir.join(FILE);
    let wrong = |what: String| Error::Usage(format!("`{}`: {what}", path.display()));
    let text = std::fs::read_to_string(&path).map_err(|e| wrong(e.to_string()))?;
    let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
    let parse = |(at, line): (usize, &str)| {
        serde_json::from_str(line).map_err(|e| wrong(format!("line {}: {e}", at + 1)))
    };
    whole.lines().enumerate().map(parse).collect()
}
