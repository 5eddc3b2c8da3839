//! docs/recovery.md, done as it says.

use std::process::Command;

use serde_json::json;

use crate::support::{Host, Lab, Manager, fingerprint};

/// The commands of the page, in order.
fn commands() -> Vec<String> {
    let page = include_str!("../../../../docs/recovery.md");
    let blocks = page.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap());
    blocks.flat_map(str::lines).map(str::to_owned).collect()
}

fn run(manager: &Manager, line: &str) -> String {
    let programs = std::path::Path::new(env!("CARGO_BIN_EXE_cim-storage-manager"));
    let path = std::env::join_paths(
        std::iter::once(programs.parent().unwrap().to_owned())
            .chain(std::env::split_paths(&std::env::var_os("PATH").unwrap())),
    );
    let mut shell = Command::new("sh");
    shell.args(["-euc", line]).env("PATH", path.unwrap()).env("CIM_CONFIG", manager.config());
    let output = shell.output().unwrap();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "`{line}` ended with {}: {stderr}", output.status);
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_page_brings_a_lost_host_back() {
    let mut lab = Lab::start().await;
    let daemon = lab.manager.tier().await;
    let mut expected = Vec::new();
    for stream in ["EVENTS", "ORDERS"] {
        lab.nats.create(stream, json!({})).await;
        lab.nats.publish(stream, 200).await;
    }
    for stream in ["EVENTS", "ORDERS"] {
        lab.manager.reaches(stream, "nas", 200).await;
        expected.push(fingerprint(&lab.nats, stream).await);
    }
    daemon.kill();
    lab.nats.kill();

    let Host { nats, manager } = lab.host("new").await;
    let commands = commands();
    assert!(commands.len() >= 6, "{commands:?}");
    for line in &commands {
        let said = run(&manager, line);
        assert!(said.contains("EVENTS"), "`{line}` says nothing of the streams: {said}");
    }
    for (stream, expected) in ["EVENTS", "ORDERS"].iter().zip(expected) {
        assert_eq!(fingerprint(&nats, stream).await, expected, "{stream}");
    }
    assert_eq!(nats.last_seq("REHEARSAL").await, 200);
}
