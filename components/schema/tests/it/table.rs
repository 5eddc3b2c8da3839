//! The table of changes, fixtures/schemas/changes.json: each verdict as it is written there, and held against a validator.

use std::path::Path;

use cim_schema::{Class, documents, judge};
use serde::Deserialize;
use serde_json::Value;

/// A row of the table.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Row {
    name: String,
    old: Value,
    new: Value,
    class: Class,
    /// The reason, where a good guess is wrong.
    #[serde(default)]
    surprise: Option<String>,
}

fn root() -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn rows() -> Vec<Row> {
    let text = std::fs::read_to_string(root().join("fixtures/schemas/changes.json")).unwrap();
    serde_json::from_str(&text).unwrap()
}

#[test]
fn every_verdict_is_the_one_of_the_table() {
    let rows = rows();
    assert!(rows.len() >= 60, "{} rows", rows.len());
    let mut wrong = Vec::new();
    for Row { name, old, new, class, .. } in &rows {
        let found = judge(old, new).unwrap();
        if found.class != *class {
            wrong.push(format!("{name}: {} and not {class}: {:?}", found.class, found.changes));
        }
        // The other way round it is the opposite.
        let back = judge(new, old).unwrap().class;
        let opposite = Class::of(class.is_forward(), class.is_backward());
        if back != opposite {
            wrong.push(format!("{name}, backwards: {back} and not {opposite}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Rows of which no document is drawn that shows the no: it would need a longer text, or another key.
const UNPROVEN: [&str; 2] =
    ["a pattern with a length becomes a pattern alone", "names of keys get a pattern"];

/// A document of one schema that the other refuses shows that a no is true; there is none where the verdict is yes.
#[test]
fn a_validator_agrees_with_every_verdict() {
    let mut unproven = Vec::new();
    for Row { name, old, new, class, .. } in rows() {
        for (from, to, kept) in
            [(&old, &new, class.is_backward()), (&new, &old, class.is_forward())]
        {
            let validator = |schema| {
                jsonschema::draft202012::options()
                    .should_validate_formats(true)
                    .build(schema)
                    .unwrap()
            };
            let (of, by) = (validator(from), validator(to));
            let drawn = (0..8).flat_map(|seed| {
                documents(from, to, seed).chain(documents(to, from, seed)).collect::<Vec<_>>()
            });
            let drawn: Vec<_> = drawn.filter(|one| of.is_valid(one)).collect();
            let lost = drawn.iter().find(|one| !by.is_valid(one));
            // Of `false` there is no document.
            assert!(!drawn.is_empty() || *from == Value::Bool(false), "{name}: nothing was drawn");
            assert!(lost.is_none() || !kept, "{name}: {lost:?}");
            if lost.is_none() && !kept {
                unproven.push(name.clone());
            }
        }
    }
    assert_eq!(unproven, UNPROVEN, "no drawn document shows why these are refused");
}

/// The page has the rows of which good guesses are wrong, in the words of the table.
#[test]
fn the_page_has_every_surprise() {
    let page = std::fs::read_to_string(root().join("docs/schemas.md")).unwrap();
    let rows = rows();
    let surprises: Vec<_> = rows
        .iter()
        .filter_map(|row| {
            let why = row.surprise.as_ref()?;
            Some(format!("| {} | `{}` | {why} |", row.name, row.class))
        })
        .collect();
    assert!(surprises.len() >= 15, "{} surprises", surprises.len());
    let missing: Vec<_> = surprises.iter().filter(|row| !page.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "docs/schemas.md lacks {missing:#?}");
}
