//! Readers of what is printed and logged may go, or stop reading.

use std::io::Read as _;
use std::process::{Command, Stdio};

use serde_json::json;

use crate::support::{Child, Manager, Minio, Nats, Settings, wait_until};

/// What a pipe of 64 KiB holds at least when it is full: each write begins a page where the last one is too full.
const PIPE: usize = 32 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_read_holds_up_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let minio = Minio::start(path).await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let manager = Manager::new(path, "host", &Settings::new(&nats.url, &minio.url));
    let mut published = 0;
    for reader_stays in [false, true] {
        let daemon = Command::new(env!("CARGO_BIN_EXE_cim-storage-manager"))
            .arg("--config")
            .arg(manager.config())
            .args(["--log", "trace", "tier"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn();
        let mut daemon = Child(daemon.unwrap());
        let log = daemon.0.stderr.take().filter(|_| reader_stays);
        for _ in 0..5 {
            nats.publish("S", 20).await;
            published += 20;
            manager.reaches("S", "nas", published).await;
        }
        let pid = daemon.0.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &pid]).status().unwrap().success());
        let ended = wait_until("it ends", async || {
            daemon.0.try_wait().unwrap().ok_or_else(|| format!("with a reader: {reader_stays}"))
        });
        assert!(ended.await.success());
        let mut logged = Vec::new();
        if let Some(mut log) = log {
            log.read_to_end(&mut logged).unwrap();
            assert!(logged.len() >= PIPE, "the pipe must have been full: {}", logged.len());
        }
    }
    // A shell that asks which streams there are.
    let asked = Command::new(env!("CARGO_BIN_EXE_cim-storage-manager"))
        .args(["--", "cim-storage-manager", "-c", manager.config().to_str().unwrap()])
        .args(["restore", ""])
        .envs([("COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", "4"), ("_CLAP_IFS", "\n")])
        .output();
    let offered = String::from_utf8(asked.unwrap().stdout).unwrap();
    assert!(offered.lines().any(|line| line == "S"), "{offered}");
    // `| head`: it has seen what it wanted.
    for command in [&["streams"][..], &["status", "--json"], &["verify"], &["check"]] {
        let mut child = manager.spawn(command);
        drop(child.stdout.take());
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}
