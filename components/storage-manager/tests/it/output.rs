//! Readers of what is printed and logged may go, or stop reading.

use std::io::Read as _;
use std::process::Command;

use serde_json::json;

use crate::support::Lab;

/// What a pipe of 64 KiB holds at least when it is full: each write begins a page where the last one is too full.
const PIPE: usize = 32 << 10;

#[tokio::test(flavor = "multi_thread")]
async fn a_log_that_is_not_read_holds_up_nothing() {
    let lab = Lab::start().await;
    lab.nats.create("S", json!({})).await;
    let mut published = 0;
    for reader_stays in [false, true] {
        let mut daemon = lab.manager.spawn_logging("trace", &["tier"]);
        let log = Some(daemon.stderr()).filter(|_| reader_stays);
        for _ in 0..5 {
            lab.nats.publish("S", 20).await;
            published += 20;
            lab.manager.reaches("S", "nas", published).await;
        }
        daemon.signal("TERM");
        assert!(daemon.ends().await.success(), "with a reader: {reader_stays}");
        let mut logged = Vec::new();
        if let Some(mut log) = log {
            log.read_to_end(&mut logged).unwrap();
            assert!(logged.len() >= PIPE, "the pipe must have been full: {}", logged.len());
        }
    }
    // A shell that asks which streams there are.
    let asked = Command::new(env!("CARGO_BIN_EXE_cim-storage-manager"))
        .args(["--", "cim-storage-manager", "-c", lab.manager.config().to_str().unwrap()])
        .args(["restore", ""])
        .envs([("COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", "4"), ("_CLAP_IFS", "\n")])
        .output();
    let offered = String::from_utf8(asked.unwrap().stdout).unwrap();
    assert!(offered.lines().any(|line| line == "S"), "{offered}");
    // `| head`: it has seen what it wanted.
    for command in [&["streams"][..], &["status", "--json"], &["verify"], &["check"]] {
        let mut child = lab.manager.spawn(command);
        drop(child.stdout());
        let output = child.output();
        assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    }
}
