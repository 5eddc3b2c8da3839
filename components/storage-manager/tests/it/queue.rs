//! Work queues: what is done is gone, and the archive has what waits.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::json;

use crate::support::{Manager, Minio, Nats, Settings};

#[tokio::test(flavor = "multi_thread")]
async fn a_long_run_of_what_is_done_is_passed_over() {
    const DONE: usize = 5_000;
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    nats.create("WORK", json!({ "retention": "workqueue" })).await;
    nats.publish_bare("work.waits", 1).await;
    nats.publish_bare("work.done", DONE).await;
    nats.publish_bare("work.waits", 1).await;
    nats.api("STREAM.PURGE.WORK", json!({ "filter": "work.done" })).await;
    let mut requests = nats.client.subscribe("$JS.API.STREAM.MSG.GET.WORK").await.unwrap();
    let manager = Manager::new(dir.path(), "host", &Settings::new(&nats.url, &minio.url));
    let daemon = manager.tier().await;
    manager.reaches("WORK", "nas", DONE as u64 + 2).await;
    daemon.stop().await;
    requests.unsubscribe().await.unwrap();
    let mut asked = 0;
    while requests.next().await.is_some() {
        asked += 1;
    }
    assert!(asked < DONE / 4, "{asked} requests for two messages");
    assert_eq!(manager.json(&["verify"])["streams"][0]["messages"], 2);
}

/// Messages that are deleted while the reader has them and the NAS has not.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_go_between_reading_and_commit_end_no_session() {
    const MESSAGES: u64 = 16;
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    nats.create("WORK", json!({ "retention": "workqueue" })).await;
    nats.create("S", json!({})).await;
    let mut settings = Settings::new(&nats.url, &minio.url);
    settings.more = "[segment]\nflush_age = \"1500ms\"\n".into();
    let manager = Manager::new(dir.path(), "host", &settings);
    let daemon = manager.tier().await;
    for seq in 1..=MESSAGES {
        for stream in ["WORK", "S"] {
            nats.publish(stream, 1).await;
        }
        // How long the work takes, and until there is more.
        tokio::time::sleep(Duration::from_millis(seq * 137 % 450)).await;
        for stream in ["WORK", "S"] {
            nats.delete(stream, &[seq]).await;
        }
        tokio::time::sleep(Duration::from_millis(seq * 91 % 700)).await;
    }
    for stream in ["WORK", "S"] {
        manager.reaches(stream, "nas", MESSAGES).await;
    }
    let log = daemon.log();
    assert!(!log.contains("panicked") && !log.contains("starting again"), "{log}");
    daemon.stop().await;
    manager.json(&["verify"]);
}
