//! A stream in memory: what its snapshot does not carry is said.

use async_nats::HeaderMap;
use serde_json::{Value, json};

use crate::support::{Host, Lab, Nats, wait_until};

async fn publish(nats: &Nats, subject: &str, headers: &[(&'static str, &str)]) -> Value {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    let answer = nats.client.request_with_headers(subject.to_owned(), map, "x".into());
    let answer: Value = serde_json::from_slice(&answer.await.unwrap().payload).unwrap();
    assert!(answer["error"].is_null(), "{answer}");
    answer
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_stream_in_memory_does_not_get_back_is_said() {
    let mut lab = Lab::start().await;
    for (stream, storage) in [("MEMORY", "memory"), ("DISK", "file")] {
        let more = json!({
            "storage": storage, "duplicate_window": 600_000_000_000_u64, "allow_msg_ttl": true,
            "subject_delete_marker_ttl": 1_000_000_000_u64, "allow_rollup_hdrs": true,
        });
        lab.nats.create(stream, more).await;
    }
    lab.nats.create("TAKER", json!({ "subjects": null, "sources": [{ "name": "MEMORY" }] })).await;
    let daemon = lab.manager.tier().await;
    for stream in ["memory", "disk"] {
        publish(&lab.nats, &format!("{stream}.expires"), &[("Nats-TTL", "4s")]).await;
        publish(&lab.nats, &format!("{stream}.stays"), &[("Nats-Msg-Id", "id")]).await;
    }
    for stream in ["MEMORY", "DISK", "TAKER"] {
        lab.manager.reaches(stream, "nas", 2).await;
    }
    daemon.kill();
    let born = std::time::Instant::now();
    lab.nats.kill();

    let Host { nats, manager } = lab.host("new").await;
    wait_until("the first message has expired", async || {
        let age = born.elapsed().as_secs_f64();
        if age > 4.5 { Ok(()) } else { Err(age.to_string()) }
    })
    .await;
    let said = manager.run(&["restore", "MEMORY", "DISK", "--dry-run"]);
    let said = String::from_utf8(said.stdout).unwrap();
    let lines = [
        "MEMORY: it is kept in memory, and comes back without",
        "    its creation time: stream `TAKER`, which sources it may take it for another",
    ];
    for line in lines {
        assert!(said.contains(line), "{said}");
    }
    let restored = manager.json(&["restore", "MEMORY", "DISK"]);
    let of = |index: usize| restored["streams"][index]["not_kept"].as_array().unwrap();
    assert!(of(1).is_empty(), "{restored}");
    assert!(of(0)[1].as_str().unwrap().starts_with("delete markers of 1 messages"), "{restored}");
    // It is as it was said.
    let again = publish(&nats, "disk.stays", &[("Nats-Msg-Id", "id")]).await;
    assert_eq!(again["duplicate"], true);
    let again = publish(&nats, "memory.stays", &[("Nats-Msg-Id", "id")]).await;
    assert_eq!(again["duplicate"], true, "say again that it is lost");
}
