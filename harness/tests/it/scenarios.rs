//! Whole runs, small: every scenario of the directory passes, and nothing is left behind, even when
//! the harness is killed in the middle.

use std::path::Path;
use std::process::{Child, Stdio};

use crate::common::{eventually, harness, processes_with, sabotaged, small, stderr, stdout};
use serde_json::Value;

fn run(name: &str, flags: &[&str]) -> Value {
    run_with(&[], name, flags)
}

fn run_with(env: &[(&str, &str)], name: &str, flags: &[&str]) -> Value {
    let runs = tempfile::tempdir().unwrap();
    let mut command = harness(&["scenario", name, "--json", "--runs-dir"]);
    command.arg(runs.path()).args(flags).envs(env.iter().copied());
    let output = command.output().unwrap();
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap_or_default();
    assert!(output.status.success(), "{}\n{}", stderr(&output), stdout(&output));
    assert_eq!(report["verdict"], "passed");
    for wrong in ["lost", "duplicated", "reordered", "changed", "phantom"] {
        assert_eq!(report["oracle"][wrong], 0, "{wrong}");
    }
    let left = std::fs::read_dir(runs.path()).unwrap().count();
    assert_eq!(left, 0, "a run that passed leaves nothing");
    assert_eq!(processes_with(runs.path().to_str().unwrap()), Vec::<u32>::new());
    report
}

#[test]
fn disaster_recovery_brings_back_what_was_confirmed_and_one_seed_gives_one_plan() {
    let (_dir, path) = small("disaster-recovery");
    let flags = ["--events", "8000", "--rate", "4000/s", "--seed", "11"];
    let first = run(&path, &flags);
    assert!(first["oracle"]["recovered"].as_u64().unwrap() > 1000, "{first}");
    assert!(first["rto_seconds"]["nas"]["p50"].as_f64().unwrap() > 0.0);
    assert!(first["oracle"]["deleted"].as_u64().unwrap() > 0);
    let second = run(&path, &flags);
    assert_eq!(first["plan_digest"], second["plan_digest"]);
    assert_ne!(first["plan_digest"], "");
}

#[test]
fn a_journal_brings_back_what_was_confirmed() {
    let (_dir, path) = small("disaster-recovery");
    let flags = ["--events", "8000", "--rate", "4000/s", "--seed", "11"];
    let report = run_with(&[("CIM_LAYOUT", "journal")], &path, &flags);
    assert!(report["oracle"]["recovered"].as_u64().unwrap() > 1000, "{report}");
    // Enough of a journal is read to sample the lag, and to judge the deletes.
    assert!(report["rpo_seconds"]["nas"]["p50"].as_f64().is_some(), "{report}");
    assert!(report["oracle"]["deleted"].as_u64().unwrap() > 0);
}

#[test]
fn an_unknown_layout_is_refused() {
    let runs = tempfile::tempdir().unwrap();
    let mut command = harness(&["scenario", "disaster-recovery", "--seed", "1", "--runs-dir"]);
    let output = command.arg(runs.path()).env("CIM_LAYOUT", "journl").output().unwrap();
    let said = stderr(&output);
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("`CIM_LAYOUT` is `journl`: use `chains` or `journal`"), "{said}");
}

#[test]
fn a_second_loss_is_survived_too() {
    let (_dir, path) = small("lost-twice");
    let report = run(&path, &["--events", "9000", "--rate", "3000/s", "--seed", "12"]);
    assert_eq!(report["losses"].as_array().unwrap().len(), 2);
}

#[test]
fn wasabi_alone_brings_back_what_it_had_confirmed() {
    let (_dir, path) = small("nas-loss");
    let report = run(&path, &["--events", "16000", "--rate", "2000/s", "--seed", "13"]);
    assert_eq!(report["losses"][0]["recovered_from"], "wasabi");
    assert!(report["oracle"]["recovered"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn a_replay_gives_the_same_state_from_anywhere() {
    let (_dir, path) = small("event-replay");
    let report = run(&path, &["--events", "5000", "--seed", "14"]);
    let steps = report["steps"].as_array().unwrap();
    let replays = steps.iter().filter(|s| s["what"].as_str().unwrap().starts_with("replay"));
    assert_eq!(replays.count(), 6);
    assert_eq!(report["oracle"]["tail"], 0);
}

#[test]
fn tiering_reaches_both_tiers_with_a_corpus_too() {
    let (dir, path) = small("tiering");
    let corpus = dir.path().join("corpus.ndjson");
    let line =
        |n: u32| format!("{{\"type\":\"a.b\",\"source\":\"s\",\"data\":{{\"größe\":{n}}}}}\n");
    std::fs::write(&corpus, (0..7).map(line).collect::<String>()).unwrap();
    let flags = ["--events", "5000", "--rate", "2500/s", "--seed", "15", "--corpus"];
    let flags = [&flags[..], &[corpus.to_str().unwrap()]].concat();
    let report = run(&path, &flags);
    let of: Vec<_> = report["judgements"].as_array().unwrap().iter().map(|j| &j["of"]).collect();
    assert_eq!(of, ["`EVENTS` at the end", "`EVENTS` at nas", "`EVENTS` at wasabi"]);
    let exact = |n: usize| report["judgements"][n]["exact"].as_u64().unwrap();
    assert_eq!(exact(0), 5000 - 40);
    assert_eq!(exact(1), exact(0));
    assert_eq!(exact(2), exact(0));
}

#[test]
fn a_crashing_storage_manager_loses_and_duplicates_nothing() {
    let (_dir, path) = small("storage-manager-crash");
    let report = run(&path, &["--events", "20000", "--rate", "2500/s", "--seed", "16"]);
    let steps = report["steps"].as_array().unwrap();
    let kills = steps.iter().filter(|s| s["what"].as_str().unwrap().starts_with("kill"));
    assert_eq!(kills.count(), 20);
}

/// Checks that a real MinIO did the request while the answer to the commit was lost.
#[test]
fn a_commit_whose_answer_was_lost_is_found_to_be_the_storage_managers_own() {
    let (dir, path) = small("nas-lost-answers");
    let mut command = harness(&["scenario", &path, "--json", "--keep", "--runs-dir"]);
    command.arg(dir.path()).args(["--events", "16000", "--rate", "2000/s", "--seed", "17"]);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}\n{}", stderr(&output), stdout(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let logs = Path::new(report["run_dir"].as_str().unwrap()).join("logs");
    let text = std::fs::read_to_string(logs.join("host-1-storage-manager.log")).unwrap();
    // It was unknown whether the entry exists; it did, and the chain continued without a conflict.
    assert!(text.contains("commit of manifest entry") && text.contains("not answered"), "{text}");
    assert!(!text.contains("another writer committed"), "{text}");
}

/// Checks disks of a size, which need a mount namespace; without one the scenario is skipped, with the reason.
#[test]
fn a_full_disk_is_gone_with_the_harness_even_when_it_is_killed() {
    let runs = tempfile::tempdir().unwrap();
    let mut command = harness(&["scenario", "nas-disk-full", "--events", "1000000", "--runs-dir"]);
    let child = command.arg(runs.path()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn();
    let mut child = child.unwrap();
    let here = runs.path().to_str().unwrap();
    let mut ended = None;
    eventually("the start of the lab, or its end", 120, || {
        ended = child.try_wait().unwrap();
        ended.is_some()
            || processes_with(here).iter().any(|pid| {
                let mounts =
                    std::fs::read_to_string(format!("/proc/{pid}/mounts")).unwrap_or_default();
                mounts.lines().any(|line| line.contains(here) && line.contains("size=196608k"))
            })
    });
    if let Some(ended) = ended {
        assert_eq!(ended.code(), Some(4), "it was neither run nor skipped");
        crate::common::skipped("a full disk", "no mount namespace can be had here");
        return;
    }
    let ours = std::fs::read_to_string("/proc/self/mounts").unwrap();
    assert!(!ours.contains(here), "no other process sees the disk: {ours}");
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("the end of every process", 20, || processes_with(here).is_empty());
    assert!(!std::fs::read_to_string("/proc/self/mounts").unwrap().contains(here));
    // No mount prevents the removal.
    runs.close().unwrap();
}

/// Kills the storage manager at each of its commit points; the scenarios are small as they are.
#[test]
fn at_every_commit_point_the_storage_manager_may_die() {
    if sabotaged("the storage manager dies at its commit points").is_none() {
        return;
    }
    for (name, deaths) in
        [("commit-points", 14), ("commit-points-recovery", 2), ("commit-points-chains", 3)]
    {
        let report = run(name, &["--seed", "17"]);
        let steps = report["steps"].as_array().unwrap();
        let crashes = steps.iter().filter(|s| s["what"].as_str().unwrap().starts_with("crash "));
        assert_eq!(crashes.count(), deaths, "{report}");
        let version = report["versions"]["cim-storage-manager"].as_str().unwrap();
        assert!(version.ends_with("+sabotaged"), "{version}");
    }
}

#[test]
fn what_nats_lost_by_damage_is_counted_and_comes_back_from_the_archive() {
    let (_dir, path) = small("damage-block-cut");
    let report = run(&path, &["--events", "16000", "--rate", "2000/s", "--seed", "17"]);
    let primary = &report["primary"][0];
    assert!(primary["lost"].as_u64().unwrap() > 0, "{primary}");
    assert!(primary["archived"].as_u64().unwrap() > 0, "{primary}");
    assert!(report["oracle"]["recovered"].as_u64().unwrap() > 0, "{report}");
}

#[test]
fn objects_that_nats_cannot_read_any_more_are_read_again_after_the_restore() {
    let (_dir, path) = small("damage-object");
    let report = run(&path, &["--seed", "20"]);
    let judged = report["judgements"].as_array().unwrap();
    let read: Vec<_> = judged.iter().filter(|j| j["of"] == "objects of `OBJ_media`").collect();
    let count = |at: usize, what: &str| read[at][what].as_u64().unwrap();
    assert!(count(0, "exact") < count(0, "read"), "{report}");
    assert!(count(1, "exact") == count(1, "read") && count(1, "read") > 100, "{report}");
}

/// Checks streams with ledgers of their own: all of them come back.
#[test]
fn streams_of_many_kinds_come_back_each_by_itself() {
    let (_dir, path) = small("many-streams");
    let report =
        run(&path, &["--streams", "12", "--events", "80", "--rate", "20/s", "--seed", "31"]);
    let streams = report["losses"][0]["streams"].as_array().unwrap();
    assert_eq!(streams.len(), 12, "{report}");
    let recovered = streams.iter().map(|stream| stream["recovered_seq"].as_u64().unwrap());
    assert!(recovered.sum::<u64>() > 100, "{report}");
    let names = |kind: &str| {
        let judged = report["judgements"].as_array().unwrap().iter();
        let of = judged.filter_map(|judgement| judgement["of"].as_str());
        of.filter(|of| of.contains(kind) && of.ends_with("after recovery 1 from nas")).count()
    };
    let kinds = ["SLOW", "FAST", "VOLATILE", "JOBS", "BACKLOG", "NOTICES", "KV_STATE", "OBJ_MEDIA"];
    for kind in kinds {
        assert!(names(kind) > 0, "no {kind}");
    }
}

#[test]
fn the_first_message_after_a_pause_is_on_the_nas_and_its_age_is_known() {
    let (_dir, path) = small("idle-then-one");
    let report = run(&path, &["--streams", "5", "--seed", "32"]);
    assert_eq!(report["age_seconds"]["nas"]["samples"], 5, "{report}");
}

#[test]
fn what_an_administrator_purged_stays_away() {
    let (_dir, path) = small("stream-purged");
    let report = run(&path, &["--events", "12000", "--rate", "2000/s", "--seed", "18"]);
    let judged = report["judgements"].as_array().unwrap();
    let with_dropped = judged.iter().find(|j| j["of"].as_str().unwrap().contains("dropped"));
    assert!(with_dropped.unwrap()["exact"].as_u64().unwrap() > 1000, "{report}");
}

#[test]
fn both_histories_of_a_stream_that_was_made_again_come_back() {
    let (_dir, path) = small("stream-recreated");
    let report = run(&path, &["--events", "12000", "--rate", "2000/s", "--seed", "19"]);
    let judged = report["judgements"].as_array().unwrap();
    let old = judged.iter().filter(|j| j["of"].as_str().unwrap().starts_with("timeline 1"));
    assert!(old.clone().count() == 2 && old.clone().all(|j| j["exact"].as_u64() > Some(0)));
}

#[test]
fn a_cluster_survives_a_node_and_every_replica_is_whole() {
    let (_dir, path) = small("cluster-node-lost");
    let report = run(&path, &["--events", "6000", "--rate", "1500/s", "--seed", "17"]);
    assert_eq!(report["losses"], serde_json::json!([]), "the cluster was never lost");
    let judgements = report["judgements"].as_array().unwrap();
    let of: Vec<_> = judgements.iter().map(|j| j["of"].as_str().unwrap()).collect();
    for host in ["host-1", "host-2", "host-3"] {
        assert!(of.contains(&format!("`EVENTS` on {host} at the end").as_str()), "{of:?}");
    }
}

#[test]
fn what_one_server_of_a_cluster_lost_by_damage_is_counted_and_in_the_archive() {
    // Damage that NATS cannot mend from the other replicas needs more than one block of 8 MiB.
    let report = run("cluster-node-corrupted", &["--seed", "17"]);
    let primary = &report["primary"][0];
    assert_eq!(primary["server"], "host-3");
    let [lost, archived] = ["lost", "archived"].map(|count| primary[count].as_u64().unwrap());
    assert!(lost > 1000, "{primary}");
    assert_eq!((archived, &primary["wrong"]), (lost, &Value::from(0)), "{primary}");
}

#[test]
fn a_cluster_that_lost_its_majority_is_restored_with_its_replicas() {
    let (_dir, path) = small("cluster-majority-lost");
    let report = run(&path, &["--events", "6000", "--rate", "1500/s", "--seed", "18"]);
    assert_eq!(report["losses"].as_array().unwrap().len(), 1);
    assert!(report["losses"][0]["recovered"].as_u64().unwrap() > 100, "{report}");
    let judgements = report["judgements"].as_array().unwrap();
    let refused = judgements.iter().find(|j| j["of"].as_str().unwrap().contains("none acked"));
    assert!(refused.is_some(), "{report}");
}

/// Checks that a write is noticed that two of three servers, a majority, accept.
#[test]
fn a_write_that_is_taken_where_none_may_be_fails_the_run() {
    let (dir, path) = small("cluster-majority-lost");
    let text = std::fs::read_to_string(&path).unwrap();
    let second = "[[steps]]\ndo = \"destroy\"\nnode = \"host-2\"\n";
    let probe = "[[steps]]\ndo = \"expect-no-acks\"";
    assert!(text.contains(second) && text.contains(probe), "{text}");
    // The second host is destroyed only after it. Where the first one led the stream, the others elect first.
    let text = text.replacen(second, "", 1).replacen("for = \"3s\"", "for = \"15s\"", 1);
    let last = "[[steps]]\ndo = \"destroy\"\nnode = \"host-1\"\n";
    std::fs::write(&path, text.replacen(last, &format!("{second}\n{last}"), 1)).unwrap();
    let mut command = harness(&["scenario", &path, "--json", "--events", "6000", "--runs-dir"]);
    let output = command.arg(dir.path()).args(["--rate", "1500/s"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let report: Value = serde_json::from_str(&stdout(&output)).unwrap();
    let reason = report["reason"].as_str().unwrap();
    assert!(reason.contains("took a write without a majority"), "{reason}");
}

#[test]
fn what_a_leaf_node_acked_while_it_was_cut_off_arrives_once_and_in_order() {
    let (_dir, path) = small("leaf-cut-off");
    let report = run(&path, &["--events", "8000", "--rate", "1500/s", "--seed", "19"]);
    let judgements = report["judgements"].as_array().unwrap();
    let of: Vec<_> = judgements.iter().map(|j| j["of"].as_str().unwrap()).collect();
    assert_eq!(
        of,
        ["`FIELD` at the end", "`EVENTS` at the end", "`EVENTS` at nas", "`EVENTS` at wasabi"]
    );
    assert!(judgements.iter().all(|j| j["exact"] == 8000), "{report}");
}

#[test]
fn a_leaf_node_gives_the_restored_host_what_it_lacks() {
    let (_dir, path) = small("hub-lost");
    let report = run(&path, &["--events", "4000", "--rate", "800/s", "--seed", "20"]);
    let loss = &report["losses"][0];
    let stream = |name: &str| {
        let streams = loss["streams"].as_array().unwrap();
        streams.iter().find(|s| s["stream"] == name).unwrap().clone()
    };
    assert_eq!(stream("EVENTS")["tail_events"], 0, "{loss}");
    let judgements = report["judgements"].as_array().unwrap();
    let end = judgements.iter().find(|j| j["of"] == "`EVENTS` at the end").unwrap();
    assert_eq!(end["exact"], 4000, "{report}");
}

/// Starts a run and waits until every program of the lab has started.
fn under_way(runs: &Path) -> Child {
    let mut command = harness(&["scenario", "tiering", "--events", "1000000", "--runs-dir"]);
    command.arg(runs).stdout(Stdio::null()).stderr(Stdio::null());
    let child = command.spawn().unwrap();
    let here = runs.to_str().unwrap();
    eventually("the start of the lab", 60, || {
        let running = |program: &str| {
            processes_with(here).iter().any(|pid| {
                let exe = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
                exe.ends_with(program)
            })
        };
        ["nats-server", "minio", "cim-fake-wasabi", "cim-storage-manager"].into_iter().all(running)
    });
    child
}

#[test]
fn killing_the_harness_leaves_nothing_but_the_run_directory() {
    let runs = tempfile::tempdir().unwrap();
    let mut child = under_way(runs.path());
    child.kill().unwrap();
    child.wait().unwrap();
    let here = runs.path().to_str().unwrap();
    eventually("the end of every process", 20, || processes_with(here).is_empty());
    let left: Vec<_> = std::fs::read_dir(runs.path()).unwrap().collect();
    assert_eq!(left.len(), 1);
    assert!(left[0].as_ref().unwrap().path().join("logs").is_dir());
}

#[test]
fn an_interrupt_ends_everything_and_tidies_up() {
    let runs = tempfile::tempdir().unwrap();
    let mut child = under_way(runs.path());
    let pid = rustix::process::Pid::from_child(&child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(130));
    let here = runs.path().to_str().unwrap();
    assert_eq!(processes_with(here), Vec::<u32>::new());
    assert_eq!(std::fs::read_dir(runs.path()).unwrap().count(), 0);
}
