//! Prints the rows.

use std::io::Write as _;

use comfy_table::presets::UTF8_BORDERS_ONLY;
use comfy_table::{CellAlignment, ContentArrangement, Table};

use super::Row;

pub(super) fn print(rows: &[Row], json: Option<&str>) {
    let text = json.map_or_else(|| table(rows).to_string(), str::to_owned);
    // A reader that has gone away is not an error.
    drop(writeln!(std::io::stdout(), "{text}"));
}

fn table(rows: &[Row]) -> Table {
    let mut table = Table::new();
    table.load_style(UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["row", "ours", "unit", "peer", "peer's", "ratio", "CPU seconds"]);
    for row in rows {
        let cpu = row.cpu_seconds.iter().map(|(name, s)| format!("{name} {s:.1}"));
        table.add_row([
            row.name.clone(),
            number(row.value),
            row.unit.clone(),
            row.peer.clone(),
            number(row.peer_value),
            format!("{:.2}", row.ratio),
            cpu.collect::<Vec<_>>().join(", "),
        ]);
    }
    for column in [1, 4, 5] {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn number(value: f64) -> String {
    if value >= 1000.0 { format!("{value:.0}") } else { format!("{value:.2}") }
}
