//! Many streams at rest: what they cost, and how soon what comes then is on the NAS.

use std::time::{Duration, Instant};

use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::support::{Host, Lab, Manager, Nats, Version, fingerprint, wait_until};

/// Makes so many streams, `s1` to the last, and waits until each has an archive.
async fn streams(nats: &Nats, manager: &Manager, count: usize) {
    for n in 1..=count {
        nats.create(&format!("S{n}"), json!({})).await;
    }
    wait_until("every stream has an archive", async || {
        let output = manager.run(&["streams", "--json"]);
        let report: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        let found = report["streams"].as_array().map_or(0, Vec::len);
        if found == count { Ok(()) } else { Err(format!("{found} of {count}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_message_of_each_of_many_idle_streams_is_on_the_nas_soon_however_large_one_may_be() {
    const STREAMS: usize = 60;
    let lab = Lab::with().faulty_nas().server("max_payload: 8388608").start().await;
    let daemon = lab.manager.tier().await;
    streams(&lab.nats, &lab.manager, STREAMS).await;
    // Each has had its turn at whatever there is too little of.
    for round in 1..=2 {
        for n in 1..=STREAMS {
            lab.nats.publish(&format!("S{n}"), 1).await;
        }
        let published = Instant::now();
        wait_until("all are on the NAS", async || {
            let status = lab.manager.json(&["status"]);
            let streams = status["streams"].as_array().unwrap();
            let there = streams.iter().filter(|s| s["nas"]["seq"].as_u64() >= Some(round)).count();
            if there == STREAMS { Ok(()) } else { Err(format!("{there} are")) }
        })
        .await;
        let took = published.elapsed();
        assert!(took < Duration::from_secs(10), "round {round} took {took:?}");
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_at_rest_are_asked_next_to_nothing() {
    const STREAMS: usize = 100;
    let lab = Lab::with().faulty_nas().start().await;
    let daemon = lab.manager.tier().await;
    streams(&lab.nats, &lab.manager, STREAMS).await;
    let mut requests = lab.nats.client.subscribe("$JS.API.>").await.unwrap();
    // Each stream is looked at once more after its reader has come; then all are at rest.
    let mut last = Vec::new();
    wait_until("they are at rest", async || {
        // So many questions in so long is what rest means: a window, by the clock.
        last.clear();
        let until = tokio::time::sleep(Duration::from_secs(5));
        tokio::pin!(until);
        loop {
            tokio::select! {
                () = &mut until => break,
                Some(request) = requests.next() => last.push(request.subject.to_string()),
            }
        }
        // The names of all each second and a page of them each second; what remains is slack.
        if last.len() <= 20 { Ok(()) } else { Err(format!("{} in 5 s: {last:?}", last.len())) }
    })
    .await;
    // And still everything is noticed: a delete, a consumer, its end.
    lab.nats.publish("S7", 3).await;
    lab.manager.reaches("S7", "nas", 3).await;
    let shows = async |what: &str, key: &[&str], value: u64| {
        wait_until(what, async || {
            let held = lab.manager.json(&["streams"]);
            let all = held["streams"].as_array().unwrap();
            let found = all.iter().find(|s| s["stream"] == "S7").unwrap();
            let at = key.iter().fold(found, |at, key| match key.parse::<usize>() {
                Ok(index) => &at[index],
                Err(_) => &at[*key],
            });
            if at.as_u64() == Some(value) { Ok(()) } else { Err(found.to_string()) }
        })
        .await;
    };
    lab.nats.delete("S7", &[1]).await;
    shows("the delete is archived", &["timelines", "0", "first_seq"], 2).await;
    lab.nats.create_consumer("S7", "c", json!({})).await;
    shows("the consumer is archived", &["consumers"], 1).await;
    lab.nats.api("CONSUMER.DELETE.S7.c", json!(null)).await;
    shows("its end is archived", &["consumers"], 0).await;
    daemon.stop().await;
}

/// Messages of all sizes, of which the largest needs more than is asked for at rest.
async fn sizes(version: Version) {
    let Some(lab) = Lab::with().version(version).start_if_there().await else { return };
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    let jetstream = async_nats::jetstream::new(lab.nats.client.clone());
    let mut seq = 0;
    for size in [10, 20_000, 10, 1 << 20, 16 << 10, 200_000, 10] {
        jetstream.publish("s.a", vec![7; size].into()).await.unwrap().await.unwrap();
        seq += 1;
        lab.manager.reaches("S", "nas", seq).await;
    }
    let before = fingerprint(&lab.nats, "S").await;
    daemon.stop().await;
    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "S"]);
    assert_eq!(fingerprint(&nats, "S").await["all"], before["all"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_at_rest_gets_messages_of_any_size() {
    sizes(Version::Current).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_at_rest_gets_messages_of_any_size_from_debians_old_server() {
    sizes(Version::Old).await;
}

/// Of a request that a message uses up to its last byte the server says nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_message_that_uses_a_request_up_is_not_the_last_one() {
    const REQUEST: usize = 16 << 10;
    let lab = Lab::start().await;
    lab.nats.create("S", json!({})).await;
    // The server counts subject, reply, headers and payload. Its names for consumers have eight letters.
    let reply = "$JS.ACK.S.abcdefgh.1.1.1.1700000000000000000.0";
    let payload = vec![7; REQUEST - "s.a".len() - reply.len()];
    let jetstream = async_nats::jetstream::new(lab.nats.client.clone());
    jetstream.publish("s.a", payload.into()).await.unwrap().await.unwrap();
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", 1).await;
    jetstream.publish("s.a", "x".into()).await.unwrap().await.unwrap();
    lab.manager.reaches("S", "nas", 2).await;
    daemon.stop().await;
}

/// A bucket with a key that changes all the time: more deletes than a server should list.
#[tokio::test(flavor = "multi_thread")]
async fn very_many_deletes_are_archived_without_a_list_of_them() {
    const UPDATES: usize = 101_000;
    let lab = Lab::start().await;
    lab.nats.create("S", json!({ "max_msgs_per_subject": 1 })).await;
    lab.nats.publish_bare("s.rests", 1).await;
    for _ in 0..UPDATES / 1_000 {
        lab.nats.publish_bare("s.changes", 1_000).await;
    }
    lab.nats.publish_bare("s.last", 1).await;
    let mut lists = lab.nats.client.subscribe("$JS.API.STREAM.INFO.S").await.unwrap();
    let daemon = lab.manager.tier().await;
    let last = UPDATES as u64 + 2;
    lab.manager.reaches("S", "nas", last).await;
    // Archived by now, and then deleted.
    lab.nats.publish_bare("s.last", 1).await;
    lab.manager.reaches("S", "nas", last + 1).await;
    let before = fingerprint_of_few(&lab.nats).await;
    daemon.stop().await;
    lists.unsubscribe().await.unwrap();
    while let Some(request) = lists.next().await {
        assert!(request.payload.is_empty(), "a list of all deletes was asked for");
    }
    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "S"]);
    assert_eq!(fingerprint_of_few(&nats).await, before);
}

/// What a stream has that has few messages and many gaps.
async fn fingerprint_of_few(nats: &Nats) -> serde_json::Value {
    let info = nats.info("S").await;
    let mut messages = Vec::new();
    let mut seq = 1;
    loop {
        let body = json!({ "seq": seq, "next_by_subj": ">" });
        let answer = nats.try_api("STREAM.MSG.GET.S", body).await;
        let Some(next) = answer["message"]["seq"].as_u64() else { break };
        messages.push(answer["message"].clone());
        seq = next + 1;
    }
    let state = &info["state"];
    json!([state["first_seq"], state["last_seq"], state["messages"], state["bytes"], messages])
}

/// Streams that were read to their end hold nothing that the others need.
#[tokio::test(flavor = "multi_thread")]
async fn many_streams_with_much_to_read_come_to_rest_one_after_the_other() {
    const STREAMS: usize = 12;
    const MESSAGES: usize = 400;
    let lab = Lab::with()
        .faulty_nas()
        .settings("[segment]\nflush_size = \"1MiB\"\n[memory]\nbudget = \"2MiB\"\n")
        .start()
        .await;
    for n in 1..=STREAMS {
        let name = format!("S{n}");
        lab.nats.create(&name, json!({})).await;
        lab.nats.publish(&name, MESSAGES).await;
    }
    // Little more than the largest message: what one stream keeps, another one lacks.
    let daemon = lab.manager.tier().await;
    for n in 1..=STREAMS {
        lab.manager.reaches(&format!("S{n}"), "nas", MESSAGES as u64).await;
    }
    daemon.stop().await;
}
