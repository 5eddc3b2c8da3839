//! Labs of containers: runs that pass, runs that are skipped, and nothing left behind, even when the
//! harness is killed in the middle.
//!
//! They need an engine and the images: `ci/docker run cargo test -p cim-harness --test it -- container` after
//! `ci/docker run ci/images`. Without them they are skipped, and report that.

use std::process::{Command, Stdio};
use std::time::Duration;

use crate::common::{
    eventually, harness, processes_with, scenarios, skipped, small, stderr, stdout,
};
use serde_json::Value;

/// Returns the last line that a `docker` command prints.
fn docker(args: &[&str]) -> Result<Vec<String>, String> {
    let output = Command::new("docker").args(args).output().map_err(|e| e.to_string())?;
    if !output.status.success() {
        return Err(stderr(&output).lines().last().unwrap_or("it fails").to_owned());
    }
    Ok(stdout(&output).lines().map(ToOwned::to_owned).collect())
}

/// Reports whether there is an engine. Without one the test is skipped, and reports that.
fn available(test: &str) -> bool {
    let missing = match std::env::var("CIM_NO_DOCKER") {
        Ok(why) if !why.is_empty() => Err(why),
        _ => docker(&["version"]).map(drop),
    };
    let Err(why) = missing else { return true };
    skipped(test, &format!("Docker cannot be had: {why}"));
    false
}

/// Returns all objects of labs in the engine.
fn of_labs() -> Vec<String> {
    let lists: [&[&str]; 3] = [
        &["ps", "--all", "--quiet", "--filter", "label=cim.lab"],
        &["network", "ls", "--quiet", "--filter", "label=cim.lab"],
        &["volume", "ls", "--quiet", "--filter", "label=cim.lab"],
    ];
    lists.into_iter().flat_map(|list| docker(list).unwrap()).collect()
}

/// Runs `cim-harness scenario --substrate container` with these arguments.
fn contained(args: &[&str]) -> Command {
    let mut command = harness(&["scenario", "--substrate", "container"]);
    command.args(args);
    command
}

/// Runs the tests one after the other: each looks at all objects in the engine.
#[test]
fn labs_of_containers() {
    if !available("labs_of_containers") {
        return;
    }
    assert_eq!(of_labs(), Vec::<String>::new(), "the engine has something of another lab");
    a_host_that_is_lost_comes_back();
    programs_are_killed_paused_and_started_one_by_one();
    an_interrupt_leaves_nothing();
    a_harness_that_is_killed_leaves_nothing_but_the_run_directory();
}

fn run(name: &str, flags: &[&str]) -> Value {
    let runs = tempfile::tempdir().unwrap();
    let mut command = contained(&[name, "--json", "--runs-dir"]);
    let output = command.arg(runs.path()).args(flags).output().unwrap();
    assert!(output.status.success(), "{}\n{}", stderr(&output), stdout(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["verdict"], "passed");
    assert_eq!(report["substrate"], "container");
    let left = std::fs::read_dir(runs.path()).unwrap().count();
    assert_eq!(left, 0, "a run that passed leaves nothing");
    assert_eq!(of_labs(), Vec::<String>::new());
    report
}

fn a_host_that_is_lost_comes_back() {
    let (_dir, path) = small("disaster-recovery");
    let report = run(&path, &["--events", "8000", "--rate", "2000/s", "--seed", "11"]);
    assert!(report["oracle"]["recovered"].as_u64().unwrap() > 500, "{report}");
    for program in ["nats-server", "minio", "cim-storage-manager", "cim-fake-wasabi"] {
        assert_ne!(
            report["versions"][program].as_str().unwrap_or("unknown"),
            "unknown",
            "{program}"
        );
    }
}

/// Checks every step that containers do in another way than processes.
fn programs_are_killed_paused_and_started_one_by_one() {
    let (dir, _) = small("tiering");
    let text = std::fs::read_to_string(dir.path().join("tiering.toml")).unwrap();
    let (head, _) = text.split_once("[[steps]]").unwrap();
    let step = |step: &str| format!("[[steps]]\n{step}\n");
    let wait = step("do = \"await-load\"\nfor = [\"300ms\", \"300ms\"]");
    let on = |kind: &str, node: &str, program: &str| {
        step(&format!("do = \"{kind}\"\nnode = \"{node}\"\nprogram = \"{program}\""))
    };
    let link = |conditions: &str| {
        step(&format!("do = \"link\"\nfrom = \"host\"\nto = \"nas\"\nconditions = {conditions}"))
    };
    let steps = [
        step("do = \"load\""),
        wait.clone(),
        on("pause", "host", "storage-manager"),
        wait.clone(),
        on("continue", "host", "storage-manager"),
        link("{ cut = true }"),
        wait.clone(),
        link("{}"),
        on("kill", "host", "storage-manager"),
        on("start", "host", "storage-manager"),
        on("stop", "nas", "s3"),
        wait,
        on("start", "nas", "s3"),
        step("do = \"finish-load\""),
        step("do = \"drain\"\ntiers = [\"nas\", \"wasabi\"]"),
        step("do = \"judge\"\nwhat = \"everything\""),
    ];
    let path = dir.path().join("one-by-one.toml");
    std::fs::write(&path, head.to_owned() + &steps.concat()).unwrap();
    let flags = ["--events", "6000", "--rate", "1500/s", "--seed", "21"];
    let report = run(path.to_str().unwrap(), &flags);
    let exact = |n: usize| report["judgements"][n]["exact"].as_u64().unwrap();
    assert_eq!((exact(1), exact(2)), (exact(0), exact(0)), "{report}");
}

/// Starts a run and waits until every program of the lab is in its container.
fn under_way(runs: &std::path::Path) -> std::process::Child {
    let mut command = contained(&["tiering", "--events", "1000000", "--runs-dir"]);
    let child = command.arg(runs).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    eventually("the start of the lab", 120, || {
        docker(&["ps", "--quiet", "--filter", "label=cim.lab"]).unwrap().len() >= 4
    });
    child
}

fn an_interrupt_leaves_nothing() {
    let runs = tempfile::tempdir().unwrap();
    let mut child = under_way(runs.path());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    assert_eq!(of_labs(), Vec::<String>::new());
    assert_eq!(std::fs::read_dir(runs.path()).unwrap().count(), 0);
}

fn a_harness_that_is_killed_leaves_nothing_but_the_run_directory() {
    let runs = tempfile::tempdir().unwrap();
    let mut child = under_way(runs.path());
    assert!(of_labs().len() >= 4 + 1 + 3, "containers, a network and volumes");
    let format = ["--format", "{{.Label \"cim.lab\"}}"];
    let labs = docker(&[&["ps", "--filter", "label=cim.lab"][..], &format].concat()).unwrap();
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the end of the lab", 60, || of_labs().is_empty());
    let reaper = || processes_with(&format!("reap --lab {}", labs[0])).is_empty();
    eventually("the end of the reaper", 10, reaper);
    // No object is made after the reaper has gone.
    std::thread::park_timeout(Duration::from_millis(500));
    assert_eq!(of_labs(), Vec::<String>::new());
    let left: Vec<_> = std::fs::read_dir(runs.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
}

#[test]
fn without_an_engine_a_scenario_is_skipped_with_the_reason() {
    let runs = tempfile::tempdir().unwrap();
    let mut command = contained(&["tiering", "--json", "--runs-dir"]);
    let output = command.arg(runs.path()).env("CIM_NO_DOCKER", "only root can").output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["verdict"], "skipped");
    assert_eq!(report["reason"], "Docker cannot be had: only root can");
    let mut command = contained(&["tiering", "--json", "--runs-dir"]);
    command.arg(runs.path()).env_remove("CIM_NO_DOCKER");
    let output = command.env("DOCKER_HOST", "unix:///no/such.sock").output().unwrap();
    assert_eq!(output.status.code(), Some(4), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let reason = report["reason"].as_str().unwrap();
    assert!(reason.starts_with("Docker cannot be had: no Docker engine answers"), "{reason}");
    assert!(reason.ends_with("`ci/docker run COMMAND…` starts one"), "{reason}");
    assert_eq!(std::fs::read_dir(runs.path()).unwrap().count(), 0);
}

#[test]
fn what_containers_do_not_offer_is_skipped_before_an_engine_is_looked_for() {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(scenarios().join("tiering.toml")).unwrap();
    let text = format!("requires = [\"power-loss\"]\n{text}");
    std::fs::write(dir.path().join("power.toml"), text).unwrap();
    let output = contained(&["power", "--json", "--dir"]).arg(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["reason"], "the container substrate does not offer \"power-loss\"");
}
