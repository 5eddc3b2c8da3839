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

/// Some are done before they are read, some between reading and commit, some after.
#[tokio::test(flavor = "multi_thread")]
async fn messages_that_are_done_at_any_moment_end_no_session() {
    const MESSAGES: u64 = 40;
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    nats.create("WORK", json!({ "retention": "workqueue" })).await;
    let mut settings = Settings::new(&nats.url, &minio.url);
    settings.more = "[segment]\nflush_age = \"300ms\"\n".into();
    let manager = Manager::new(dir.path(), "host", &settings);
    let daemon = manager.tier().await;
    for seq in 1..=MESSAGES {
        nats.publish("WORK", 1).await;
        // How long the work takes.
        tokio::time::sleep(Duration::from_millis(seq * 37 % 700)).await;
        nats.delete("WORK", &[seq]).await;
    }
    manager.reaches("WORK", "nas", MESSAGES).await;
    let log = daemon.log();
    assert!(!log.contains("panicked") && !log.contains("starting again"), "{log}");
    daemon.stop().await;
    manager.json(&["verify"]);
}
