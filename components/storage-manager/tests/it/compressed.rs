//! A compressed stream is compressed on the disk that it is restored to.

use serde_json::json;

use crate::support::{Host, Lab, Nats, fingerprint, wait_until};

/// Messages that take three blocks, and what each is filled with.
const MESSAGES: u64 = 30;
const LINE: &str =
    "{\"type\":\"order.created\",\"customer\":\"c-001\",\"lines\":[{\"sku\":\"ABC\",\"n\":1}]}\n";

/// Bytes of a stream's blocks.
fn on_disk(nats: &Nats) -> u64 {
    let blocks = nats.streams().join("S/msgs");
    let files = std::fs::read_dir(blocks).unwrap().filter_map(|file| file.ok()?.metadata().ok());
    files.map(|file| file.len()).sum()
}

/// A stream that was archived, and its host with what it takes on disk.
async fn archived(lab: &Lab) -> (serde_json::Value, u64) {
    let Lab { nats, manager, .. } = lab;
    nats.create("S", json!({ "compression": "s2" })).await;
    for n in 0..MESSAGES {
        let payload = format!("{n} {}", LINE.repeat(10_000));
        let answer = nats.client.request("s.x", payload.into()).await.unwrap();
        assert!(!answer.payload.starts_with(b"{\"error"), "{answer:?}");
    }
    nats.delete("S", &[3, 14]).await;
    let daemon = manager.tier().await;
    manager.reaches("S", "nas", MESSAGES).await;
    daemon.stop().await;
    let before = fingerprint(nats, "S").await;
    let small = wait_until("the server has compressed its blocks", async || {
        let bytes = on_disk(nats);
        if bytes < 10 << 20 { Ok(bytes) } else { Err(bytes.to_string()) }
    });
    (before, small.await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_stream_comes_back_compressed() {
    let lab = Lab::start().await;
    let (before, small) = archived(&lab).await;
    let encrypted = "jetstream { key: \"a key of a test\", cipher: aes }";
    for (name, more) in [("new", ""), ("encrypted", encrypted)] {
        let Host { mut nats, manager } = lab.host_with(name, more).await;
        manager.json(&["restore", "S"]);
        assert_eq!(fingerprint(&nats, "S").await, before, "{name}");
        let bytes = on_disk(&nats);
        println!("{name}: {small} bytes on disk before, {bytes} after");
        // A server that encrypts what it is given does so without compressing it.
        assert!(bytes < small * 3 / 2 || name == "encrypted", "{bytes}, and {small} before");
        // What is deleted from such a block, and what comes behind it, is so after a restart as well.
        nats.delete("S", &[5]).await;
        nats.publish("S", 3).await;
        let now = fingerprint(&nats, "S").await;
        nats.crash_and_start().await;
        assert_eq!(fingerprint(&nats, "S").await, now, "{name}");
    }
}
