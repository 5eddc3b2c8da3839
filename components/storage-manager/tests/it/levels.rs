//! Wasabi's own levels: what lies there in many objects is merged, and what that replaced goes when it is old
//! enough. What is left is the whole archive.

use std::time::Duration;

use serde_json::json;

use crate::support::{Host, Lab, are_the_same, fingerprint, keys, wait_until};

const STREAMS: [&str; 2] = ["S", "T"];
const AGE: Duration = Duration::from_secs(3);

fn settings() -> String {
    format!(
        "[segment]\nflush_age = \"20ms\"\n[seal]\ninterval = \"20ms\"\nsize = \"512KiB\"\n\
         [collect]\ngrace = \"1s\"\ntertiary_age = \"{}s\"\n",
        AGE.as_secs()
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn what_wasabi_has_merged_and_collected_comes_back_exactly() {
    let mut lab = Lab::with().wasabi().layout("journal").settings(settings()).start().await;
    for stream in STREAMS {
        lab.nats.create(stream, json!({})).await;
    }
    let wasabi = lab.wasabi_bucket();
    let daemon = lab.manager.tier().await;
    wait_until("a checkpoint is at wasabi", async || {
        for stream in STREAMS {
            lab.nats.publish(stream, 40).await;
        }
        let checkpoints = keys(&wasabi, "v2/tertiary/main/checkpoints/").await.len();
        if checkpoints > 0 { Ok(()) } else { Err("there is none".into()) }
    })
    .await;
    wait_until("what was replaced at wasabi is collected", async || {
        for stream in STREAMS {
            lab.nats.publish(stream, 40).await;
        }
        let entries = keys(&wasabi, "v2/tertiary/main/entries/").await;
        let merged = keys(&wasabi, "v1/streams/").await.len();
        let first = entries.iter().any(|key| key.ends_with("/000000000000.parquet"));
        let gone = !entries.is_empty() && !first;
        if gone && merged > 0 { Ok(()) } else { Err(format!("{merged} merged, {first}")) }
    })
    .await;
    lab.nats.delete("S", &[1, 2, 5]).await;
    let mut before = Vec::new();
    for stream in STREAMS {
        let last = lab.nats.last_seq(stream).await;
        lab.manager.reaches(stream, "nas", last).await;
        lab.manager.reaches(stream, "wasabi", last).await;
        before.push(fingerprint(&lab.nats, stream).await);
    }
    daemon.stop().await;
    let verified = lab.manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(verified["streams"][0]["problems"], json!([]));
    lab.nats.kill();

    // Both are lost.
    lab.lose_nas().await;
    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "--all", "--from", "wasabi"]);
    are_the_same(&nats, &STREAMS, &before).await;
    // A new NAS takes it over, and both go on.
    let daemon = manager.tier().await;
    nats.publish("S", 5).await;
    let last = nats.last_seq("S").await;
    manager.reaches("S", "nas", last).await;
    manager.reaches("S", "wasabi", last).await;
    daemon.stop().await;
    assert_eq!(manager.json(&["streams"])["streams"][0]["timelines"].as_array().unwrap().len(), 1);
}
