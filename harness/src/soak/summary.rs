//! The findings of a soak, by scenario.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use serde::Serialize;

use super::journal::Line;
use crate::report::{Spread, Verdict, right, table};
use crate::scenario::Tier;

/// The summary of a soak.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Summary {
    /// The seed of all choices; absent if it is read from an old soak's directory.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) seed: Option<u64>,
    /// The directory of `soak.ndjson` and the kept runs.
    pub(crate) directory: String,
    /// Its duration.
    pub(crate) seconds: f64,
    /// True if it was interrupted.
    pub(crate) interrupted: bool,
    /// By scenario.
    pub(crate) scenarios: BTreeMap<String, ScenarioSummary>,
    /// Scenarios that this substrate cannot run, with the capabilities that it lacks.
    pub(crate) not_run: BTreeMap<String, Vec<String>>,
}

/// A scenario's runs.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct ScenarioSummary {
    pub(crate) runs: u64,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) skipped: u64,
    /// Runs without a verdict.
    pub(crate) broken: u64,
    /// The runs that did not pass.
    pub(crate) failures: Vec<Failure>,
    /// The durations of the runs.
    pub(crate) seconds: Option<Spread>,
    /// By tier, the recovery points of all recoveries.
    pub(crate) rpo_seconds: BTreeMap<Tier, Spread>,
    /// By tier, the durations of all recoveries.
    pub(crate) rto_seconds: BTreeMap<Tier, Spread>,
    #[serde(skip)]
    all: All,
}

/// The values behind the percentiles.
#[derive(Debug, Clone, Default)]
struct All {
    seconds: Vec<f64>,
    rpo: BTreeMap<Tier, Vec<f64>>,
    rto: BTreeMap<Tier, Vec<f64>>,
}

/// A run that did not pass.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Failure {
    pub(crate) seed: u64,
    pub(crate) reason: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) run_dir: Option<String>,
}

impl Summary {
    /// Makes an empty summary.
    pub(crate) fn new(seed: u64, dir: &Path) -> Self {
        Self { seed: Some(seed), directory: dir.display().to_string(), ..Self::default() }
    }

    /// Sums up the lines of an old soak.
    pub(crate) fn of(dir: &Path, lines: Vec<Line>) -> Self {
        let mut tally = Self { directory: dir.display().to_string(), ..Self::default() };
        if let (Some(first), Some(last)) = (lines.first(), lines.last()) {
            tally.seconds = last.at.duration_since(first.at).as_secs_f64() + first.seconds;
        }
        for line in lines {
            tally.add(line);
        }
        tally
    }

    /// Adds a run.
    pub(crate) fn add(&mut self, line: Line) {
        let of = self.scenarios.entry(line.scenario).or_default();
        of.runs += 1;
        match line.verdict {
            Some(Verdict::Passed) => of.passed += 1,
            Some(Verdict::Skipped) => of.skipped += 1,
            Some(Verdict::Failed) => of.failed += 1,
            None => of.broken += 1,
        }
        if !matches!(line.verdict, Some(Verdict::Passed | Verdict::Skipped)) {
            let reason = line.reason.unwrap_or_default();
            of.failures.push(Failure { seed: line.seed, reason, run_dir: line.run_dir });
        }
        of.all.seconds.push(line.seconds);
        for recovery in line.recoveries {
            of.all.rpo.entry(recovery.tier).or_default().push(recovery.rpo_seconds);
            of.all.rto.entry(recovery.tier).or_default().extend(recovery.rto_seconds);
        }
        let spreads = |all: &BTreeMap<Tier, Vec<f64>>| {
            let each = all.iter().filter_map(|(tier, v)| Some((*tier, Spread::of(v.clone())?)));
            each.collect()
        };
        of.seconds = Spread::of(of.all.seconds.clone());
        of.rpo_seconds = spreads(&of.all.rpo);
        of.rto_seconds = spreads(&of.all.rto);
    }

    fn sum(&self, count: impl Fn(&ScenarioSummary) -> u64) -> u64 {
        self.scenarios.values().map(count).sum()
    }

    /// Returns the number of runs that have ended.
    pub(crate) fn runs(&self) -> u64 {
        self.sum(|of| of.runs)
    }

    /// Returns the number of runs that did not pass.
    pub(crate) fn bad(&self) -> u64 {
        self.sum(|of| of.failed + of.broken)
    }

    /// Returns the exit status, but for 130, which the caller decides.
    pub(crate) fn status(&self) -> u8 {
        match (self.sum(|of| of.failed), self.sum(|of| of.broken)) {
            (0, 0) => 0,
            (0, _) => 3,
            _ => 1,
        }
    }

    /// Returns the table, a line for every run that did not pass, and a last line with the totals.
    pub(crate) fn render(&self) -> String {
        let mut table = table(&[
            "scenario",
            "runs",
            "passed",
            "failed",
            "skipped",
            "no verdict",
            "seconds p50 / max",
            "RPO p50 / p99 / max",
            "RTO p50 / p99 / max",
            "seeds of failures",
        ]);
        for (name, of) in &self.scenarios {
            let counts = [of.runs, of.passed, of.failed, of.skipped, of.broken];
            let mut row = vec![name.clone()];
            row.extend(counts.map(|count| count.to_string()));
            row.push(
                of.seconds.map_or_else(String::new, |s| format!("{:.1} / {:.1}", s.p50, s.max)),
            );
            row.extend([&of.rpo_seconds, &of.rto_seconds].map(show));
            let seeds: Vec<_> = of.failures.iter().map(|f| f.seed.to_string()).collect();
            row.push(seeds.join(" "));
            table.add_row(row);
        }
        right(&mut table, 1);
        let mut text = format!("{table}\n");
        for (name, of) in &self.scenarios {
            for Failure { seed, reason, run_dir } in &of.failures {
                let kept =
                    run_dir.as_ref().map(|dir| format!("; kept in {dir}")).unwrap_or_default();
                let _ = writeln!(text, "{name} --seed {seed}: {reason}{kept}");
            }
        }
        for (name, lacking) in &self.not_run {
            let _ = writeln!(text, "not run: {name}, the substrate lacks {}", lacking.join(", "));
        }
        let minutes = self.seconds / 60.0;
        let (runs, bad) = (self.runs(), self.bad());
        let seed = self.seed.map(|seed| format!(", seed {seed}")).unwrap_or_default();
        let ended = if self.interrupted { ", interrupted" } else { "" };
        let _ = writeln!(
            text,
            "{runs} runs in {minutes:.1} min, {bad} not passed{ended}{seed}, in {}",
            self.directory
        );
        text
    }
}

fn show(by_tier: &BTreeMap<Tier, Spread>) -> String {
    let lines = by_tier
        .iter()
        .map(|(tier, s)| format!("{tier} {:.2} / {:.2} / {:.2}", s.p50, s.p99, s.max));
    lines.collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::super::journal::Recovery;
    use super::*;

    fn line(scenario: &str, seed: u64, verdict: Option<Verdict>) -> Line {
        Line {
            at: "2026-01-01T00:00:00Z".parse().unwrap(),
            scenario: scenario.into(),
            seed,
            verdict,
            reason: (verdict != Some(Verdict::Passed)).then(|| "why".to_owned()),
            seconds: 10.0,
            plan_digest: None,
            recoveries: vec![Recovery {
                tier: Tier::Nas,
                rpo_seconds: 0.5,
                rto_seconds: Some(1.5),
            }],
            run_dir: (verdict == Some(Verdict::Failed)).then(|| "/runs/x".to_owned()),
        }
    }

    #[test]
    fn a_tally_keeps_every_seed_that_did_not_pass() {
        let lines = vec![
            line("b", 1, Some(Verdict::Passed)),
            line("a", 2, Some(Verdict::Failed)),
            line("a", 3, Some(Verdict::Passed)),
            line("a", 4, None),
        ];
        let mut tally = Summary::of(Path::new("/runs/soak"), lines);
        tally.not_run.insert("c".into(), vec!["clock".into()]);
        assert_eq!((tally.runs(), tally.bad(), tally.status()), (4, 2, 1));
        insta::assert_snapshot!(tally.render(), @r#"
        ┌──────────┬──────┬────────┬────────┬─────────┬────────────┬───────────────────┬────────────────────────┬────────────────────────┬───────────────────┐
        │ scenario ┆ runs ┆ passed ┆ failed ┆ skipped ┆ no verdict ┆ seconds p50 / max ┆    RPO p50 / p99 / max ┆    RTO p50 / p99 / max ┆ seeds of failures │
        ╞══════════╪══════╪════════╪════════╪═════════╪════════════╪═══════════════════╪════════════════════════╪════════════════════════╪═══════════════════╡
        │ a        ┆    3 ┆      1 ┆      1 ┆       0 ┆          1 ┆       10.0 / 10.0 ┆ nas 0.50 / 0.50 / 0.50 ┆ nas 1.50 / 1.50 / 1.50 ┆               2 4 │
        │ b        ┆    1 ┆      1 ┆      0 ┆       0 ┆          0 ┆       10.0 / 10.0 ┆ nas 0.50 / 0.50 / 0.50 ┆ nas 1.50 / 1.50 / 1.50 ┆                   │
        └──────────┴──────┴────────┴────────┴─────────┴────────────┴───────────────────┴────────────────────────┴────────────────────────┴───────────────────┘
        a --seed 2: why; kept in /runs/x
        a --seed 4: why
        not run: c, the substrate lacks clock
        4 runs in 0.2 min, 2 not passed, in /runs/soak
        "#);
        assert_eq!(Summary::of(Path::new("x"), vec![line("a", 4, None)]).status(), 3);
        assert_eq!(Summary::of(Path::new("x"), Vec::new()).status(), 0);
    }

    #[test]
    fn a_line_that_was_cut_off_does_not_count() {
        let dir = tempfile::tempdir().unwrap();
        let text = serde_json::to_string(&line("a", 2, Some(Verdict::Failed))).unwrap();
        let path = dir.path().join(super::super::FILE);
        std::fs::write(&path, format!("{text}\n{text}\n{}", &text[..20])).unwrap();
        assert_eq!(super::super::read(dir.path()).unwrap().len(), 2);
        std::fs::write(&path, format!("{text}\nnonsense\n")).unwrap();
        let error = super::super::read(dir.path()).unwrap_err().to_string();
        assert!(error.contains("soak.ndjson`: line 2: "), "{error}");
    }
}
