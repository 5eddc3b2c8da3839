//! What consumers know of single messages: what was acknowledged out of order stays acknowledged, what was delivered
//! counts on, and what was given up is neither delivered again nor lost.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::consumer::PullConsumer;
use async_nats::jetstream::{self, AckKind};
use cim_core::archive::journal::JournalState;
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveState, Deliveries};
use cim_core::names::JournalName;
use cim_storage_manager::journal::read_entry;
use cim_storage_manager::s3::Store;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::support::{Cluster, Host, Lab, Nats, Version, noise, wait_until};

const HOUR: u64 = 3_600_000_000_000;

async fn consumer(nats: &Nats, stream: &str, name: &str, more: Value) {
    let mut config = json!({ "ack_wait": HOUR });
    config.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    nats.create_consumer(stream, name, config).await;
}

/// Has a consumer deliver so many messages.
async fn pull(nats: &Nats, stream: &str, name: &str, count: usize) -> Vec<jetstream::Message> {
    let jetstream = jetstream::new(nats.client.clone());
    let consumer: PullConsumer =
        jetstream.get_stream(stream).await.unwrap().get_consumer(name).await.unwrap();
    let mut pulled = Vec::new();
    wait_until(&format!("`{name}` is given {count}"), async || {
        let left = count - pulled.len();
        let wait = Duration::from_secs(1);
        let mut batch = consumer.batch().max_messages(left).expires(wait).messages().await.unwrap();
        while let Some(message) = batch.next().await {
            pulled.push(message.unwrap());
        }
        if pulled.len() == count { Ok(()) } else { Err(format!("{:?}", seen(&pulled))) }
    })
    .await;
    pulled
}

/// Sequences, and how often they were delivered.
fn seen(messages: &[jetstream::Message]) -> Vec<(u64, i64)> {
    let of = |message: &jetstream::Message| {
        let info = message.info().unwrap();
        (info.stream_sequence, info.delivered)
    };
    messages.iter().map(of).collect()
}

/// Of 1 to 7 a consumer acknowledges 1, 2, 4 and 6, gives up 3 after three deliveries, and has 5 and 7 pending, which
/// were delivered twice and once. Returns these two.
async fn odd(nats: &Nats, stream: &str) -> Vec<jetstream::Message> {
    consumer(nats, stream, "app", json!({ "max_deliver": 3 })).await;
    nats.publish(stream, 7).await;
    let first = pull(nats, stream, "app", 6).await;
    for at in [0, 1, 3, 5] {
        first[at].double_ack().await.unwrap();
    }
    let mut third = first[2].clone();
    for times in [2, 3] {
        third.ack_with(AckKind::Nak(None)).await.unwrap();
        let again = pull(nats, stream, "app", 1).await;
        assert_eq!(seen(&again), [(3, times)]);
        third = again[0].clone();
    }
    third.ack_with(AckKind::Nak(None)).await.unwrap();
    first[4].ack_with(AckKind::Nak(None)).await.unwrap();
    let pending = pull(nats, stream, "app", 2).await;
    assert_eq!(seen(&pending), [(5, 2), (7, 1)]);
    pending
}

/// What an archive has of a stream.
async fn state(nas: &Arc<Store>, stream: &str) -> Option<ArchiveState> {
    let journal = JournalName::new("main").unwrap();
    let mut state = JournalState::empty(JournalOf::Secondary, journal);
    for listed in nas.list("v2/journal/main/entries/", false).await.unwrap() {
        let (entry, hash) = read_entry(&nas.get(&listed.key).await.unwrap()).unwrap();
        state.apply(&entry, hash).unwrap();
    }
    state.streams.remove(stream)
}

/// What an archive knows of single messages of a stream's consumer.
async fn archived(nas: &Arc<Store>, stream: &str) -> Option<Deliveries> {
    state(nas, stream).await?.deliveries.remove("app")
}

async fn until_archived(nas: &Arc<Store>, stream: &str, pending: &[u64], again: &[(u64, u64)]) {
    wait_until("what the consumer knows is archived", async || {
        let found = archived(nas, stream).await;
        let all = found.as_ref().is_some_and(|found| {
            let known: Vec<_> = found.pending(0, 100).map(|of| of.stream_seq).collect();
            let counts: Vec<_> =
                found.redelivered(100).map(|of| (of.stream_seq, of.times)).collect();
            known == pending && counts == again
        });
        if all { Ok(()) } else { Err(format!("{found:?}")) }
    })
    .await;
}

/// What a server says of a consumer.
async fn info(nats: &Nats, stream: &str) -> Value {
    let info = nats.api(&format!("CONSUMER.INFO.{stream}.app"), Value::Null).await;
    let place = |of: &str| json!([info[of]["consumer_seq"], info[of]["stream_seq"]]);
    json!({
        "delivered": place("delivered"), "ack_floor": place("ack_floor"),
        "ack_pending": info["num_ack_pending"], "redelivered": info["num_redelivered"],
        "pending": info["num_pending"],
    })
}

async fn sequences(nats: &Nats, stream: &str) -> Vec<u64> {
    let mut found = Vec::new();
    for seq in 1..=nats.last_seq(stream).await {
        let body = json!({ "seq": seq });
        let answer = nats.try_api(&format!("STREAM.MSG.GET.{stream}"), body).await;
        found.extend(answer["message"]["seq"].as_u64());
    }
    found
}

/// What was pending goes on where it was: who held it can still say so.
async fn goes_on(nats: &Nats, stream: &str, held: &[jetstream::Message]) {
    for message in held {
        let reply = message.reply.clone().unwrap();
        nats.client.publish(reply, "-NAK".into()).await.unwrap();
    }
    let again = pull(nats, stream, "app", 2).await;
    assert_eq!(seen(&again), [(5, 3), (7, 2)]);
    for message in again {
        message.double_ack().await.unwrap();
    }
    nats.publish(stream, 1).await;
    let next = pull(nats, stream, "app", 1).await;
    assert_eq!(seen(&next), [(8, 1)], "3 was given up");
    next[0].double_ack().await.unwrap();
}

async fn host_lost(storage: &str, version: Version) {
    let mut lab = Lab::with().layout("journal").faulty_nas().start().await;
    lab.nats.create("I", json!({ "retention": "interest", "storage": storage })).await;
    consumer(&lab.nats, "I", "done", json!({})).await;
    let daemon = lab.manager.tier().await;
    let held = odd(&lab.nats, "I").await;
    for message in pull(&lab.nats, "I", "done", 7).await {
        message.double_ack().await.unwrap();
    }
    lab.manager.reaches("I", "nas", 7).await;
    wait_until("the stream lets go of what is archived", async || {
        let left = sequences(&lab.nats, "I").await;
        if left == [3, 5, 7] { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
    let before = info(&lab.nats, "I").await;
    assert_eq!(
        (&before["ack_pending"], &before["redelivered"]),
        (&json!(2), &json!(2)),
        "{before}"
    );
    let nas = lab.store();
    until_archived(&nas, "I", &[5, 7], &[(3, 3), (5, 1)]).await;
    wait_until("the other consumer's position is archived", async || {
        let state = state(&nas, "I").await;
        let mut consumers = state.iter().flat_map(|state| &state.consumers);
        let done = consumers.find(|consumer| consumer.name.as_str() == "done");
        if done.is_some_and(|done| done.ack_floor.stream_seq == 7) {
            Ok(())
        } else {
            Err(format!("{done:?}"))
        }
    })
    .await;
    daemon.kill();
    lab.nats.kill();

    let Some(Host { mut nats, manager }) = lab.host_of("new", version).await else { return };
    manager.json(&["restore", "I"]);
    if version == Version::Old {
        // It does not keep what was given up.
        return goes_on(&nats, "I", &held).await;
    }
    assert_eq!(info(&nats, "I").await, before);
    // A server that starts lets go of what no consumer waits for.
    if storage == "file" {
        nats.crash_and_start().await;
    }
    assert_eq!(info(&nats, "I").await, before);
    assert_eq!(sequences(&nats, "I").await, [3, 5, 7]);
    goes_on(&nats, "I", &held).await;
    pull(&nats, "I", "done", 1).await[0].double_ack().await.unwrap();
    wait_until("what was given up is kept, and nothing else", async || {
        let left = sequences(&nats, "I").await;
        if left == [3] { Ok(()) } else { Err(format!("{left:?}")) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pending_and_given_up_comes_back_as_it_was() {
    host_lost("file", Version::Current).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn so_it_does_in_memory() {
    host_lost("memory", Version::Current).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_pending_comes_back_to_debians_old_server() {
    host_lost("file", Version::Old).await;
}

/// One that is given up where nothing else is pending is where the floor is, and the server's own file forgets it there.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_given_up_at_the_floor_comes_back() {
    let mut lab = Lab::with().layout("journal").faulty_nas().start().await;
    lab.nats.create("I", json!({ "retention": "interest" })).await;
    consumer(&lab.nats, "I", "app", json!({ "max_deliver": 1, "ack_wait": 3_000_000_000_u64 }))
        .await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("I", 2).await;
    let given = pull(&lab.nats, "I", "app", 2).await;
    wait_until("the second one is given up", async || {
        given[0].ack_with(AckKind::Progress).await.unwrap();
        let found = info(&lab.nats, "I").await;
        if found["ack_pending"] == 1 { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
    given[0].double_ack().await.unwrap();
    let before = info(&lab.nats, "I").await;
    assert_eq!(before["ack_floor"], json!([2, 2]), "{before}");
    lab.manager.reaches("I", "nas", 2).await;
    until_archived(&lab.store(), "I", &[], &[(2, 1)]).await;
    daemon.kill();
    lab.nats.kill();

    let Host { mut nats, manager } = lab.host("new").await;
    manager.json(&["restore", "I"]);
    nats.crash_and_start().await;
    assert_eq!(sequences(&nats, "I").await, [2]);
    nats.publish("I", 1).await;
    assert_eq!(seen(&pull(&nats, "I", "app", 1).await), [(3, 1)]);
}

/// Of a stream that is large the server is asked for no more than its beginning.
#[tokio::test(flavor = "multi_thread")]
async fn a_large_stream_is_not_read_for_it() {
    let lab = Lab::with().layout("journal").faulty_nas().start().await;
    lab.nats.create("S", json!({})).await;
    consumer(&lab.nats, "S", "app", json!({})).await;
    let jetstream = jetstream::new(lab.nats.client.clone());
    for round in 0..24 {
        // Nothing that could be packed.
        let payload = noise(round, 512 << 10);
        jetstream.publish("s.a", payload.into()).await.unwrap().await.unwrap();
    }
    let daemon = lab.manager.tier().await;
    let pulled = pull(&lab.nats, "S", "app", 3).await;
    pulled[1].double_ack().await.unwrap();
    until_archived(&lab.store(), "S", &[1, 3], &[]).await;
    let log = lab.nats.log();
    assert!(log.contains("no interest"), "the server ended early: {log}");
    assert!(!log.contains("Completed snapshot"), "{log}");
    daemon.stop().await;
}

/// Who may not ask for snapshots archives all else, and is told once.
#[tokio::test(flavor = "multi_thread")]
async fn without_the_right_it_is_said_once() {
    let users = "no_auth_user: a\naccounts { A { jetstream: enabled, users: [\n\
         { user: a, password: a },\n{ user: manager, password: secret, permissions: {\n\
           publish: { deny: [\"$JS.API.STREAM.SNAPSHOT.*\"] } } }\n] } }";
    let mut lab = Lab::with()
        .faulty_nas()
        .layout("journal")
        .server(users)
        .login("manager", "secret")
        .start()
        .await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    let note = "for what consumers have pending or given up allow the NATS user to publish `$JS.API.STREAM.SNAPSHOT.*`";
    assert!(daemon.log().contains(note), "{}", daemon.log());
    odd(&lab.nats, "S").await;
    wait_until("it says that it may not ask", async || {
        let log = daemon.log();
        let said =
            log.contains("are not archived, only their positions: JetStream did not answer `$JS.API.STREAM.SNAPSHOT.S`");
        if said { Ok(()) } else { Err(log) }
    })
    .await;
    lab.manager.reaches("S", "nas", 7).await;
    daemon.stop().await;
    assert_eq!(archived(&lab.store(), "S").await, None);
    lab.nats.kill();
    lab.configure(|settings| settings.login = String::new());
    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "S"]);
    // From the floor on, as if for the first time.
    assert_eq!(seen(&pull(&nats, "S", "app", 3).await), [(3, 1), (4, 1), (5, 1)]);
}

/// A cluster takes what a single server knew, and knows less itself: the floor alone.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_takes_it() {
    let mut lab = Lab::with().faulty_nas().layout("journal").start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    let held = odd(&lab.nats, "S").await;
    lab.manager.reaches("S", "nas", 7).await;
    until_archived(&lab.store(), "S", &[5, 7], &[(3, 3), (5, 1)]).await;
    daemon.kill();
    lab.nats.kill();

    let cluster = Cluster::start(&lab.path("cluster")).await;
    let manager = lab.manager_with("new", |settings| settings.nats = cluster.urls().join(","));
    manager.json(&["restore", "S", "--replicas", "3"]);
    let nats = cluster.connect().await;
    goes_on(&nats, "S", &held).await;
}
