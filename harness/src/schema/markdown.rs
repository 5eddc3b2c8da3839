//! The catalogue in Markdown: docs/events.md.

use std::fmt::Write as _;

use super::Catalogue;
use super::document::entries;

/// Returns the page.
pub(crate) fn markdown(catalogue: &Catalogue) -> String {
    let mut text = String::from(
        "# Events, requests and stored documents\n\nMade by `cim-harness schema docs` from fixtures/schemas; a test holds it to that. `cim-harness schema show NAME@VERSION` prints a schema, `cim-harness schema validate FILE.ndjson` holds events against theirs.\n",
    );
    // A bar would end a cell.
    let cell = |text: &str| text.replace('|', "\\|");
    for entry in entries(catalogue) {
        let _ = write!(text, "\n## {}\n{}", entry.name, entry.place());
        if !entry.description.is_empty() {
            let _ = write!(text, " {}", entry.description);
        }
        text.push('\n');
        if !entry.fields.is_empty() {
            text.push_str("\n| key | type | meaning |\n|---|---|---|\n");
        }
        for field in entry.fields {
            let needed = if field.required { "" } else { ", optional" };
            let (kind, meaning) = (cell(&field.kind), cell(&field.meaning));
            let _ = writeln!(text, "| `{}` | {kind}{needed} | {meaning} |", field.key);
        }
    }
    text
}
