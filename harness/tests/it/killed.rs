//! The harness may be interrupted or killed at any moment: no program is left running, and at most a run
//! directory is left on disk.

use std::os::unix::process::ExitStatusExt as _;
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use crate::common::{eventually, harness, processes_with, scenarios};
use rustix::process::{Pid, Signal, kill_process};

/// Starts a small disaster: some seconds of load, a loss, a restore, more load.
fn disaster(runs: &Path, tmp: &Path) -> Child {
    let mut command = harness(&["scenario", "disaster-recovery", "--events", "6000"]);
    command.args(["--rate", "2000/s", "--dir"]).arg(scenarios());
    command.arg("--runs-dir").arg(runs).env("TMPDIR", tmp);
    command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn ends_with(mut child: Child, signal: Signal) -> ExitStatus {
    // It may have ended already.
    let _ = kill_process(Pid::from_child(&child), signal);
    child.wait().unwrap()
}

fn files(dir: &Path) -> Vec<String> {
    let names = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name());
    names.map(|name| name.to_string_lossy().into_owned()).collect()
}

/// Checks that all programs have ended, and that at most a run directory is left on disk.
fn nothing_is_left(runs: &Path, tmp: &Path, dirs_at_most: usize, when: &str) {
    let here = runs.to_str().unwrap();
    eventually(&format!("the end of every process, {when}"), 30, || {
        processes_with(here).is_empty()
    });
    let left = files(runs);
    assert!(left.len() <= dirs_at_most, "{when}: {left:?}");
    assert!(left.iter().all(|name| name.starts_with("disaster-recovery-")), "{when}: {left:?}");
    assert_eq!(files(tmp), Vec::<String>::new(), "{when}");
}

#[test]
fn at_any_moment_nothing_is_left() {
    let tmp = tempfile::tempdir().unwrap();
    let until = Instant::now() + Duration::from_secs(60);
    let mut rounds = 0;
    while rounds < 4 || (rounds < 16 && Instant::now() < until) {
        let runs = tempfile::tempdir().unwrap();
        // Many early moments, because every program of the lab starts then.
        let longest = if rounds % 4 < 2 { 800 } else { 8000 };
        let after = Duration::from_millis(u64::from(rand::random::<u16>()) % longest);
        let child = disaster(runs.path(), tmp.path());
        std::thread::park_timeout(after);
        let interrupt = rounds % 2 == 0;
        let signal = if interrupt { Signal::INT } else { Signal::KILL };
        let when = format!("{signal:?} after {after:?}");
        let status = ends_with(child, signal);
        if interrupt {
            // Before it listens, SIGINT ends it like any other program; no run had begun then.
            let ended = matches!(status.code(), Some(130 | 0 | 1)) || status.signal() == Some(2);
            assert!(ended, "{when}: {status}");
            let kept = usize::from(status.code() == Some(1));
            nothing_is_left(runs.path(), tmp.path(), kept, &when);
        } else {
            nothing_is_left(runs.path(), tmp.path(), 1, &when);
        }
        rounds += 1;
    }
}

#[test]
fn in_the_middle_of_a_restore_nothing_is_left() {
    let tmp = tempfile::tempdir().unwrap();
    for _ in 0..5 {
        let runs = tempfile::tempdir().unwrap();
        let here = runs.path().to_str().unwrap().to_owned();
        let mut child = disaster(runs.path(), tmp.path());
        let restoring = || {
            processes_with(&here).iter().any(|pid| {
                let line = std::fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
                let line = String::from_utf8_lossy(&line).replace('\0', " ");
                line.contains("cim-storage-manager restore")
            })
        };
        let mut caught = false;
        while !caught && child.try_wait().unwrap().is_none() {
            caught = restoring();
        }
        let _ = ends_with(child, Signal::KILL);
        nothing_is_left(runs.path(), tmp.path(), 1, "in a restore");
        if caught {
            return;
        }
    }
    panic!("no restore was seen in 5 runs");
}
