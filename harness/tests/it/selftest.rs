//! The self-test, and that it can fail itself. ci/selftest runs all of it; these tests see its verdict on
//! a lie that was told, one that went unnoticed and one that was never told.

use std::path::{Path, PathBuf};
use std::process::Output;

use crate::common::{executable, harness, sabotaged, stderr, stdout};
use serde_json::Value;

fn selftest(program: &Path, only: &str) -> (Output, Value) {
    let runs = tempfile::tempdir().unwrap();
    let mut command = harness(&["selftest", "--only", only, "--json", "--seed", "5", "--runs-dir"]);
    command.arg(runs.path()).env("CIM_STORAGE_MANAGER_SABOTAGED", program);
    let output = command.output().unwrap();
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap_or_default();
    let kept = report["rows"].as_array().into_iter().flatten().any(|r| r["run_dir"].is_string());
    let left = std::fs::read_dir(runs.path()).unwrap().count();
    assert_eq!(left, usize::from(kept), "{report}\n{}", stderr(&output));
    (output, report)
}

/// Writes a program that claims that it can lie, and never does.
fn honest(dir: &Path, says: &str) -> PathBuf {
    let (liar, ordinary) = (sabotaged("").unwrap(), crate::common::storage_manager());
    let text = format!(
        "#!/bin/sh\n[ \"$1\" != hooks ] || exec \"{}\" hooks\necho '{says}' >&2\nexec \"{}\" \"$@\"\n",
        liar.display(),
        ordinary.display()
    );
    executable(&dir.join("honest"), &text)
}

#[test]
fn a_lie_is_caught_as_what_it_is_and_nothing_is_left() {
    let Some(program) = sabotaged("a lie is caught") else { return };
    let (output, report) = selftest(&program, "restore-one-too-few");
    assert_eq!(output.status.code(), Some(0), "{report}\n{}", stderr(&output));
    let rows = report["rows"].as_array().unwrap();
    assert_eq!(rows.len(), 1);
    assert_eq!((&rows[0]["outcome"], &rows[0]["how"]), (&"caught".into(), &"lost 1".into()));
}

#[test]
fn a_lie_that_went_unnoticed_fails() {
    if sabotaged("a lie that went unnoticed").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = honest(dir.path(), "sabotage/restore-one-too-few: not at all");
    let (output, report) = selftest(&program, "restore-one-too-few");
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert_eq!(report["rows"][0]["outcome"], "unnoticed", "{report}");
}

#[test]
fn a_lie_that_was_never_told_fails() {
    if sabotaged("a lie that was never told").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let program = honest(dir.path(), "an honest program");
    let (output, report) = selftest(&program, "restore-one-too-few");
    assert_eq!(output.status.code(), Some(1), "{report}");
    assert_eq!(report["rows"][0]["outcome"], "never-acted", "{report}");
}

#[test]
fn a_program_without_hooks_is_refused() {
    let (output, _) = selftest(&crate::common::storage_manager(), "flip-bit");
    assert_eq!(output.status.code(), Some(3));
    assert!(stderr(&output).contains("has no test hooks: build it with `ci/selftest --build`"));
    let (output, _) = selftest(&crate::common::storage_manager(), "tell-the-truth");
    assert_eq!(output.status.code(), Some(2));
    let error = "error: `tell-the-truth` is not a sabotage: there are drop-event, ";
    assert!(stderr(&output).starts_with(error), "{}", stderr(&output));
}

#[test]
fn without_a_program_that_can_die_scenarios_with_fail_points_are_skipped() {
    let runs = tempfile::tempdir().unwrap();
    let mut command = harness(&["scenario", "commit-points", "--json", "--runs-dir"]);
    command.arg(runs.path()).env("CIM_STORAGE_MANAGER_SABOTAGED", crate::common::storage_manager());
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let reason = report["reason"].as_str().unwrap();
    assert!(
        reason.starts_with("the process substrate does not offer \"fail-points\": `"),
        "{reason}"
    );
    assert!(reason.ends_with("has no test hooks: build it with `ci/selftest --build`"), "{reason}");
}

/// Checks that the scenarios name every commit point, so that a new one cannot be forgotten.
#[test]
fn the_scenarios_go_through_every_fail_point() {
    let Some(program) = sabotaged("every fail point is in a scenario") else { return };
    let output = std::process::Command::new(program).arg("hooks").output().unwrap();
    let hooks: Value = serde_json::from_slice(&output.stdout).unwrap();
    let scenarios: String =
        ["commit-points", "commit-points-recovery", "commit-points-chains", "retention"]
            .map(|name| {
                std::fs::read_to_string(crate::common::scenarios().join(format!("{name}.toml")))
                    .unwrap()
            })
            .concat();
    for point in hooks["fail_points"].as_array().unwrap() {
        assert!(scenarios.contains(&format!("{point}")), "no scenario dies at {point}");
    }
}
