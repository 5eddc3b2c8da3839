//! A stream whose journal would contradict itself: that stream alone waits, and the log says why.

use cim_core::archive::key::Chain;
use cim_core::archive::{ArchiveKey, Entry, Sha256};
use cim_core::names::StreamName;
use serde_json::{Value, json};

use crate::support::{Lab, wait_until};

/// A chain of one entry that says more than its watermark: who reads chains takes it, a journal does not.
fn contradictory(stream: &StreamName) -> Entry {
    let time = "2026-01-01T00:00:00Z";
    let hash = Sha256::of(b"?");
    let (fork, watermark) = (json!({ "reason": "created" }), json!({ "seq": 3 }));
    let state = json!({ "first_seq": 1, "last_seq": 5, "messages": 5, "bytes": 5 });
    let segment = json!({
        "key": ArchiveKey::segment(stream, 1, 1, 5, &hash).to_string(), "timeline": 1,
        "first_seq": 1, "last_seq": 5, "first_time": time, "last_time": time,
        "messages": 5, "bytes": 5, "size": 5, "sha256": hash,
        "last": { "seq": 5, "time": time, "sha256": hash },
    });
    let entry = json!({
        "format": 3, "number": 0, "committed_at": time, "writer": "t", "timeline": 1, "fork": fork,
        "watermark": watermark, "state": state, "consumers": [],
        "stream": { "created": time, "config": {} },
        "checkpoint": {
            "segments": [segment],
            "timelines": [{ "number": 1, "fork": fork, "watermark": watermark, "state": state }],
        },
    });
    serde_json::from_str(&entry.to_string()).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_contradicts_itself_stops_no_other() {
    let lab = Lab::with().layout("journal").start().await;
    let stream = StreamName::new("A").unwrap();
    let key = Chain::Manifest.key(&stream, 0);
    let (key, bucket) = (key.to_string(), lab.bucket());
    bucket.put_object(&key, &contradictory(&stream).to_object().0).await.unwrap();
    for stream in ["A", "B"] {
        lab.nats.create(stream, json!({})).await;
        lab.nats.publish(stream, 5).await;
    }
    let daemon = lab.manager.tier().await;
    let said = "stream `A`: its segment `v1/streams/A/segments/";
    wait_until("the log says why, again and again", async || {
        let log = daemon.log();
        if log.matches(said).count() >= 3 { Ok(()) } else { Err(log) }
    })
    .await;
    for round in 2..=4 {
        lab.nats.publish("B", 5).await;
        wait_until("the other one is archived", async || {
            // What the chain names is not there.
            let output = lab.manager.run(&["status", "--json"]);
            let said = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(5), "{said}");
            assert!(said.contains("stream `A` cannot be compared with what NAS has"), "{said}");
            let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
            let of_b = &shown["streams"][1]["nas"];
            if of_b["seq"] == 5 * round { Ok(()) } else { Err(of_b.to_string()) }
        })
        .await;
    }
    assert!(!daemon.log().contains("the journal was closed"), "{}", daemon.log());
    // What was in its way is gone: it is archived too.
    bucket.delete_object(&key).await.unwrap();
    lab.manager.reaches("A", "nas", 5).await;
    daemon.stop().await;
    lab.manager.json(&["verify"]);
}
