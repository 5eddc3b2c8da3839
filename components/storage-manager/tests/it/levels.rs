//! Wasabi's own levels: what lies there in many objects is merged, and what that replaced goes when it is old
//! enough. What is left is the whole archive.

use std::time::Duration;

use serde_json::json;

use crate::bad_input::{self, bucket};
use crate::support::{Manager, Minio, Nats, Settings, fake_s3, fingerprint, wait_until};

const STREAMS: [&str; 2] = ["S", "T"];
const AGE: Duration = Duration::from_secs(3);

fn settings(nats: &Nats, nas: &str, wasabi: &str) -> Settings {
    let mut settings = Settings::new(&nats.url, nas);
    settings.layout = "journal".into();
    settings.wasabi = Some(wasabi.into());
    settings.more = format!(
        "[segment]\nflush_age = \"20ms\"\n[seal]\ninterval = \"20ms\"\nsize = \"512KiB\"\n\
         [collect]\ngrace = \"1s\"\ntertiary_age = \"{}s\"\n",
        AGE.as_secs()
    );
    settings
}

/// What the bucket of a service has below a prefix.
async fn keys(s3: &str, prefix: &str) -> Vec<String> {
    bad_input::keys(&bucket(s3), prefix).await
}

#[tokio::test(flavor = "multi_thread")]
async fn what_wasabi_has_merged_and_collected_comes_back_exactly() {
    let dir = tempfile::tempdir().unwrap();
    let wasabi = fake_s3(dir.path(), "wasabi").await;
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    for stream in STREAMS {
        nats.create(stream, json!({})).await;
    }
    let s3 = wasabi.s3_url();
    let manager = Manager::new(dir.path(), "host", &settings(&nats, &minio.url, &s3));
    let daemon = manager.tier().await;
    wait_until("a checkpoint is at wasabi", async || {
        for stream in STREAMS {
            nats.publish(stream, 40).await;
        }
        let checkpoints = keys(&s3, "v2/tertiary/main/checkpoints/").await.len();
        if checkpoints > 0 { Ok(()) } else { Err("there is none".into()) }
    })
    .await;
    wait_until("what was replaced at wasabi is collected", async || {
        for stream in STREAMS {
            nats.publish(stream, 40).await;
        }
        let entries = keys(&s3, "v2/tertiary/main/entries/").await;
        let merged = keys(&s3, "v1/streams/").await.len();
        let first = entries.iter().any(|key| key.ends_with("/000000000000.parquet"));
        let gone = !entries.is_empty() && !first;
        if gone && merged > 0 { Ok(()) } else { Err(format!("{merged} merged, {first}")) }
    })
    .await;
    nats.delete("S", &[1, 2, 5]).await;
    let mut before = Vec::new();
    for stream in STREAMS {
        let last = nats.last_seq(stream).await;
        manager.reaches(stream, "nas", last).await;
        manager.reaches(stream, "wasabi", last).await;
        before.push(fingerprint(&nats, stream).await);
    }
    daemon.stop().await;
    let verified = manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(verified["streams"][0]["problems"], json!([]));
    drop((nats, minio));

    // Both are lost.
    let minio = Minio::start(&dir.path().join("later")).await;
    let nats = Nats::start(&dir.path().join("new")).await;
    let manager = Manager::new(dir.path(), "new", &settings(&nats, &minio.url, &s3));
    manager.json(&["restore", "--all", "--from", "wasabi"]);
    for (stream, before) in STREAMS.iter().zip(&before) {
        assert_eq!(&fingerprint(&nats, stream).await, before, "{stream}");
    }
    // A new NAS takes it over, and both go on.
    let daemon = manager.tier().await;
    nats.publish("S", 5).await;
    let last = nats.last_seq("S").await;
    manager.reaches("S", "nas", last).await;
    manager.reaches("S", "wasabi", last).await;
    daemon.stop().await;
    assert_eq!(manager.json(&["streams"])["streams"][0]["timelines"].as_array().unwrap().len(), 1);
}
