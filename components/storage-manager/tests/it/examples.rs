//! The programs in examples/, as a reader of them would run them.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::{Lab, download, required_tool};

#[path = "../../examples/read_archive.rs"]
#[expect(dead_code, reason = "the example's own `main` only prints")]
mod read_archive;

#[tokio::test(flavor = "multi_thread")]
async fn both_print_the_stream() {
    let lab = Lab::with().layout("journal").start().await;
    lab.nats.create("ORDERS", json!({ "subjects": ["orders.>"] })).await;
    lab.nats.create("OTHER", json!({ "subjects": ["other.>"] })).await;
    let daemon = lab.manager.tier().await;
    let jetstream = async_nats::jetstream::new(lab.nats.client.clone());
    let mut expected = Vec::new();
    for n in 1..=40 {
        let subject = format!("orders.{}", if n % 2 == 0 { "eu" } else { "us" });
        let payload = format!("order {n}, größer");
        expected.push(format!("{n} {subject} {payload}"));
        jetstream.publish(subject, payload.into()).await.unwrap().await.unwrap();
        jetstream.publish("other.x", "x".into()).await.unwrap().await.unwrap();
    }
    lab.manager.reaches("ORDERS", "nas", 40).await;
    daemon.stop().await;

    assert_eq!(read_archive::lines(lab.manager.config(), "ORDERS").await.unwrap(), expected);
    let none = read_archive::lines(lab.manager.config(), "NONE").await.unwrap_err();
    assert_eq!(none.to_string(), "the archive has no such stream");

    let bucket = download(&lab.bucket(), lab.dir()).await;
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/read_archive.py");
    let mut python = Command::new(required_tool("python/bin/python"));
    let output = python.arg(program).arg(bucket).arg("ORDERS").output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let printed = String::from_utf8(output.stdout).unwrap();
    assert_eq!(printed.lines().collect::<Vec<_>>(), expected);
}
