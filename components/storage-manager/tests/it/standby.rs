//! Two managers of one journal: one leads, the other one stands by and takes over.

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{Daemon, Manager, Minio, Nats, Settings, fingerprint, wait_until};

/// How soon the other one must have taken over.
const SOON: Duration = Duration::from_secs(10);

async fn stands_by(daemon: &Daemon) {
    wait_until("the other one stands by", async || {
        let log = daemon.log();
        if log.contains("standing by") { Ok(()) } else { Err(log) }
    })
    .await;
}

/// Proxies a service: while `cut` is true nothing arrives, and no connection is closed.
async fn way(to: &str, cut: watch::Receiver<bool>) -> String {
    let to = to.trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let here = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut near, _)) = listener.accept().await {
            let (to, mut cut) = (to.clone(), cut.clone());
            tokio::spawn(async move {
                drop(cut.wait_for(|cut| !cut).await);
                let mut far = TcpStream::connect(to).await.unwrap();
                let mut cuts = cut.clone();
                let is_cut = async { drop(cuts.wait_for(|cut| *cut).await) };
                tokio::select! {
                    _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                    // What was on its way stays there, and so does the connection.
                    () = is_cut => drop(cut.wait_for(|cut| !cut).await),
                }
            });
        }
    });
    here
}

fn settings(nats: &Nats, nas: &str) -> Settings {
    let mut settings = Settings::new(&nats.url, nas);
    settings.layout = "journal".into();
    settings.more = "[segment]\nflush_age = \"20ms\"\n".into();
    settings
}

/// A manager that found that the journal is not its own any more.
async fn gave_way(daemon: &Daemon) {
    wait_until("the one that led stands by", async || {
        let log = daemon.log();
        let last = log.rfind("standing by").unwrap_or_default();
        let closed = log.rfind("starting again from the archive").unwrap_or(usize::MAX);
        if closed < last { Ok(()) } else { Err(log) }
    })
    .await;
}

/// A host with a stream `S`, and a NAS.
async fn lab() -> (TempDir, Minio, Nats) {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    nats.create("S", json!({})).await;
    (dir, minio, nats)
}

/// Restores the stream on a new host, and compares it with the one that is there.
async fn comes_back(dir: &Path, minio: &Minio, nats: &Nats) {
    let before = fingerprint(nats, "S").await;
    let nats = Nats::start(&dir.join("new")).await;
    let manager = Manager::new(dir, "new", &Settings::new(&nats.url, &minio.url));
    manager.json(&["restore", "S"]);
    assert_eq!(fingerprint(&nats, "S").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_cut_off_from_the_nas_leads_no_more() {
    let (dir, minio, nats) = lab().await;
    let (cut, is_cut) = watch::channel(false);
    let one = Manager::new(dir.path(), "one", &settings(&nats, &way(&minio.url, is_cut).await));
    let two = Manager::new(dir.path(), "two", &settings(&nats, &minio.url));
    let leader = one.tier().await;
    nats.publish("S", 50).await;
    two.reaches("S", "nas", 50).await;
    let other = two.tier().await;
    stands_by(&other).await;

    cut.send_replace(true);
    nats.publish("S", 50).await;
    let lost = Instant::now();
    two.reaches("S", "nas", 100).await;
    assert!(lost.elapsed() < SOON, "{:?}", lost.elapsed());

    // It is back, with what it had meant to write.
    cut.send_replace(false);
    nats.publish("S", 50).await;
    two.reaches("S", "nas", 150).await;
    gave_way(&leader).await;
    leader.stop().await;
    other.stop().await;
    comes_back(dir.path(), &minio, &nats).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_begin_at_once_one_leads() {
    let (dir, minio, nats) = lab().await;
    let one = Manager::new(dir.path(), "one", &settings(&nats, &minio.url));
    let two = Manager::new(dir.path(), "two", &settings(&nats, &minio.url));
    let both = tokio::join!(one.tier(), two.tier());
    nats.publish("S", 50).await;
    one.reaches("S", "nas", 50).await;
    wait_until("one of the two stands by", async || {
        let by = [&both.0, &both.1].map(|daemon| daemon.log().contains("standing by"));
        if by[0] == by[1] { Err(format!("{by:?}")) } else { Ok(()) }
    })
    .await;
    nats.publish("S", 50).await;
    one.reaches("S", "nas", 100).await;
    both.0.stop().await;
    both.1.stop().await;
    comes_back(dir.path(), &minio, &nats).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_the_other_takes_over_when_it_is_lost_or_paused() {
    let (dir, minio, nats) = lab().await;
    let settings = settings(&nats, &minio.url);
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
    other.freeze();
    let lost = Instant::now();
    nats.publish("S", 50).await;
    one.reaches("S", "nas", 200).await;
    assert!(lost.elapsed() < SOON, "{:?}", lost.elapsed());
    other.thaw();
    nats.publish("S", 50).await;
    one.reaches("S", "nas", 250).await;
    gave_way(&other).await;
    other.stop().await;
    back.stop().await;
    comes_back(dir.path(), &minio, &nats).await;
}
