//! One journal for all streams: what is fresh lies in few objects, whatever the number of streams, and comes
//! back exactly from wherever it has got to.

use serde_json::json;

use crate::support::{Host, Lab, Minio, are_the_same, fingerprint, wait_until};

const STREAMS: usize = 12;

fn entries(minio: &Minio) -> usize {
    minio.files("/v2/journal/main/entries/").iter().filter(|file| file.ends_with("xl.meta")).count()
}

/// The journal is merged, restated and collected under load; a host that is lost comes back exactly.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_merged_and_collected_comes_back_exactly() {
    let mut lab = Lab::with()
        .layout("journal")
        .settings("[segment]\nflush_age = \"40ms\"\n[collect]\ngrace = \"1s\"\n")
        .start()
        .await;
    let streams: Vec<String> = (0..STREAMS).map(|n| format!("S{n}")).collect();
    for stream in &streams {
        lab.nats.create(stream, json!({})).await;
    }
    let daemon = lab.manager.tier().await;
    // Until the oldest entries have been merged, and those deleted that no checkpoint needs.
    wait_until("the oldest entries are collected", async || {
        for stream in &streams {
            lab.nats.publish(stream, 2).await;
        }
        let checkpoints = lab.nas.files("/v2/journal/main/checkpoints/").len();
        let shared = lab.nas.files("/shared/1/").len();
        let first = lab.nas.files("/entries/000000000000.parquet/").is_empty();
        if first && checkpoints > 0 {
            Ok(())
        } else {
            Err(format!("{checkpoints} checkpoints, {shared} merged"))
        }
    })
    .await;
    lab.nats.delete("S3", &[1, 2, 5]).await;
    let mut before = Vec::new();
    for stream in &streams {
        lab.manager.reaches(stream, "nas", lab.nats.last_seq(stream).await).await;
        before.push(fingerprint(&lab.nats, stream).await);
    }
    assert!(!lab.nas.files("/shared/1/").is_empty(), "quiet streams share what is merged");
    daemon.stop().await;
    let there = entries(&lab.nas);
    lab.nats.kill();
    // The newest checkpoint rots: the one before it and the entries behind that say the same.
    let bucket = lab.bucket();
    let folder = "v2/journal/main/checkpoints/".to_owned();
    let pages = bucket.list(folder, None).await.unwrap();
    let checkpoints = pages.into_iter().flat_map(|page| page.contents).map(|object| object.key);
    let newest = checkpoints.max().unwrap();
    let mut bytes = bucket.get_object(&newest).await.unwrap().into_bytes().to_vec();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bucket.put_object(&newest, &bytes).await.unwrap();

    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "--all"]);
    are_the_same(&nats, &streams, &before).await;
    // It goes on where it was.
    let daemon = manager.tier().await;
    nats.publish("S0", 5).await;
    manager.reaches("S0", "nas", nats.last_seq("S0").await).await;
    daemon.stop().await;
    assert!(entries(&lab.nas) < there + 20, "no stream is archived anew");
    let held = manager.json(&["streams"]);
    assert_eq!(held["streams"].as_array().unwrap().len(), STREAMS);
    assert_eq!(held["streams"][0]["timelines"].as_array().unwrap().len(), 1);
}

/// What is worth an object does not wait for `flush_age`: the recovery point of busy streams is better than
/// that of quiet ones, for no more requests a byte.
#[tokio::test(flavor = "multi_thread")]
async fn much_goes_to_the_nas_before_it_is_old() {
    let lab =
        Lab::with().layout("journal").settings("[segment]\nflush_age = \"100s\"\n").start().await;
    for stream in ["BUSY", "QUIET"] {
        lab.nats.create(stream, json!({})).await;
    }
    let daemon = lab.manager.tier().await;
    lab.nats.publish("QUIET", 1).await;
    // One by one, so that no stream has enough for a segment of its own at once.
    let jetstream = async_nats::jetstream::new(lab.nats.client.clone());
    for _ in 0..800 {
        let payload = vec![b'x'; 5 << 10];
        jetstream.publish("busy.much", payload.into()).await.unwrap().await.unwrap();
    }
    lab.manager.reaches("BUSY", "nas", 200).await;
    lab.manager.reaches("QUIET", "nas", 1).await;
    daemon.stop().await;
}
