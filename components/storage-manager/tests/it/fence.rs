//! Sequences that a restored stream does not give out again, for mirrors that have seen them.

use async_nats::Subject;
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::support::{Host, Lab, Nats, Version, fingerprint, free_ports, wait_until};

/// Messages that are archived, that are lost with the host, and that come after the restore.
const ARCHIVED: u64 = 20;
const LOST: u64 = 7;
const NEW: u64 = 12;

async fn publish(nats: &Nats, subject: &str, count: u64) {
    for _ in 0..count {
        let answer = nats.client.request(subject.to_owned(), "x".into()).await.unwrap();
        assert!(!answer.payload.starts_with(b"{\"error"), "{answer:?}");
    }
}

/// A host that a leaf node can connect to.
fn hub(port: u16) -> String {
    format!(
        "server_name: hub\njetstream {{ domain: hub }}\nleafnodes {{ listen: \"127.0.0.1:{port}\" }}"
    )
}

/// Loses a host whose stream a mirror on a leaf node has seen more of than the archive, restores it with these
/// arguments and publishes new messages. Returns what the restore says of the stream, its last sequence, and how many
/// messages the mirror has by then.
async fn mirrored(arguments: &[&str]) -> (Value, u64, u64) {
    let [port] = free_ports();
    let mut lab = Lab::with().server(hub(port)).start().await;
    let more = format!(
        "server_name: site\njetstream {{ domain: site }}\n\
         leafnodes {{ reconnect: 1, remotes: [{{ url: \"nats://127.0.0.1:{port}\" }}] }}"
    );
    let mut site = Nats::start_with(&lab.path("site"), &more).await;
    lab.nats.create("S", json!({})).await;
    let origin = json!({ "name": "S", "external": { "api": "$JS.hub.API" } });
    site.create("M", json!({ "subjects": null, "mirror": origin })).await;
    let daemon = lab.manager.tier().await;
    publish(&lab.nats, "s.x", ARCHIVED).await;
    lab.manager.reaches("S", "nas", ARCHIVED).await;
    daemon.kill();
    publish(&lab.nats, "s.x", LOST).await;
    let reaches = async |site: &Nats, seq: u64| {
        wait_until("the mirror has what the stream has", async || {
            let last = site.last_seq("M").await;
            if last == seq { Ok(()) } else { Err(format!("{last} of {seq}")) }
        })
        .await;
    };
    reaches(&site, ARCHIVED + LOST).await;
    lab.nats.kill();

    let Host { nats, manager } = lab.host_with("new", &hub(port)).await;
    let restored = manager.json(&[&["restore", "--all"], arguments].concat());
    // It need not wait until it looks for the host again.
    site.crash_and_start().await;
    publish(&nats, "s.x", NEW).await;
    let last = nats.last_seq("S").await;
    reaches(&site, last).await;
    let messages = site.info("M").await["state"]["messages"].as_u64().unwrap();
    (restored["streams"][0].clone(), last, messages)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mirror_that_lived_on_gets_every_new_message() {
    let (restored, last, messages) = mirrored(&[]).await;
    assert_eq!(restored["last_seq"], ARCHIVED);
    assert_eq!(restored["fence"], 10_000);
    assert_eq!(restored["fence_for"], json!(["leaf nodes (the server has the domain `hub`)"]));
    assert_eq!(last, ARCHIVED + 10_000 + NEW);
    assert_eq!(messages, ARCHIVED + LOST + NEW);
    // Without one it passes over as many as were lost.
    let (restored, last, messages) = mirrored(&["--fence", "0"]).await;
    assert_eq!((&restored["fence"], &restored["fence_for"]), (&json!(0), &json!([])));
    assert_eq!(last, ARCHIVED + NEW);
    assert_eq!(messages, ARCHIVED + NEW);
}

fn of<'a>(restored: &'a Value, stream: &str) -> &'a Value {
    let streams = restored["streams"].as_array().unwrap();
    streams.iter().find(|restored| restored["stream"] == stream).expect(stream)
}

/// Where the next message of a consumer is to be acknowledged, which says which one it is.
async fn next(nats: &Nats) -> Subject {
    let inbox = nats.client.new_inbox();
    let mut messages = nats.client.subscribe(inbox.clone()).await.unwrap();
    let what = "$JS.API.CONSUMER.MSG.NEXT.S.half";
    nats.client.publish_with_reply(what, inbox, "".into()).await.unwrap();
    messages.next().await.unwrap().reply.unwrap()
}

/// A host with a stream that two others follow, lost after this was archived; and what the stream was.
async fn followed(lab: &Lab) -> Value {
    let Lab { nats, manager, .. } = lab;
    nats.create("S", json!({})).await;
    nats.create("MIRROR", json!({ "subjects": null, "mirror": { "name": "S" } })).await;
    nats.create("TAKER", json!({ "subjects": null, "sources": [{ "name": "S" }] })).await;
    nats.create("ALONE", json!({})).await;
    nats.create_consumer("S", "half", json!({})).await;
    nats.publish("S", 40).await;
    nats.publish("ALONE", 3).await;
    for n in 1..=15_u64 {
        nats.client.publish(next(nats).await, "+ACK".into()).await.unwrap();
        wait_until("it is acknowledged", async || {
            let info = nats.api("CONSUMER.INFO.S.half", Value::Null).await;
            if info["ack_floor"]["stream_seq"] == n { Ok(()) } else { Err(info.to_string()) }
        })
        .await;
    }
    nats.delete("S", &[7, 39, 40]).await;
    let daemon = manager.tier().await;
    for (stream, last) in [("S", 40), ("MIRROR", 40), ("TAKER", 40), ("ALONE", 3)] {
        manager.reaches(stream, "nas", last).await;
    }
    daemon.stop().await;
    fingerprint(nats, "S").await
}

/// The stream behind its fence is the one that was archived: its messages and consumers, one timeline, no word of a
/// loss; what follows is archived, and the next restore brings the gap back.
async fn goes_on_behind_its_fence(version: Version) {
    let lab = Lab::start().await;
    let before = followed(&lab).await;
    let Some(Host { nats, manager }) = lab.host_of("new", version).await else { return };
    let dry = manager.json(&["restore", "--all", "--dry-run"]);
    let restored = manager.json(&["restore", "--all"]);
    let followers = json!(["mirror `MIRROR`", "stream `TAKER`, which sources it"]);
    for said in [&dry, &restored] {
        let said = of(said, "S");
        assert_eq!((&said["last_seq"], &said["fence"]), (&json!(40), &json!(10_000)), "{said}");
        assert_eq!(said["fence_for"], followers);
    }
    for stream in ["MIRROR", "TAKER", "ALONE"] {
        assert_eq!(of(&restored, stream)["fence"], 0, "{stream}");
    }
    assert_eq!(nats.last_seq("MIRROR").await, 40);
    let again = manager.json(&["restore", "--all"]);
    assert_eq!(of(&again, "S")["why"], "on the server already");
    let same = |now: &Value| {
        let (now, before) = (now["all"].as_array().unwrap(), before["all"].as_array().unwrap());
        assert_eq!(now[..38], before[..38]);
        assert!(now[38..10_038].iter().all(Value::is_null));
    };
    let behind = fingerprint(&nats, "S").await;
    same(&behind);
    assert_eq!((&behind["last_seq"], &behind["messages"]), (&json!(10_040), &before["messages"]));
    assert_eq!(behind["consumers"][0]["ack_floor"], before["consumers"][0]["ack_floor"]);
    assert_eq!(behind["consumers"][0]["delivered"], before["consumers"][0]["delivered"]);

    let status = manager.json(&["status"]);
    assert_eq!(of(&status, "S")["nas"]["lag_events"], 0, "a gap is nothing to wait for: {status}");
    let daemon = manager.tier().await;
    manager.reaches("S", "nas", 10_040).await;
    nats.publish("S", 5).await;
    manager.reaches("S", "nas", 10_045).await;
    let next = next(&nats).await;
    assert!(next.contains(".S.half.1.16.16."), "it goes on where it was: {next}");
    let log = daemon.log();
    daemon.stop().await;
    assert!(!log.contains("missed") && !log.contains("ERROR"), "{log}");
    let held = manager.json(&["streams"]);
    let timelines = of(&held, "S")["timelines"].as_array().unwrap();
    assert_eq!(timelines.len(), 1, "{held}");
    manager.json(&["verify"]);
    let now = fingerprint(&nats, "S").await;
    drop(nats);

    let Some(Host { nats, manager }) = lab.host_of("third", version).await else { return };
    let restored = manager.json(&["restore", "S", "--fence", "0"]);
    assert_eq!(restored["streams"][0]["fence"], 0);
    let found = fingerprint(&nats, "S").await;
    assert_eq!(found["all"], now["all"]);
    assert_eq!((&found["last_seq"], &found["messages"]), (&now["last_seq"], &now["messages"]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_is_no_loss() {
    goes_on_behind_its_fence(Version::Current).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fence_is_no_loss_on_an_old_server() {
    goes_on_behind_its_fence(Version::Old).await;
}

/// What is there of a stream of which nothing is left but how far it was: its fence is nothing that was missed.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_stream_is_fenced_too_and_a_memory_stream() {
    let mut lab = Lab::start().await;
    lab.nats.create("S", json!({})).await;
    lab.nats.create("M", json!({ "storage": "memory" })).await;
    let daemon = lab.manager.tier().await;
    for stream in ["S", "M"] {
        lab.nats.publish(stream, 9).await;
        lab.manager.reaches(stream, "nas", 9).await;
    }
    lab.nats.api("STREAM.PURGE.S", Value::Null).await;
    wait_until("the purge is archived", async || {
        let held = lab.manager.json(&["streams"]);
        let first = &of(&held, "S")["timelines"][0]["first_seq"];
        if *first == 10 { Ok(()) } else { Err(held.to_string()) }
    })
    .await;
    daemon.stop().await;
    lab.nats.kill();

    let Host { nats, manager } = lab.host("new").await;
    for (stream, fence) in [("S", "5000"), ("M", "30")] {
        let restored = manager.run(&["restore", stream, "--fence", fence]);
        let said = String::from_utf8(restored.stdout).unwrap();
        let last = 9 + fence.parse::<u64>().unwrap();
        let says = format!(
            "{stream}: sequences 10 to {last} stay unused, and the next message gets {}",
            last + 1
        );
        assert!(said.contains(&says), "{said}");
        assert_eq!(nats.last_seq(stream).await, last);
    }
    let daemon = manager.tier().await;
    manager.reaches("S", "nas", 5009).await;
    nats.publish("S", 2).await;
    nats.publish("M", 2).await;
    manager.reaches("S", "nas", 5011).await;
    manager.reaches("M", "nas", 41).await;
    let log = daemon.log();
    daemon.stop().await;
    assert!(!log.contains("missed") && !log.contains("timeline"), "{log}");
    manager.json(&["verify"]);
}

/// Who goes back to an earlier point does not give out again what came after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_fence_is_behind_all_that_was_archived() {
    let lab = Lab::start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    for seq in [20, 40] {
        lab.nats.publish("S", 20).await;
        lab.manager.reaches("S", "nas", seq).await;
    }
    daemon.stop().await;
    lab.nats.delete_stream("S").await;
    let restored = lab.manager.json(&["restore", "S", "--until-seq", "30", "--fence", "100"]);
    let restored = &restored["streams"][0];
    assert_eq!((&restored["last_seq"], &restored["fence"]), (&json!(30), &json!(110)));
    lab.nats.publish("S", 1).await;
    assert_eq!(lab.nats.last_seq("S").await, 141);
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", 141).await;
    daemon.stop().await;
    let expected = fingerprint(&lab.nats, "S").await;
    lab.nats.delete_stream("S").await;
    lab.manager.json(&["restore", "S"]);
    assert_eq!(fingerprint(&lab.nats, "S").await["all"], expected["all"]);
}
