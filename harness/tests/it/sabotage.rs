//! The proof that the oracle can fail, where the storage manager cannot lie itself: something happens to the
//! restored host, and it must be noticed, named and counted. (What the storage manager can get wrong,
//! `cim-harness selftest` proves.)
//!
//! The saboteur is a script in the storage manager's place. It passes everything on to the real one,
//! and after a restore it speaks to NATS itself.

use std::path::{Path, PathBuf};

use crate::common::{executable, harness, scenarios, stderr, stdout, storage_manager};
use serde_json::Value;

/// Writes the saboteur. `after` runs when a restore is done; `nats` in it sends lines to the restored host and
/// waits until they were accepted.
fn saboteur(dir: &Path, after: &str) -> PathBuf {
    let script = format!(
        r#"#!/bin/bash
set -eu
[ "$1" = restore ] || exec "{real}" "$@"
for arg; do case "$arg" in *.toml) config=$arg ;; esac; done
addr=$(sed -n 's|^url = "nats://127.0.0.1:\([0-9]*\)"|\1|p' "$config")
nats() {{
    exec 3<>"/dev/tcp/127.0.0.1/$addr"
    printf 'CONNECT {{"verbose":false}}\r\n%bPING\r\n' "$1" >&3
    while IFS= read -r line <&3; do case "$line" in PONG*) break ;; esac; done
    exec 3>&-
}}
api() {{ nats "PUB \$JS.API.$1 ${{#2}}\r\n$2\r\n"; }}
"{real}" "$@"
{after}
"#,
        real = storage_manager().display(),
    );
    executable(&dir.join("saboteur"), &script)
}

/// Writes a small and calm disaster recovery: the host is lost when the NAS holds everything, and without
/// deletes every sequence exists, so that one can be named beforehand.
fn calm(dir: &Path) -> PathBuf {
    let text = std::fs::read_to_string(scenarios().join("disaster-recovery.toml")).unwrap();
    let (text, _) = text.split_once("[expect]").unwrap();
    let wait = "do = \"await-load\"\npublished = [\"25%\", \"75%\"]\n";
    assert!(text.contains(wait) && text.contains("deletes = 40"));
    let drained = "do = \"finish-load\"\n\n[[steps]]\ndo = \"drain\"\ntiers = [\"nas\"]\n";
    let text = text.replace("deletes = 40", "deletes = 0").replace(wait, drained);
    let file = dir.join("sabotage.toml");
    std::fs::write(&file, text).unwrap();
    file
}

/// Runs a small recovery with the saboteur and returns the report of the run, which must have failed.
fn sabotaged(after: &str) -> Value {
    let dir = tempfile::tempdir().unwrap();
    let file = calm(dir.path());
    let mut command = harness(&["scenario", file.to_str().unwrap(), "--json", "--seed", "3"]);
    command.args(["--events", "2000", "--rate", "4000/s", "--runs-dir"]).arg(dir.path());
    command.env("CIM_STORAGE_MANAGER", saboteur(dir.path(), after));
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}\n{}", stderr(&output), stdout(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["verdict"], "failed");
    let kept = Path::new(report["run_dir"].as_str().unwrap());
    assert!(kept.join("report.json").is_file() && kept.join("ledger.csv").is_file());
    report
}

fn counts(report: &Value) -> [u64; 5] {
    ["lost", "duplicated", "reordered", "changed", "phantom"]
        .map(|kind| report["oracle"][kind].as_u64().unwrap())
}

#[test]
fn the_saboteur_alone_is_not_what_fails() {
    let dir = tempfile::tempdir().unwrap();
    let file = calm(dir.path());
    let mut command = harness(&["scenario", file.to_str().unwrap(), "--seed", "3", "--json"]);
    command.args(["--events", "2000", "--rate", "4000/s", "--runs-dir"]).arg(dir.path());
    let output = command.env("CIM_STORAGE_MANAGER", saboteur(dir.path(), "")).output().unwrap();
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(counts(&report), [0; 5], "{report}");
    assert_eq!(report["oracle"]["recovered"], 2000);
    assert_eq!(output.status.code(), Some(0));
}

#[test]
fn a_message_that_was_never_published_is_a_phantom() {
    let report = sabotaged(r"nats 'PUB lab.events.1 5\r\nghost\r\n'");
    assert_eq!(counts(&report), [0, 0, 0, 0, 1]);
}

#[test]
fn a_consumer_that_is_missing_is_noticed() {
    let report = sabotaged("api CONSUMER.DELETE.EVENTS.keeps-up ''");
    assert_eq!(report["oracle"]["consumers_wrong"], 1, "{report}");
    assert_eq!(counts(&report), [0; 5]);
}

#[test]
fn a_configuration_that_was_not_kept_is_noticed() {
    let change = r#"api STREAM.UPDATE.EVENTS '{"name":"EVENTS","subjects":["lab.events.>"],"storage":"file","retention":"limits","discard":"old","num_replicas":1,"max_msgs":999999999}'"#;
    let report = sabotaged(change);
    assert!(report["oracle"]["streams_wrong"].as_u64().unwrap() >= 1, "{report}");
    assert_eq!(counts(&report), [0; 5]);
}
