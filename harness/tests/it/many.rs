//! Many runs: side by side, unattended, and shown again afterwards.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::common::{eventually, harness, processes_with, stderr, stdout};
use serde_json::Value;

const SMALL: [&str; 4] = ["--events", "3000", "--rate", "3000/s"];

fn json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn entries(dir: &Path) -> Vec<PathBuf> {
    std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect()
}

#[test]
fn scenarios_run_side_by_side_and_are_compared_with_what_is_expected() {
    let runs = tempfile::tempdir().unwrap();
    let page = runs.path().join("page.html");
    let mut command =
        harness(&["scenario", "--all", "--only", "event-replay", "--only", "power-*"]);
    command.args(["--only", "storage-manager-crash", "--jobs", "2", "--seed", "3", "--json"]);
    command.args(SMALL).arg("--runs-dir").arg(runs.path()).arg("--html").arg(&page);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}\n{}", stderr(&output), stdout(&output));
    let all = json(&stdout(&output));
    assert_eq!((&all["passed"], &all["failed"]), (&2.into(), &0.into()));
    assert!(all["skipped"].as_u64().unwrap() >= 2, "{all}");
    assert_eq!(all["problems"], Value::Array(Vec::new()));
    let page = std::fs::read_to_string(&page).unwrap();
    assert!(page.contains("storage-manager-crash, seed 3") && page.contains("<svg"));
    assert_eq!(entries(runs.path()).len(), 1, "the page alone");
}

#[test]
fn a_run_that_was_kept_is_shown_again() {
    let runs = tempfile::tempdir().unwrap();
    let mut command =
        harness(&["scenario", "disaster-recovery", "--keep", "--json", "--seed", "4"]);
    let output = command.args(SMALL).arg("--runs-dir").arg(runs.path()).output().unwrap();
    let report = json(&stdout(&output));
    let dir = PathBuf::from(report["run_dir"].as_str().unwrap());
    let page = std::fs::read_to_string(dir.join("report.html")).unwrap();
    assert!(page.contains("ci/scenario disaster-recovery --events 3000 --rate 3000/s --seed 4"));
    assert!(page.contains("host: destroyed"));

    let load = report["timeline"]["load"].as_array().unwrap();
    assert!(load.len() > 5 && load.len() <= 1000, "{}", load.len());
    assert_eq!(load.last().unwrap()[2], report["oracle"]["acked"]);
    assert!(!report["timeline"]["lag"]["nas"].as_array().unwrap().is_empty());
    let loss = &report["losses"][0];
    let times = ["at_seconds", "began_seconds", "restored_seconds", "read_seconds"];
    let times = times.map(|name| loss[name].as_f64().unwrap());
    assert!(times.is_sorted(), "{times:?}");

    let again = |args: &[&str]| {
        let mut command = harness(&["report", "--runs-dir"]);
        let output = command.arg(runs.path()).args(args).output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    assert_eq!(json(&again(&["--json"])), report);
    assert_eq!(json(&again(&["disaster-", "--json"])), report);
    assert!(again(&[]).contains(report["plan_digest"].as_str().unwrap()));
    assert!(again(&["--list"]).contains("disaster-recovery-"));
    let copy = runs.path().join("copy.html");
    again(&[dir.to_str().unwrap(), "--html", copy.to_str().unwrap()]);
    assert_eq!(std::fs::read_to_string(copy).unwrap(), page);
}

#[test]
fn a_soak_is_recorded_run_by_run() {
    let runs = tempfile::tempdir().unwrap();
    let mut command = harness(&["soak", "--runs", "2", "--only", "event-replay", "--seed", "1"]);
    let output = command.args(SMALL).arg("--json").arg("--runs-dir").arg(runs.path()).output();
    let output = output.unwrap();
    assert!(output.status.success(), "{}\n{}", stderr(&output), stdout(&output));
    let tally = json(&stdout(&output));
    assert_eq!(tally["scenarios"]["event-replay"]["passed"], 2);
    assert_eq!(tally["scenarios"]["event-replay"]["rpo_seconds"]["nas"]["samples"], 2);
    let dir = entries(runs.path()).remove(0);
    assert_eq!(entries(&dir), [dir.join("soak.ndjson")], "runs that passed leave nothing");
    let lines = std::fs::read_to_string(dir.join("soak.ndjson")).unwrap();
    assert_eq!(lines.lines().count(), 2);
    let shown = harness(&["report"]).arg(&dir).output().unwrap();
    assert!(stdout(&shown).contains("2 runs in "), "{}", stdout(&shown));
}

#[test]
fn an_interrupted_soak_tidies_up_and_sums_up() {
    let runs = tempfile::tempdir().unwrap();
    let mut command = harness(&["soak", "--for", "1h", "--only", "tiering", "--events", "900000"]);
    command.arg("--runs-dir").arg(runs.path()).stdout(Stdio::piped()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let here = runs.path().to_str().unwrap();
    eventually("the start of the storage manager", 60, || {
        processes_with(here).iter().any(|pid| {
            let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            exe.ends_with("cim-storage-manager")
        })
    });
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(130));
    assert!(stdout(&output).contains("0 runs in "), "{}", stdout(&output));
    assert!(stdout(&output).contains("interrupted"), "{}", stdout(&output));
    assert_eq!(processes_with(here), Vec::<u32>::new());
    let dir = entries(runs.path()).remove(0);
    assert_eq!(entries(&dir), [dir.join("soak.ndjson")]);
}
