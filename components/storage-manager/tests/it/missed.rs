//! What was gone before it could be archived is said once, at both tiers.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Manager, Nats, Settings, fake_s3, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn limits_pass_a_sequence_while_the_storage_manager_is_away() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let (nas, wasabi) = (fake_s3(path, "nas").await, fake_s3(path, "wasabi").await);
    let nats = Nats::start(&path.join("host")).await;
    nats.create("M", json!({ "max_msgs": 20 })).await;
    let mut settings = Settings::new(&nats.url, &nas.s3_url());
    settings.wasabi = Some(wasabi.s3_url());
    settings.more = "[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"500ms\"\n".into();
    let manager = Manager::new(path, "host", &settings);
    let daemon = manager.tier().await;
    nats.publish("M", 10).await;
    manager.reaches("M", "wasabi", 10).await;
    daemon.stop().await;
    // 11 to 40 are gone when it comes back.
    nats.publish("M", 50).await;
    let daemon = manager.tier().await;
    manager.reaches("M", "nas", 60).await;
    manager.reaches("M", "wasabi", 60).await;
    let count = || nas.stats().storage.objects + wasabi.stats().storage.objects;
    let (mut last, mut since) = (count(), Instant::now());
    wait_until("nothing is written any more while nothing happens", async || {
        let objects = count();
        if objects != last {
            (last, since) = (objects, Instant::now());
        }
        if since.elapsed() > Duration::from_secs(4) { Ok(()) } else { Err(format!("{objects}")) }
    })
    .await;
    let asked = Instant::now();
    daemon.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(10), "ending took {:?}", asked.elapsed());
    for tier in ["nas", "wasabi"] {
        let report = manager.json(&["verify", "--from", tier]);
        assert_eq!(report["streams"][0]["messages"], 30, "{tier}: {report}");
        assert_eq!(report["streams"][0]["problems"], json!([]), "{tier}: {report}");
    }
}
