//! Bad days: nothing is lost, nothing twice.

use std::time::Duration;

use cim_fake_wasabi::{Fault, Rule};
use cim_storage_manager::jetstream::JetStream;
use futures_util::StreamExt as _;
use serde_json::json;

use crate::support::{Host, Lab, Nas, Nats, fingerprint, struck, wait_until};

/// Restores on a second server and compares.
async fn restores_exactly(lab: &Lab<impl Nas>, before: &serde_json::Value) {
    let Host { nats, manager } = lab.host("second").await;
    manager.json(&["verify"]);
    manager.json(&["restore", "S"]);
    assert_eq!(&fingerprint(&nats, "S").await["all"], &before["all"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_again_and_again_under_load() {
    // Small segments and quick seals: as many commits as there can be to be killed in.
    let lab = Lab::with().settings("[segment]\nflush_age = \"20ms\"\n[seal]\ninterval = \"100ms\"\n[collect]\ngrace = \"1ms\"\n").start().await;
    lab.nats.create("S", json!({})).await;
    let mut published = 0;
    for round in 0..8 {
        let daemon = lab.manager.tier().await;
        lab.nats.publish("S", 100).await;
        published += 100;
        tokio::time::sleep(Duration::from_millis(round * 37)).await;
        daemon.kill();
    }
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", published).await;
    daemon.stop().await;
    let before = fingerprint(&lab.nats, "S").await;
    restores_exactly(&lab, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_daemons_at_once() {
    // With a journal one of them stands by: standby.rs.
    let lab =
        Lab::with().layout("chains").settings("[segment]\nflush_age = \"20ms\"\n").start().await;
    lab.nats.create("S", json!({})).await;
    let one = lab.manager_with("one", |_| ());
    let two = lab.manager_with("two", |_| ());
    let daemons = [one.tier().await, two.tier().await];
    let mut published = 0;
    wait_until("one is in the other's way", async || {
        lab.nats.publish("S", 60).await;
        published += 60;
        let fought = daemons.iter().any(|d| d.log().contains("another writer committed"));
        // Ten at least, so that they meet more than once.
        if fought && published >= 600 { Ok(()) } else { Err(format!("{published} published")) }
    })
    .await;
    one.reaches("S", "nas", published).await;
    for daemon in daemons {
        daemon.stop().await;
    }
    let before = fingerprint(&lab.nats, "S").await;
    restores_exactly(&lab, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_throttles_loses_answers_and_tears_uploads() {
    let lab = Lab::with().faulty_nas().settings("[segment]\nflush_age = \"30ms\"\n").start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    let faults = [
        Fault::SlowDown,
        Fault::LostResponse,
        Fault::TornUpload,
        Fault::InternalError,
        Fault::Full,
    ];
    let mut published = 0;
    for fault in faults {
        lab.nas.set_faults(vec![Rule::new(fault).operation("PutObject").count(3)]).unwrap();
        lab.nats.publish("S", 100).await;
        published += 100;
        lab.manager.reaches("S", "nas", published).await;
        let injected = lab.nas.stats().faults.get(fault.name()).copied().unwrap_or_default();
        assert!(injected > 0, "{fault:?} never happened: this test proves nothing");
    }
    daemon.stop().await;
    let before = fingerprint(&lab.nats, "S").await;
    restores_exactly(&lab, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nas_that_is_away_costs_time_and_nothing_else() {
    let lab = Lab::with()
        .faulty_nas()
        .settings(
            "[segment]\nflush_age = \"30ms\"\nflush_size = \"1MiB\"\n[memory]\nbudget = \"2MiB\"\n",
        )
        .start()
        .await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nas.set_faults(vec![Rule::new(Fault::Unavailable)]).unwrap();
    // Far more than the budget: it must wait in JetStream, not in memory.
    let payload = vec![7_u8; 64 << 10];
    for _ in 0..200 {
        let request = lab.nats.client.request("s.big", payload.clone().into()).await.unwrap();
        assert!(!request.payload.is_empty());
    }
    daemon.says("trying again").await;
    lab.nas.set_faults(Vec::new()).unwrap();
    lab.manager.reaches("S", "nas", 200).await;
    daemon.stop().await;
    let before = fingerprint(&lab.nats, "S").await;
    restores_exactly(&lab, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interrupted_restore_leaves_nothing_on_the_server() {
    let lab = Lab::with()
        .faulty_nas()
        // Of several segments, however soon they are merged, some come and some do not.
        .settings(
            "[segment]\nflush_age = \"30ms\"\nflush_size = \"1MiB\"\n[seal]\nsize = \"2MiB\"\n",
        )
        .start()
        .await;
    let daemon = lab.manager.tier().await;
    for (stream, storage) in [("FILE", "file"), ("MEMORY", "memory")] {
        lab.nats.create(stream, json!({ "storage": storage })).await;
        // Nothing that compresses: what was read must be on its way to the server.
        let mut noise = 1_u64;
        let mut byte = || {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.to_be_bytes()[0]
        };
        let subject = format!("{}.big", stream.to_lowercase());
        for _ in 0..320 {
            let payload: Vec<u8> = std::iter::repeat_with(&mut byte).take(64 << 10).collect();
            let answer = lab.nats.client.request(subject.clone(), payload.into()).await.unwrap();
            assert!(!answer.payload.is_empty());
        }
        lab.manager.reaches(stream, "nas", 320).await;
    }
    daemon.stop().await;
    let Host { nats: second, manager } = lab.host("second").await;
    let late = || struck(&lab.nas, "delay");
    let rule = || Rule::new(Fault::Delay).operation("GetObject").keys("*.parquet");
    // A journal's entries are such files too, and are read when the archive is opened.
    lab.nas.set_faults(vec![rule().seconds(0.0)]).unwrap();
    let held = manager.json(&["streams"]);
    let opened = late();
    for stream in ["FILE", "MEMORY"] {
        // Some segments come, then none: the server has a part, and waits.
        let mut streams = held["streams"].as_array().unwrap().iter();
        let segments = &streams.find(|held| held["stream"] == stream).unwrap()["segments"];
        // Not all but one: how many requests open the archive is not always the same.
        let come = (segments.as_u64().unwrap() / 2).clamp(1, 8);
        let rule = rule().seconds(60.0);
        lab.nas.set_faults(vec![Rule { skip: Some(opened + come), ..rule }]).unwrap();
        let before = late();
        let restore = manager.spawn(&["restore", stream]);
        wait_until("a segment is late", async || {
            let counts =
                format!("none yet: {segments} segments, {opened} objects to open {stream}");
            if late() > before { Ok(()) } else { Err(counts) }
        })
        .await;
        restore.signal("INT");
        let output = restore.output();
        let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(130), "{stderr}");
        assert!(stderr.contains(&format!("nothing was restored of stream `{stream}`")), "{stderr}");
        let left = second.try_api(&format!("STREAM.INFO.{stream}"), json!(null)).await;
        assert_eq!(left["error"]["err_code"], 10059, "{stream} is there: {left}");
        // And the next one goes through.
        lab.nas.set_faults(Vec::new()).unwrap();
        manager.json(&["restore", stream]);
        assert_eq!(second.last_seq(stream).await, 320);
    }
}

/// A request that was on its way when NATS was stopped is never answered, and tiering stood still for
/// the ten seconds that it was waited for.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_not_answered_is_asked_again_soon() {
    let lab = Lab::start().await;
    let (_server, client) = Nats::without_jetstream(lab.dir()).await;
    let mut asked = client.subscribe("$JS.API.STREAM.NAMES").await.unwrap();
    client.flush().await.unwrap();
    let jetstream = JetStream::new(client.clone());
    let names = tokio::spawn(async move { jetstream.stream_names().await });
    asked.next().await.unwrap();
    let first = tokio::time::Instant::now();
    let again = asked.next().await.unwrap();
    assert!(first.elapsed() < Duration::from_secs(8), "{:?}", first.elapsed());
    let answer = json!({ "total": 1, "offset": 0, "limit": 1024, "streams": ["S"] }).to_string();
    client.publish(again.reply.unwrap(), answer.into()).await.unwrap();
    assert_eq!(names.await.unwrap().unwrap(), ["S"]);
}
