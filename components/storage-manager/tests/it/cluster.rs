//! A cluster of three servers: leaders change, servers are lost, and a restore makes replicas.

use std::time::Duration;

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::support::{Cluster, Host, Lab, Nats, fingerprint, wait_until};

/// A lab whose host is a cluster.
async fn lab() -> Lab {
    Lab::with().cluster().settings("[segment]\nflush_age = \"50ms\"\n").start().await
}

/// Which server leads a stream, or the consumer of it that the storage manager reads through.
async fn leader(nats: &Nats, of: &str) -> String {
    wait_until(&format!("{of} has a leader"), async || {
        let answer = nats.try_api(of, Value::Null).await;
        answer["cluster"]["leader"].as_str().map(str::to_owned).ok_or_else(|| answer.to_string())
    })
    .await
}

async fn reader(nats: &Nats) -> String {
    let listed = wait_until("the reader is there", async || {
        let answer = nats.try_api("CONSUMER.LIST.S", Value::Null).await;
        let found = answer["consumers"].as_array().cloned().unwrap_or_default();
        let ours =
            |c: &&Value| c["config"]["description"] == "cim-storage-manager reads for the archive";
        found.iter().find(ours).cloned().ok_or_else(|| answer.to_string())
    });
    listed.await["cluster"]["leader"].as_str().unwrap().to_owned()
}

async fn consumer(nats: &Nats, name: &str, replicas: u8, acked: usize) {
    let config =
        json!({ "durable_name": name, "ack_policy": "explicit", "num_replicas": replicas });
    let body = json!({ "stream_name": "S", "config": config });
    nats.api(&format!("CONSUMER.DURABLE.CREATE.S.{name}"), body).await;
    // Before it has a leader, and every server knows of it, nobody answers.
    leader(nats, &format!("CONSUMER.INFO.S.{name}")).await;
    let jetstream = async_nats::jetstream::new(nats.client.clone());
    let stream = jetstream.get_stream("S").await.unwrap();
    let consumer: async_nats::jetstream::consumer::PullConsumer =
        stream.get_consumer(name).await.unwrap();
    let mut left = acked;
    while left > 0 {
        let mut messages = consumer.fetch().max_messages(left).messages().await.unwrap();
        while let Some(message) = messages.next().await {
            message.unwrap().double_ack().await.unwrap();
            left -= 1;
        }
    }
}

/// Waits until a stream has a leader and two others that are up to date.
async fn whole(nats: &Nats) {
    wait_until("every replica has caught up", async || {
        let info = nats.try_api("STREAM.INFO.S", Value::Null).await;
        let replicas = info["cluster"]["replicas"].as_array().cloned().unwrap_or_default();
        let current = replicas
            .iter()
            .filter(|r| r["current"] == true && r["offline"] != true && r["lag"].is_null());
        if current.count() == 2 { Ok(()) } else { Err(info["cluster"].to_string()) }
    })
    .await;
}

/// A stream of several small blocks, so that one of them can be damaged for good: what is missing at the end
/// of the last one a server gets again from the others.
async fn blocks(cluster: &Cluster, nats: &Nats) {
    cluster.create(nats, "S", json!({ "num_replicas": 3, "max_bytes": 127_000 })).await;
    nats.publish("S", BLOCKS).await;
}

const BLOCKS: usize = 120;

/// How many messages a server has of the stream.
async fn has(nats: &Nats, server: &str) -> u64 {
    wait_until("a consumer on the server", async || {
        let config = json!({
            "deliver_policy": "all", "ack_policy": "none", "num_replicas": 1, "mem_storage": true,
        });
        let body = json!({ "stream_name": "S", "config": config });
        let made = nats.try_api("CONSUMER.CREATE.S", body).await;
        if let Some(name) = made["name"].as_str() {
            nats.api(&format!("CONSUMER.DELETE.S.{name}"), Value::Null).await;
        }
        if made["cluster"]["leader"] == server {
            Ok(made["num_pending"].as_u64().unwrap())
        } else {
            Err(made.to_string())
        }
    })
    .await
}

/// Damages the stream on every server but the one that leads it, which leads on. Returns a connection to the
/// cluster, and the servers that are damaged.
async fn damage_all_but_the_leader(cluster: &Cluster, nats: &Nats) -> (Nats, Vec<&'static str>) {
    let leads = leader(nats, "STREAM.INFO.S").await;
    let others: Vec<_> = ["n1", "n2", "n3"].into_iter().filter(|name| *name != leads).collect();
    for server in &others {
        cluster.damage(server, "S");
        whole(&cluster.connect().await).await;
    }
    let nats = cluster.connect().await;
    assert_eq!(leader(&nats, "STREAM.INFO.S").await, leads);
    (nats, others)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_damaged_server_leaves_out_is_read_from_the_leader() {
    let lab = lab().await;
    blocks(lab.cluster(), &lab.nats).await;
    // A gap that is none of damage.
    lab.nats.delete("S", &[3, 50, 100]).await;
    let before = fingerprint(&lab.nats, "S").await;
    let (nats, others) = damage_all_but_the_leader(lab.cluster(), &lab.nats).await;
    for server in &others {
        let has = has(&nats, server).await;
        assert!(has < BLOCKS as u64 - 5, "{server} must lack something, and has {has}");
    }
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", BLOCKS as u64).await;
    assert!(
        daemon.log().contains("does not have what the stream's leader has"),
        "{}",
        daemon.log()
    );
    daemon.stop().await;
    let Host { nats: single, manager } = lab.host("single").await;
    manager.json(&["verify"]);
    manager.json(&["restore", "S", "--replicas", "1"]);
    let after = fingerprint(&single, "S").await;
    for part in ["first_seq", "last_seq", "messages", "all"] {
        assert_eq!(after[part], before[part], "{part}");
    }
}

/// So many deletes that a list of them is not asked for.
const MANY: usize = 100_001;

/// The same behind a stream with more deletes than can be listed.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_damaged_server_leaves_out_is_found_among_many_deletes() {
    let lab = lab().await;
    blocks(lab.cluster(), &lab.nats).await;
    lab.nats.delete("S", &[3, 50, 100]).await;
    let before = fingerprint(&lab.nats, "S").await;
    let mut config = lab.nats.info("S").await["config"].clone();
    config["max_bytes"] = json!(-1);
    lab.nats.api("STREAM.UPDATE.S", config).await;
    for _ in 0..MANY.div_ceil(1000) {
        lab.nats.publish_bare("s.hot", 1000).await;
    }
    lab.nats.publish_bare("s.last", 1).await;
    lab.nats.api("STREAM.PURGE.S", json!({ "filter": "s.hot" })).await;
    let state = lab.nats.info("S").await["state"].clone();
    assert!(state["num_deleted"].as_u64().unwrap() >= MANY as u64, "{state}");
    let (nats, _) = damage_all_but_the_leader(lab.cluster(), &lab.nats).await;
    let mut questions = nats.client.subscribe("$JS.API.STREAM.INFO.S").await.unwrap();
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", state["last_seq"].as_u64().unwrap()).await;
    let log = daemon.log();
    assert!(log.contains("does not have what the stream's leader has"), "{log}");
    // A server that was just started again may still have sent what was purged.
    wait_until("what was purged is gone from the archive", async || {
        let report = lab.manager.json(&["verify"]);
        let there = report["streams"][0]["messages"] == state["messages"];
        if there { Ok(()) } else { Err(format!("{report}\n{}", daemon.log())) }
    })
    .await;
    daemon.stop().await;
    let mut asked = 0;
    questions.unsubscribe().await.unwrap();
    while let Some(question) = questions.next().await {
        asked += 1;
        let question = String::from_utf8_lossy(&question.payload).into_owned();
        assert!(!question.contains("deleted_details"), "{question}");
    }
    assert!(asked > 0);
    let Host { nats: single, manager } = lab.host("single").await;
    let report = manager.json(&["verify"]);
    assert_eq!(report["streams"][0]["messages"], state["messages"], "{report}");
    let until = BLOCKS.to_string();
    manager.json(&["restore", "S", "--replicas", "1", "--until-seq", &until]);
    assert_eq!(fingerprint(&single, "S").await["all"], before["all"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_damaged_server_lacks_is_no_delete_when_it_leads() {
    let lab = lab().await;
    blocks(lab.cluster(), &lab.nats).await;
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", BLOCKS as u64).await;
    let before = fingerprint(&lab.nats, "S").await;
    let leads = leader(&lab.nats, "STREAM.INFO.S").await;
    let damaged = ["n1", "n2", "n3"].into_iter().find(|name| *name != leads).unwrap();
    lab.cluster().damage(damaged, "S");
    whole(&lab.cluster().connect().await).await;
    // Only until it is started again does it say that it has lost something.
    lab.cluster().kill(damaged);
    lab.cluster().start_again(damaged);
    whole(&lab.cluster().connect().await).await;
    let nats = lab.cluster().connect().await;
    let lacks = BLOCKS as u64 - has(&nats, damaged).await;
    assert!(lacks > 5, "{damaged} lacks {lacks}");
    wait_until("the damaged server leads", async || {
        if leader(&nats, "STREAM.INFO.S").await == damaged {
            return Ok(());
        }
        let preferred = json!({ "placement": { "preferred": damaged } });
        Err(nats.try_api("STREAM.LEADER.STEPDOWN.S", preferred).await.to_string())
    })
    .await;
    // Something to commit, and a delete that is one.
    nats.publish("S", 6).await;
    let published = BLOCKS as u64 + 6;
    lab.manager.reaches("S", "nas", published).await;
    nats.delete("S", &[published - 1]).await;
    daemon.says("archived messages that another server has").await;
    // The last thing that it does is to look at the stream again.
    daemon.stop().await;
    let Host { nats: single, manager } = lab.host("single").await;
    manager.json(&["restore", "S", "--replicas", "1"]);
    let expected = before["all"].as_array().unwrap();
    let mut after = fingerprint(&single, "S").await["all"].as_array().unwrap().clone();
    assert_eq!(after[BLOCKS + 4], Value::Null, "what was deleted stays away");
    after.truncate(BLOCKS);
    assert_eq!(after, *expected);
}

/// A pull may ask for fewer messages than there are between two deleted ones, or for fewer than would
/// fill it: the server then says that its batch is completed.
#[tokio::test(flavor = "multi_thread")]
async fn deletes_that_are_far_apart_are_followed() {
    let mut lab = lab().await;
    lab.cluster().create(&lab.nats, "S", json!({ "num_replicas": 3 })).await;
    lab.nats.publish_bare("s.a", FAR).await;
    lab.nats.delete("S", &[2, FAR as u64 - 1]).await;
    // Longer than the second witness takes.
    lab.configure(|settings| settings.more = "[segment]\nflush_age = \"2s\"\n".into());
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", FAR as u64).await;
    // A consumer that was just made may not be known yet to the server that is asked.
    let again = |line: &str| line.contains("starting again") && !line.contains("503");
    assert!(!daemon.log().lines().any(again), "{}", daemon.log());
    daemon.stop().await;
    let Host { nats: single, manager } = lab.host("single").await;
    manager.json(&["restore", "S", "--replicas", "1"]);
    let before = fingerprint(&lab.nats, "S").await;
    let after = fingerprint(&single, "S").await;
    for part in ["first_seq", "last_seq", "messages", "all"] {
        assert_eq!(after[part], before[part], "{part}");
    }
}

const FAR: usize = 5_000;

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_three_replicas_comes_back_on_another_cluster_and_on_a_single_server() {
    let lab = lab().await;
    lab.cluster().create(&lab.nats, "S", json!({ "num_replicas": 3 })).await;
    consumer(&lab.nats, "whole", 0, 0).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 300).await;
    consumer(&lab.nats, "halfway", 3, 40).await;
    lab.manager.reaches("S", "nas", 300).await;
    lab.nats.delete("S", &[3, 150]).await;
    daemon.stop().await;
    let before = fingerprint(&lab.nats, "S").await;
    lab.cluster().lose();

    let cluster = Cluster::start(&lab.path("new")).await;
    let nats = cluster.connect().await;
    let manager = lab.manager_with("new", |settings| settings.nats = cluster.urls().join(","));
    manager.json(&["restore", "S"]);
    wait_until("every replica has caught up", async || {
        let info = nats.try_api("STREAM.INFO.S", Value::Null).await;
        let replicas = info["cluster"]["replicas"].as_array().cloned().unwrap_or_default();
        let current = replicas.iter().filter(|r| r["current"] == true && r["lag"].is_null());
        if current.count() == 2 { Ok(()) } else { Err(info["cluster"].to_string()) }
    })
    .await;
    assert_eq!(fingerprint(&nats, "S").await, before);
    // Tiering goes on in the same archive.
    let daemon = manager.tier().await;
    nats.publish("S", 1).await;
    manager.reaches("S", "nas", 301).await;
    daemon.stop().await;
    let held = manager.json(&["streams"]);
    assert_eq!(held["streams"][0]["timelines"].as_array().unwrap().len(), 1, "{held}");

    let Host { nats: single, manager } = lab.host("single").await;
    for command in [&["restore", "S"][..], &["restore", "S", "--dry-run"]] {
        let (status, error) = manager.error(command);
        assert!(status == 6 && error.contains("--replicas 1"), "{error}");
    }
    manager.json(&["restore", "S", "--replicas", "1", "--until-seq", "300"]);
    let mut after = fingerprint(&single, "S").await;
    for part in ["first_seq", "last_seq", "messages", "all"] {
        assert_eq!(after[part], before[part], "{part}");
    }
    assert_eq!(after["config"]["num_replicas"], 1);
    let halfway = &mut after["consumers"][0];
    assert_eq!(halfway["ack_floor"], before["consumers"][0]["ack_floor"]);
    assert_eq!(halfway["config"]["num_replicas"], 1);
}

/// The server that takes a restore may say yes before the others know where it listens.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_begins_when_the_server_that_takes_it_is_heard() {
    let lab = Lab::start().await;
    lab.nats.create("S", json!({})).await;
    lab.nats.publish("S", 60).await;
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", 60).await;
    daemon.stop().await;
    let late = Duration::from_millis(200);
    let cluster = Cluster::start_with_slow_routes(&lab.path("new"), late).await;
    // One of them leads, and takes what the others are asked for.
    for (at, url) in cluster.urls().iter().enumerate() {
        let node = format!("n{at}");
        let manager = lab.manager_with(&node, |settings| settings.nats = url.into());
        let (name, subjects) = (format!("S{at}"), format!("copy{at}.>"));
        manager.json(&["restore", "S", "--as", &name, "--subjects", &subjects]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_server_costs_time_and_nothing_else() {
    let lab = lab().await;
    lab.cluster().create(&lab.nats, "S", json!({ "num_replicas": 3 })).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 60).await;
    lab.manager.reaches("S", "nas", 60).await;
    let mut published = 60;
    for round in 0..2 {
        // The one that it reads from, then the one that leads the stream.
        let lost = if round == 0 {
            reader(&lab.nats).await
        } else {
            leader(&lab.nats, "STREAM.INFO.S").await
        };
        lab.cluster().kill(&lost);
        let nats = lab.cluster().connect().await;
        leader(&nats, "STREAM.INFO.S").await;
        nats.publish("S", 60).await;
        published += 60;
        lab.manager.reaches("S", "nas", published).await;
        lab.cluster().start_again(&lost);
        wait_until("it has caught up", async || {
            let info = nats.try_api("STREAM.INFO.S", Value::Null).await;
            let replicas = info["cluster"]["replicas"].as_array().cloned().unwrap_or_default();
            let current = replicas.iter().filter(|r| r["current"] == true && r["offline"] != true);
            if current.count() == 2 { Ok(()) } else { Err(info.to_string()) }
        })
        .await;
    }
    daemon.stop().await;
    let nats = lab.cluster().connect().await;
    let before = fingerprint(&nats, "S").await;
    let Host { nats: single, manager } = lab.host("single").await;
    manager.json(&["verify"]);
    manager.json(&["restore", "S", "--replicas", "1"]);
    assert_eq!(fingerprint(&single, "S").await["all"], before["all"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_consumer_that_nobody_answers_for_stays_in_the_archive() {
    let lab = lab().await;
    lab.cluster().create(&lab.nats, "S", json!({ "num_replicas": 3 })).await;
    lab.nats.publish("S", 60).await;
    consumer(&lab.nats, "alone", 1, 20).await;
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", 60).await;
    let before = fingerprint(&lab.nats, "S").await["consumers"].clone();
    wait_until("its position is archived", async || {
        let copy = ["restore", "S", "--as", "COPY", "--subjects", "copy.>", "--dry-run"];
        let status = lab.manager.json(&copy);
        if status["streams"][0]["consumers"] == 1 { Ok(()) } else { Err(status.to_string()) }
    })
    .await;
    let lost = leader(&lab.nats, "CONSUMER.INFO.S.alone").await;
    lab.cluster().kill(&lost);
    let nats = lab.cluster().connect().await;
    wait_until("the cluster says that it misses it", async || {
        let listed = nats.try_api("CONSUMER.LIST.S", Value::Null).await;
        let missing = listed["missing"].as_array().cloned().unwrap_or_default();
        if missing.contains(&json!("alone")) { Ok(()) } else { Err(listed.to_string()) }
    })
    .await;
    wait_until("the stream has a leader", async || {
        let info = nats.try_api("STREAM.INFO.S", Value::Null).await;
        let leads = info["cluster"]["leader"].as_str().is_some_and(|leader| leader != lost);
        if leads { Ok(()) } else { Err(info.to_string()) }
    })
    .await;
    // What is committed from now on was surveyed while nobody answered for it.
    nats.publish("S", 60).await;
    lab.manager.reaches("S", "nas", 120).await;
    daemon.stop().await;
    let Host { nats: single, manager } = lab.host("single").await;
    manager.json(&["restore", "S", "--replicas", "1"]);
    assert_eq!(fingerprint(&single, "S").await["consumers"], before);
}
