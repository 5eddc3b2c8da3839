//! A server that takes small messages only: a snapshot goes in chunks that it takes.

use serde_json::json;

use crate::support::{Host, Lab, fingerprint};

/// What no compression makes smaller.
fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut state = seed + 1;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state.to_le_bytes()[7]
    };
    (0..bytes).map(|_| next()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_come_back_in_small_chunks() {
    let mut lab = Lab::with().server("max_payload: 8K").start().await;
    lab.nats.create("S", json!({})).await;
    lab.nats.create("M", json!({ "storage": "memory" })).await;
    let daemon = lab.manager.tier().await;
    for stream in ["S", "M"] {
        for seq in 1..=60 {
            let subject = format!("{}.x", stream.to_lowercase());
            let answer = lab.nats.client.request(subject, noise(seq, 5000).into()).await.unwrap();
            assert!(!answer.payload.starts_with(b"{\"error"), "{answer:?}");
        }
        lab.manager.reaches(stream, "nas", 60).await;
    }
    let before = [fingerprint(&lab.nats, "S").await, fingerprint(&lab.nats, "M").await];
    daemon.stop().await;
    lab.nats.kill();

    let Host { nats, manager } = lab.host_with("new", "max_payload: 8K").await;
    manager.json(&["restore", "--all"]);
    assert_eq!([fingerprint(&nats, "S").await, fingerprint(&nats, "M").await], before);
}
