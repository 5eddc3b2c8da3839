//! Two managers of one journal: one leads, the other one stands by and takes over.

use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Daemon, Manager, Minio, Nats, Settings, fingerprint, wait_until};

/// How soon the other one must have taken over.
const SOON: Duration = Duration::from_secs(10);

fn signal(daemon: &Daemon, name: &str) {
    let pid = daemon.pid().to_string();
    assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
}

async fn stands_by(daemon: &Daemon) {
    wait_until("the other one stands by", async || {
        let log = daemon.log();
        if log.contains("standing by") { Ok(()) } else { Err(log) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_the_other_takes_over_when_it_is_lost_or_paused() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    nats.create("S", json!({})).await;
    let mut settings = Settings::new(&nats.url, &minio.url);
    settings.layout = "journal".into();
    settings.more = "[segment]\nflush_age = \"20ms\"\n".into();
    let one = Manager::new(dir.path(), "one", &settings);
    let two = Manager::new(dir.path(), "two", &settings);
    let leader = one.tier().await;
    nats.publish("S", 50).await;
    one.reaches("S", "nas", 50).await;
    let other = two.tier().await;
    stands_by(&other).await;
    nats.publish("S", 50).await;
    one.reaches("S", "nas", 100).await;

    // Killed.
    leader.kill();
    let lost = Instant::now();
    nats.publish("S", 50).await;
    two.reaches("S", "nas", 150).await;
    assert!(lost.elapsed() < SOON, "{:?}", lost.elapsed());

    // Paused, and awake again: it has the journal no more.
    let back = one.tier().await;
    stands_by(&back).await;
    signal(&other, "-STOP");
    let lost = Instant::now();
    nats.publish("S", 50).await;
    one.reaches("S", "nas", 200).await;
    assert!(lost.elapsed() < SOON, "{:?}", lost.elapsed());
    signal(&other, "-CONT");
    nats.publish("S", 50).await;
    one.reaches("S", "nas", 250).await;
    wait_until("the one that was paused stands by", async || {
        let log = other.log();
        let last = log.rfind("standing by").unwrap_or_default();
        let closed = log.rfind("starting again from the archive").unwrap_or(usize::MAX);
        if closed < last { Ok(()) } else { Err(log) }
    })
    .await;
    other.stop().await;
    back.stop().await;
    let before = fingerprint(&nats, "S").await;
    let nats = Nats::start(&dir.path().join("new")).await;
    let manager = Manager::new(dir.path(), "new", &Settings::new(&nats.url, &minio.url));
    manager.json(&["restore", "S"]);
    assert_eq!(fingerprint(&nats, "S").await, before);
}
