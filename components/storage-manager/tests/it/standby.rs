//! Two managers of one journal: one leads, the other one stands by and takes over.

use std::time::{Duration, Instant};

use serde_json::json;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{Daemon, Host, Lab, fingerprint, wait_until};

/// How soon the other one must have taken over.
const SOON: Duration = Duration::from_secs(10);

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
async fn lab() -> Lab {
    let lab =
        Lab::with().layout("journal").settings("[segment]\nflush_age = \"20ms\"\n").start().await;
    lab.nats.create("S", json!({})).await;
    lab
}

/// Restores the stream on a new host, and compares it with the one that is there.
async fn comes_back(lab: &Lab) {
    let before = fingerprint(&lab.nats, "S").await;
    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "S"]);
    assert_eq!(fingerprint(&nats, "S").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_cut_off_from_the_nas_leads_no_more() {
    let lab = lab().await;
    let (cut, is_cut) = watch::channel(false);
    let way = way(&lab.nas.url, is_cut).await;
    let one = lab.manager_with("one", |settings| settings.nas = way);
    let two = lab.manager_with("two", |_| ());
    let leader = one.tier().await;
    lab.nats.publish("S", 50).await;
    two.reaches("S", "nas", 50).await;
    let other = two.tier().await;
    other.says("standing by").await;

    cut.send_replace(true);
    lab.nats.publish("S", 50).await;
    let lost = Instant::now();
    two.reaches("S", "nas", 100).await;
    assert!(lost.elapsed() < SOON, "{:?}", lost.elapsed());

    // It is back, with what it had meant to write.
    cut.send_replace(false);
    lab.nats.publish("S", 50).await;
    two.reaches("S", "nas", 150).await;
    gave_way(&leader).await;
    leader.stop().await;
    other.stop().await;
    comes_back(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_that_begin_at_once_one_leads() {
    let lab = lab().await;
    let one = lab.manager_with("one", |_| ());
    let two = lab.manager_with("two", |_| ());
    let both = tokio::join!(one.tier(), two.tier());
    lab.nats.publish("S", 50).await;
    one.reaches("S", "nas", 50).await;
    wait_until("one of the two stands by", async || {
        let by = [&both.0, &both.1].map(|daemon| daemon.log().contains("standing by"));
        if by[0] == by[1] { Err(format!("{by:?}")) } else { Ok(()) }
    })
    .await;
    lab.nats.publish("S", 50).await;
    one.reaches("S", "nas", 100).await;
    both.0.stop().await;
    both.1.stop().await;
    comes_back(&lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_leads_and_the_other_takes_over_when_it_is_lost_or_paused() {
    let lab = lab().await;
    let (one, two) = (lab.manager_with("one", |_| ()), lab.manager_with("two", |_| ()));
    let leader = one.tier().await;
    lab.nats.publish("S", 50).await;
    one.reaches("S", "nas", 50).await;
    let other = two.tier().await;
    other.says("standing by").await;
    lab.nats.publish("S", 50).await;
    one.reaches("S", "nas", 100).await;

    // Killed.
    leader.kill();
    let lost = Instant::now();
    lab.nats.publish("S", 50).await;
    two.reaches("S", "nas", 150).await;
    assert!(lost.elapsed() < SOON, "{:?}", lost.elapsed());

    // Paused, and awake again: it has the journal no more.
    let back = one.tier().await;
    back.says("standing by").await;
    other.freeze();
    let lost = Instant::now();
    lab.nats.publish("S", 50).await;
    one.reaches("S", "nas", 200).await;
    assert!(lost.elapsed() < SOON, "{:?}", lost.elapsed());
    other.thaw();
    lab.nats.publish("S", 50).await;
    one.reaches("S", "nas", 250).await;
    gave_way(&other).await;
    other.stop().await;
    back.stop().await;
    comes_back(&lab).await;
}
