//! SIGTERM ends it within 25 s, whoever is away.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use cim_fake_wasabi::{Fault, Rule};
use cim_storage_manager::jetstream::{ApiError, JetStream};
use futures_util::future::join_all;
use serde_json::json;

use crate::support::{Daemon, Lab, wait_until};

const STREAMS: usize = 60;

/// Ends it in order, and says how long that took.
async fn ending(daemon: Daemon) -> Duration {
    let asked = Instant::now();
    daemon.stop().await;
    asked.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_is_away_and_there_are_many_streams() {
    let mut lab = Lab::with().faulty_nas().start().await;
    for n in 0..STREAMS {
        lab.nats.create(&format!("S{n}"), json!({})).await;
    }
    let daemon = lab.manager.tier().await;
    wait_until("every stream has an archive", async || {
        let status = lab.manager.json(&["status"]);
        let streams = status["streams"].as_array().unwrap();
        let begun = streams.iter().filter(|stream| !stream["nas"]["timeline"].is_null()).count();
        if begun == STREAMS { Ok(()) } else { Err(format!("{begun} have")) }
    })
    .await;
    lab.nats.kill();
    // The connection was lost; now they ask again, or wait for their turn to.
    let (mut last, mut since) = (0, Instant::now());
    wait_until("every stream's session has failed, and asks", async || {
        let log = daemon.log();
        let failed = log.lines().filter(|line| line.contains("starting again from the archive"));
        let mut times = BTreeMap::new();
        for line in failed {
            let stream = line.split("stream=").nth(1).and_then(|rest| rest.split(' ').next());
            *times.entry(stream.unwrap()).or_insert(0) += 1;
        }
        let all = times.values().sum();
        if all != last {
            (last, since) = (all, Instant::now());
        }
        let quiet = since.elapsed() > Duration::from_secs(1);
        let count = times.len();
        if count == STREAMS && quiet { Ok(()) } else { Err(format!("{count} have")) }
    })
    .await;
    // Nothing is read that could be lost, so nothing is waited for.
    let took = ending(daemon).await;
    assert!(took < Duration::from_secs(5), "ending took {took:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_nas_is_away() {
    let lab = Lab::with().faulty_nas().settings("[segment]\nflush_age = \"30ms\"\n").start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 10).await;
    lab.manager.reaches("S", "nas", 10).await;
    // It takes what it is asked, and never answers.
    lab.nas.set_faults(vec![Rule::new(Fault::Timeout)]).unwrap();
    lab.nats.publish("S", 10).await;
    daemon.says("trying again").await;
    let took = ending(daemon).await;
    assert!(took < Duration::from_secs(25), "ending took {took:?}");
    lab.nas.set_faults(Vec::new()).unwrap();
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", 20).await;
    daemon.stop().await;
    let report = lab.manager.json(&["verify"]);
    assert_eq!(report["streams"][0]["messages"], 20, "{report}");
}

/// A client takes so many requests while it is not connected, and lets the next one wait for as long as that
/// lasts: no time limit of its own counts there.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_has_an_end_where_many_others_stand_in_front_of_it() {
    let mut lab = Lab::start().await;
    let options = async_nats::ConnectOptions::new().client_capacity(4);
    let jetstream = JetStream::new(options.connect(&lab.nats.url).await.unwrap());
    jetstream.stream_names().await.unwrap();
    lab.nats.kill();
    let questions = (0..16).map(|_| jetstream.stream_names());
    let asked = tokio::time::timeout(Duration::from_secs(20), join_all(questions));
    for answer in asked.await.expect("each question has an end") {
        assert!(matches!(answer, Err(ApiError::NoResponse { .. })), "{answer:?}");
    }
}
