//! Bad days: nothing is lost, nothing twice.

use std::path::Path;
use std::time::Duration;

use cim_fake_wasabi::{Config, Credentials, FakeWasabi, Fault, Rule};
use serde_json::json;

use crate::support::{Manager, Minio, Nats, SECRET, Settings, USER, fingerprint, wait_until};

async fn fake(dir: &Path) -> FakeWasabi {
    let config = Config {
        buckets: vec!["archive".into()],
        credentials: vec![Credentials::new(USER, SECRET)],
        ..Config::new(dir.join("fake"))
    };
    FakeWasabi::start(config).await.unwrap()
}

/// Restores on a second server and compares.
async fn restores_exactly(dir: &Path, s3: &str, before: &serde_json::Value) {
    let nats = Nats::start(&dir.join("second")).await;
    let manager = Manager::new(dir, "second", &Settings::new(&nats.url, s3));
    manager.json(&["verify"]);
    manager.json(&["restore", "S"]);
    assert_eq!(&fingerprint(&nats, "S").await["all"], &before["all"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_under_load() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    nats.create("S", json!({})).await;
    let mut settings = Settings::new(&nats.url, &minio.url);
    // Small segments and quick seals: as many commits as there can be to be killed in.
    settings.more = "[segment]\nflush_age = \"20ms\"\n[seal]\ninterval = \"100ms\"\n[collect]\ngrace = \"1ms\"\n".into();
    let manager = Manager::new(dir.path(), "host", &settings);
    let mut published = 0;
    for round in 0..8 {
        let daemon = manager.tier().await;
        nats.publish("S", 100).await;
        published += 100;
        tokio::time::sleep(Duration::from_millis(round * 37)).await;
        daemon.kill();
    }
    let daemon = manager.tier().await;
    manager.reaches("S", "nas", published).await;
    daemon.stop().await;
    let before = fingerprint(&nats, "S").await;
    restores_exactly(dir.path(), &minio.url, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_at_once() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    nats.create("S", json!({})).await;
    let mut settings = Settings::new(&nats.url, &minio.url);
    settings.more = "[segment]\nflush_age = \"20ms\"\n".into();
    let one = Manager::new(dir.path(), "one", &settings);
    let two = Manager::new(dir.path(), "two", &settings);
    let daemons = [one.tier().await, two.tier().await];
    for _ in 0..10 {
        nats.publish("S", 60).await;
    }
    one.reaches("S", "nas", 600).await;
    let fought = daemons.iter().any(|d| d.log().contains("another writer committed"));
    for daemon in daemons {
        daemon.stop().await;
    }
    assert!(fought, "they never met: this test proves nothing");
    let before = fingerprint(&nats, "S").await;
    restores_exactly(dir.path(), &minio.url, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_throttles_loses_answers_and_tears_uploads() {
    let dir = tempfile::tempdir().unwrap();
    let s3 = fake(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    nats.create("S", json!({})).await;
    let mut settings = Settings::new(&nats.url, &s3.s3_url());
    settings.more = "[segment]\nflush_age = \"30ms\"\n".into();
    let manager = Manager::new(dir.path(), "host", &settings);
    let daemon = manager.tier().await;
    let faults = [
        Fault::SlowDown,
        Fault::LostResponse,
        Fault::TornUpload,
        Fault::InternalError,
        Fault::Full,
    ];
    let mut published = 0;
    for fault in faults {
        s3.set_faults(vec![Rule::new(fault).operation("PutObject").count(3)]).unwrap();
        nats.publish("S", 100).await;
        published += 100;
        manager.reaches("S", "nas", published).await;
        let injected = s3.stats().faults.get(fault.name()).copied().unwrap_or_default();
        assert!(injected > 0, "{fault:?} never happened: this test proves nothing");
    }
    daemon.stop().await;
    let before = fingerprint(&nats, "S").await;
    restores_exactly(dir.path(), &s3.s3_url(), &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nas_that_is_away_costs_time_and_nothing_else() {
    let dir = tempfile::tempdir().unwrap();
    let s3 = fake(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    nats.create("S", json!({})).await;
    let mut settings = Settings::new(&nats.url, &s3.s3_url());
    settings.more =
        "[segment]\nflush_age = \"30ms\"\nflush_size = \"1MiB\"\n[memory]\nbudget = \"2MiB\"\n"
            .into();
    let manager = Manager::new(dir.path(), "host", &settings);
    let daemon = manager.tier().await;
    s3.set_faults(vec![Rule::new(Fault::Unavailable)]).unwrap();
    // Far more than the budget: it must wait in JetStream, not in memory.
    let payload = vec![7_u8; 64 << 10];
    for _ in 0..200 {
        let request = nats.client.request("s.big", payload.clone().into()).await.unwrap();
        assert!(!request.payload.is_empty());
    }
    wait_until("the storage manager has noticed", async || {
        if daemon.log().contains("trying again") { Ok(()) } else { Err(daemon.log()) }
    })
    .await;
    s3.set_faults(Vec::new()).unwrap();
    manager.reaches("S", "nas", 200).await;
    daemon.stop().await;
    let before = fingerprint(&nats, "S").await;
    restores_exactly(dir.path(), &s3.s3_url(), &before).await;
}
