//! Every scenario's run in one table.

use std::fmt::Write as _;

use comfy_table::Table;
use serde::Serialize;

use super::table::{right, table, verdict};
use super::{Report, Verdict};

/// The runs of many scenarios, and their unexpected outcomes.
#[derive(Debug, Clone, Default, Serialize)]
pub(crate) struct Matrix {
    /// The substrate of the labs.
    pub(crate) substrate: String,
    /// The seed of every choice.
    pub(crate) seed: u64,
    /// The duration of all runs.
    pub(crate) seconds: f64,
    /// Runs that passed.
    pub(crate) passed: usize,
    /// Runs that failed.
    pub(crate) failed: usize,
    /// Runs that were skipped, expected or not.
    pub(crate) skipped: usize,
    /// The runs without a verdict: their lab could not be set up.
    pub(crate) broken: Vec<Broken>,
    /// The unexpected outcomes, a line each.
    pub(crate) problems: Vec<String>,
    /// The reports, by scenario.
    pub(crate) runs: Vec<Report>,
}

/// A run that came to no verdict.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Broken {
    /// The scenario.
    pub(crate) scenario: String,
    /// The error.
    pub(crate) error: String,
}

impl Matrix {
    /// Adds a report.
    pub(crate) fn add(&mut self, report: Report) {
        match report.verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Failed => self.failed += 1,
            Verdict::Skipped => self.skipped += 1,
        }
        self.runs.push(report);
        self.runs.sort_by(|a, b| a.scenario.cmp(&b.scenario));
    }

    /// Returns the exit status: 0 only if everything is as expected.
    pub(crate) fn status(&self) -> u8 {
        match (self.problems.is_empty(), self.broken.is_empty()) {
            (false, _) => 1,
            (true, false) => 3,
            (true, true) => 0,
        }
    }

    /// Returns the table, the unexpected outcomes, and a last line with the totals.
    pub(crate) fn render(&self) -> String {
        let mut text = format!("{}\n", self.rows());
        for problem in &self.problems {
            let _ = writeln!(text, "unexpected: {problem}");
        }
        let expected = if self.status() == 0 { ", as expected" } else { "" };
        let broken = match self.broken.len() {
            0 => String::new(),
            n => format!(", {n} without a verdict"),
        };
        let _ = writeln!(
            text,
            "{} passed, {} failed, {} skipped{broken}{expected}, in {:.0} s; substrate {}, seed {}",
            self.passed, self.failed, self.skipped, self.seconds, self.substrate, self.seed
        );
        text
    }

    fn rows(&self) -> Table {
        let mut table = table(&[
            "scenario",
            "verdict",
            "acked",
            "recovered",
            "tail",
            "lost",
            "dup.",
            "reord.",
            "changed",
            "phantom",
            "RPO s",
            "RTO s",
            "seconds",
            "reason",
        ]);
        for report in &self.runs {
            table.add_row(row(report));
        }
        for broken in &self.broken {
            let mut row = vec![broken.scenario.clone(), "ERROR".to_owned()];
            row.resize(13, "-".to_owned());
            row.push(broken.error.clone());
            table.add_row(row);
        }
        right(&mut table, 2);
        if let Some(reason) = table.column_mut(13) {
            reason.set_cell_alignment(comfy_table::CellAlignment::Left);
        }
        table
    }
}

fn row(report: &Report) -> Vec<String> {
    let mut row = vec![report.scenario.clone(), verdict(report.verdict).to_owned()];
    if report.verdict == Verdict::Skipped {
        row.resize(13, "-".to_owned());
    } else {
        let o = &report.oracle;
        let counts =
            [o.acked, o.recovered, o.tail, o.lost, o.duplicated, o.reordered, o.changed, o.phantom];
        row.extend(counts.map(|count| count.to_string()));
        let (rpo, rto) = report.worst();
        let show = |value: Option<f64>| value.map_or_else(|| "-".to_owned(), |v| format!("{v:.2}"));
        row.extend([show(rpo), show(rto), format!("{:.1}", report.seconds)]);
    }
    row.push(report.reason.clone().unwrap_or_default());
    row
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::tests::sample;

    #[test]
    fn a_matrix_says_what_is_not_as_expected() {
        let mut matrix = Matrix { substrate: "process".into(), seed: 7, ..Matrix::default() };
        matrix.add(Report { scenario: "second".into(), ..sample() });
        let reason = Some("the process substrate does not offer \"clock\"".to_owned());
        matrix.add(Report {
            scenario: "first".into(),
            verdict: Verdict::Skipped,
            reason,
            ..sample()
        });
        assert_eq!(matrix.status(), 0);
        insta::assert_snapshot!(matrix.render(), @r#"
        ┌──────────┬─────────┬───────┬───────────┬──────┬──────┬──────┬────────┬─────────┬─────────┬───────┬───────┬─────────┬──────────────────────────────────────────────┐
        │ scenario ┆ verdict ┆ acked ┆ recovered ┆ tail ┆ lost ┆ dup. ┆ reord. ┆ changed ┆ phantom ┆ RPO s ┆ RTO s ┆ seconds ┆ reason                                       │
        ╞══════════╪═════════╪═══════╪═══════════╪══════╪══════╪══════╪════════╪═════════╪═════════╪═══════╪═══════╪═════════╪══════════════════════════════════════════════╡
        │ first    ┆ skipped ┆     - ┆         - ┆    - ┆    - ┆    - ┆      - ┆       - ┆       - ┆     - ┆     - ┆       - ┆ the process substrate does not offer "clock" │
        │ second   ┆ passed  ┆     0 ┆         0 ┆    0 ┆    0 ┆    0 ┆      0 ┆       0 ┆       0 ┆  0.25 ┆  0.75 ┆     2.5 ┆                                              │
        └──────────┴─────────┴───────┴───────────┴──────┴──────┴──────┴────────┴─────────┴─────────┴───────┴───────┴─────────┴──────────────────────────────────────────────┘
        1 passed, 0 failed, 1 skipped, as expected, in 0 s; substrate process, seed 7
        "#);
        let error = "program `minio` is not found".to_owned();
        matrix.broken.push(Broken { scenario: "third".into(), error });
        assert_eq!(matrix.status(), 3);
        matrix.problems.push("`first` was skipped".into());
        assert_eq!(matrix.status(), 1);
        insta::assert_snapshot!(matrix.render(), @r#"
        ┌──────────┬─────────┬───────┬───────────┬──────┬──────┬──────┬────────┬─────────┬─────────┬───────┬───────┬─────────┬──────────────────────────────────────────────┐
        │ scenario ┆ verdict ┆ acked ┆ recovered ┆ tail ┆ lost ┆ dup. ┆ reord. ┆ changed ┆ phantom ┆ RPO s ┆ RTO s ┆ seconds ┆ reason                                       │
        ╞══════════╪═════════╪═══════╪═══════════╪══════╪══════╪══════╪════════╪═════════╪═════════╪═══════╪═══════╪═════════╪══════════════════════════════════════════════╡
        │ first    ┆ skipped ┆     - ┆         - ┆    - ┆    - ┆    - ┆      - ┆       - ┆       - ┆     - ┆     - ┆       - ┆ the process substrate does not offer "clock" │
        │ second   ┆ passed  ┆     0 ┆         0 ┆    0 ┆    0 ┆    0 ┆      0 ┆       0 ┆       0 ┆  0.25 ┆  0.75 ┆     2.5 ┆                                              │
        │ third    ┆ ERROR   ┆     - ┆         - ┆    - ┆    - ┆    - ┆      - ┆       - ┆       - ┆     - ┆     - ┆       - ┆ program `minio` is not found                 │
        └──────────┴─────────┴───────┴───────────┴──────┴──────┴──────┴────────┴─────────┴─────────┴───────┴───────┴─────────┴──────────────────────────────────────────────┘
        unexpected: `first` was skipped
        1 passed, 0 failed, 1 skipped, 1 without a verdict, in 0 s; substrate process, seed 7
        "#);
    }
}
