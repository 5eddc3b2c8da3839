//! `cim-harness schema`: what it prints, and its statuses.

use std::path::Path;
use std::process::Output;

use serde_json::{Value, json};

use crate::common::{harness, stderr, stdout};

fn schema(args: &[&str]) -> Output {
    harness(&["schema"]).args(args).output().unwrap()
}

/// Writes a directory with a release and its successor.
fn changed(old: &Value, new: &Value) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    for (path, schema) in [("released/0.1.0/t/v1.json", old), ("t/v1.json", new)] {
        let path = dir.path().join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, schema.to_string()).unwrap();
    }
    dir
}

fn check(dir: &Path) -> (Option<i32>, Value) {
    let output = schema(&["check", "--json", "--dir", dir.to_str().unwrap()]);
    (output.status.code(), serde_json::from_slice(&output.stdout).unwrap())
}

#[test]
fn they_are_listed_and_shown_by_name_and_version() {
    let listed: Value = serde_json::from_slice(&schema(&["list", "--json"]).stdout).unwrap();
    let names: Vec<_> = listed.as_array().unwrap().iter().map(|row| &row["name"]).collect();
    assert!(names.contains(&&json!("journal-entry")), "{names:?}");
    let shown = schema(&["show", "inventory@3"]);
    let shown: Value = serde_json::from_slice(&shown.stdout).unwrap();
    assert!(shown["properties"]["tiers"].is_object(), "{shown}");
    let wrong = schema(&["show", "inventory2"]);
    assert_eq!(wrong.status.code(), Some(2));
    let said = stderr(&wrong);
    assert!(
        said.contains("error: schema `inventory2` is unknown: did you mean `inventory`?"),
        "{said}"
    );
}

#[test]
fn a_change_is_named_by_its_place_and_class() {
    let said = stdout(&schema(&["diff", "inventory@3", "inventory@4"]));
    assert!(said.starts_with("inventory@3 → inventory@4: "), "{said}");
    assert!(said.contains("/properties/tiers"), "{said}");
    let alone = schema(&["diff", "event-envelope"]);
    assert_eq!(alone.status.code(), Some(2), "{}", stderr(&alone));
}

#[test]
fn a_released_schema_may_widen_and_may_not_narrow() {
    let integer = json!({ "type": "integer" });
    let number = json!({ "type": "number" });
    let (status, found) = check(changed(&integer, &number).path());
    assert_eq!((status, &found["changes"][0]["class"]), (Some(0), &json!("backward")), "{found}");
    let (status, found) = check(changed(&number, &integer).path());
    assert_eq!((status, &found["changes"][0]["class"]), (Some(1), &json!("forward")), "{found}");
    assert_eq!(found["refused"], 1);
    let (status, found) = check(changed(&integer, &integer).path());
    assert_eq!((status, &found["changes"]), (Some(0), &json!([])));
}

#[test]
fn the_project_itself_is_in_order() {
    let output = schema(&["check"]);
    assert!(output.status.success(), "{}{}", stdout(&output), stderr(&output));
}

#[test]
fn events_are_held_against_their_schemas() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("events.ndjson");
    let event = |payload: Value| {
        json!({
            "id": "0197f0f0-0000-7000-8000-000000000001", "type": "capability.added",
            "source": "registry", "aggregate_id": "units.host", "aggregate_version": 1,
            "time": "2026-12-01T00:00:00Z", "schema_version": 1, "payload": payload,
        })
    };
    let good = event(json!({ "name": "units", "instance": "host", "capability": "unit.create" }));
    std::fs::write(&file, format!("{good}\n")).unwrap();
    let path = file.to_str().unwrap();
    let output = schema(&["validate", path]);
    assert!(output.status.success(), "{}", stdout(&output));
    std::fs::write(&file, format!("{good}\n{}\n", event(json!({ "name": 1 })))).unwrap();
    let output = schema(&["validate", path]);
    assert_eq!(output.status.code(), Some(1));
    let said = stdout(&output);
    assert!(said.starts_with("line 2: registry-capability-added@1 at `/payload"), "{said}");
    assert_eq!(schema(&["validate", "none.ndjson"]).status.code(), Some(2));
}
