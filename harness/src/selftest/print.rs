//! The rows, for people and for programs.

use comfy_table::presets::UTF8_FULL_CONDENSED;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::cases::CASES;
use super::{NONE, Outcome, Row};
use crate::output::print;

impl Row {
    /// Returns it on one line.
    pub(super) fn line(&self) -> String {
        let Self { sabotage, program, scenario, how, seconds, .. } = self;
        let whose = if *sabotage == NONE { *program } else { *sabotage };
        let how = if how.is_empty() { String::new() } else { format!(": {how}") };
        format!("{whose} in {scenario}, {}{how} ({seconds:.1} s)", self.outcome.words())
    }
}

impl Outcome {
    fn words(self) -> &'static str {
        match self {
            Self::Caught => "caught",
            Self::Clean => "clean",
            Self::Unnoticed => "UNNOTICED",
            Self::Mistaken => "MISTAKEN for something else",
            Self::NeverActed => "NEVER ACTED",
            Self::Reported => "REPORTED without a sabotage",
        }
    }
}

/// Prints the sabotages, one a line.
pub(super) fn list() {
    for case in CASES {
        print(&format!("{:<24} {}", case.sabotage, case.scenario.name()));
    }
}

/// Prints the table, or JSON.
pub(super) fn rows(rows: &[Row], json: bool) {
    let good = rows.iter().filter(|row| row.outcome.good()).count();
    let bad = rows.len() - good;
    if json {
        let all = serde_json::json!({ "passed": good, "failed": bad, "rows": rows });
        print(&serde_json::to_string_pretty(&all).expect("rows are JSON"));
        return;
    }
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["sabotage", "program", "scenario", "seed", "outcome", "how", "seconds"]);
    for row in rows {
        let kept = row.run_dir.as_ref().map(|dir| format!("; kept in {dir}")).unwrap_or_default();
        table.add_row([
            row.sabotage.to_owned(),
            row.program.to_owned(),
            row.scenario.to_owned(),
            row.seed.to_string(),
            row.outcome.words().to_owned(),
            format!("{}{kept}", row.how),
            format!("{:.1}", row.seconds),
        ]);
    }
    for column in [3, 6] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    print(&table.to_string());
    // In the form that ci/test counts.
    print(&format!("{good} passed, {bad} failed, 0 skipped"));
}
