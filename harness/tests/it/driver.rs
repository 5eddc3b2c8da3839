//! The driver substrate, from both ends of its socket.

use std::path::Path;
use std::process::{Child, Stdio};

use crate::common::{eventually, harness, stderr, stdout};
use cim_harness::scenario::{self, Capability};
use serde_json::{Value, json};

/// Makes a lab whose machines do not exist.
fn lab(dir: &Path, offers: &[&str]) -> std::path::PathBuf {
    let keys = dir.join("nas.env");
    std::fs::write(&keys, "AWS_ACCESS_KEY_ID=a\nAWS_SECRET_ACCESS_KEY=b\n").unwrap();
    let s3 = |role: &str| {
        json!({ "role": role, "endpoint": "http://127.0.0.1:1", "bucket": "b", "region": "r",
                "credentials_file": keys })
    };
    let lab = json!({
        "offers": offers,
        "slowdown": 3,
        "nodes": {
            "host": { "role": "host", "address": "127.0.0.1", "nats_port": 1 },
            "nas": s3("nas"), "wasabi": s3("wasabi"),
        },
    });
    let path = dir.join("lab.json");
    std::fs::write(&path, lab.to_string()).unwrap();
    path
}

fn start(dir: &Path, name: &str, offers: &[&str], patience: &str) -> Child {
    let lab = lab(dir, offers);
    let mut command =
        harness(&["scenario", name, "--json", "--seed", "1", "--substrate", "driver"]);
    command.arg("--lab").arg(lab).arg("--socket").arg(dir.join("s"));
    command.args(["--driver-patience", patience, "--runs-dir"]).arg(dir.join("runs"));
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn driver(dir: &Path, args: &[&str]) -> std::process::Output {
    let mut command = harness(&["driver"]);
    command.args(args).arg("--socket").arg(dir.join("s"));
    command.output().unwrap()
}

#[test]
fn what_the_machines_cannot_do_is_skipped_before_anything_starts() {
    let dir = tempfile::tempdir().unwrap();
    let child = start(dir.path(), "power-loss", &["processes"], "60s");
    eventually("the socket is there", 30, || dir.path().join("s").exists());
    let next = driver(dir.path(), &["next"]);
    let request: Value = serde_json::from_str(&stdout(&next)).unwrap();
    assert_eq!(request, json!({ "id": 1, "do": "end", "verdict": "skipped", "exit": 4 }));
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["reason"], "the driver substrate does not offer \"power-loss\"");
}

#[test]
fn a_driver_that_is_not_there_fails_the_scenario() {
    let dir = tempfile::tempdir().unwrap();
    let child = start(dir.path(), "tiering", &["processes"], "200ms");
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let reason = report["reason"].as_str().unwrap();
    assert!(reason.contains("no driver has asked for request 1"), "{reason}");
    assert_eq!(report["slowdown"], 3);
    let bounds = report["expectations"].as_array().unwrap().iter();
    let lag =
        bounds.clone().find(|e| e["what"] == "lag at nas, p99").expect("tiering has this one");
    assert_eq!(
        (&lag["bound"], lag["measured"].is_null()),
        (&json!(15.0), true),
        "the file says 5 s"
    );
    let next = driver(dir.path(), &["next"]);
    assert_eq!(next.status.code(), Some(3), "the harness has ended");
}

#[test]
fn what_the_driver_cannot_do_ends_the_scenario_with_its_words() {
    let dir = tempfile::tempdir().unwrap();
    let child = start(dir.path(), "tiering", &["processes"], "60s");
    eventually("the socket is there", 30, || dir.path().join("s").exists());
    let next = driver(dir.path(), &["next"]);
    let request: Value = serde_json::from_str(&stdout(&next)).unwrap();
    assert_eq!(request["do"], "start");
    assert_eq!(request["disk"], "new");
    let twice = driver(dir.path(), &["next"]);
    assert_eq!(twice.status.code(), Some(2), "{}", stderr(&twice));
    let done = driver(dir.path(), &["done", "1", "--error", "no such machine"]);
    assert!(done.status.success(), "{}", stderr(&done));
    let end: Value = serde_json::from_str(&stdout(&driver(dir.path(), &["next"]))).unwrap();
    assert_eq!((&end["do"], &end["exit"]), (&json!("end"), &json!(1)));
    let output = child.wait_with_output().unwrap();
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert!(report["reason"].as_str().unwrap().ends_with("no such machine"), "{report}");
}

/// Checks the rule by which nixos/tests/default.nix selects scenarios for machines: `requires` and links in the
/// file alone. A scenario that needs more without declaring it would be a machine test that cannot pass.
#[test]
fn what_machines_may_lack_is_said_in_the_file() {
    let evident = [Capability::Processes, Capability::PowerLoss, Capability::Links];
    for listed in scenario::list(&scenario::directory(None).unwrap()).unwrap() {
        let scenario = listed.scenario.unwrap();
        let needs = scenario.needs();
        let hidden: Vec<_> =
            needs.difference(&scenario.requires).filter(|c| !evident.contains(c)).collect();
        assert!(hidden.is_empty(), "`{}` needs {hidden:?}: say so in `requires`", listed.name);
    }
}
