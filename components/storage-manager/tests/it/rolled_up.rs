//! What a message has taken away stays away, also where the archive had the message and not yet what went with it.

use async_nats::HeaderMap;
use serde_json::{Value, json};

use crate::support::{Host, Lab, Nats, documented, download, rows, wait_until};

async fn publish(nats: &Nats, subject: &'static str, headers: &[(&'static str, &str)]) {
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, *value);
    }
    let jetstream = async_nats::jetstream::new(nats.client.clone());
    jetstream.publish_with_headers(subject, map, "x".into()).await.unwrap().await.unwrap();
}

/// The sequences of a stream's messages.
async fn sequences(nats: &Nats, stream: &str) -> Vec<u64> {
    let mut found = Vec::new();
    for seq in 1..=nats.last_seq(stream).await {
        let got = nats.try_api(&format!("STREAM.MSG.GET.{stream}"), json!({ "seq": seq })).await;
        found.extend(got["message"]["seq"].as_u64());
    }
    found
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_purged_and_what_has_fired_do_not_come_back() {
    let mut lab = Lab::with().layout("journal").start().await;
    lab.nats.create("KV", json!({ "allow_rollup_hdrs": true })).await;
    lab.nats.create("SCH", json!({ "allow_msg_schedules": true })).await;
    for subject in ["kv.card", "kv.card", "kv.card", "kv.other"] {
        publish(&lab.nats, subject, &[]).await;
    }
    let due = jiff::Timestamp::now() + jiff::SignedDuration::from_secs(2);
    let at = format!("@at {}", due.strftime("%FT%TZ"));
    publish(&lab.nats, "sch.first", &[]).await;
    let schedule = [("Nats-Schedule", at.as_str()), ("Nats-Schedule-Target", "sch.due")];
    publish(&lab.nats, "sch.pay", &schedule).await;
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("KV", "nas", 4).await;
    lab.manager.reaches("SCH", "nas", 2).await;

    // Both are archived, and the server is not asked any more for what it has deleted.
    wait_until("the schedule fires", async || {
        if lab.nats.last_seq("SCH").await == 3 { Ok(()) } else { Err("not yet".to_owned()) }
    })
    .await;
    let purge = [("KV-Operation", "PURGE"), ("Nats-Rollup", "sub")];
    publish(&lab.nats, "kv.card", &purge).await;
    assert_eq!(sequences(&lab.nats, "KV").await, [4, 5]);
    assert_eq!(sequences(&lab.nats, "SCH").await, [1, 3]);
    lab.nats.freeze();
    wait_until("the nas has the purge and what was fired", async || {
        let held = lab.manager.json(&["streams"]);
        let streams = held["streams"].as_array().unwrap().iter();
        let reached = streams.map(|stream| &stream["timelines"][0]["last_seq"]);
        if reached.eq(&[json!(5), json!(3)]) { Ok(()) } else { Err(held.to_string()) }
    })
    .await;
    daemon.kill();
    lab.nats.kill();
    let bucket = download(&lab.bucket(), lab.dir()).await;
    let read = rows(
        &documented("Reading it without this project", "python")[1],
        &[&bucket.to_string_lossy(), "main", "KV"],
    )
    .unwrap();
    assert!(read.iter().map(|row| &row[0]).eq(&[json!(4), json!(5)]), "{read:?}");

    let Host { nats, manager } = lab.host("new").await;
    let restored = manager.json(&["restore", "--all"]);
    assert_eq!(sequences(&nats, "KV").await, [4, 5]);
    assert_eq!(sequences(&nats, "SCH").await, [1, 3]);
    for stream in restored["streams"].as_array().unwrap() {
        assert_eq!((&stream["messages"], &stream["added"]), (&json!(2), &json!(0)), "{stream}");
    }
    let again = manager.json(&["restore", "--all"]);
    let outcomes = again["streams"].as_array().unwrap().iter().map(|s| &s["outcome"]);
    assert!(outcomes.eq(["unchanged", "unchanged"]), "{again}");

    // With what was dropped the schedule is there, and does not fire.
    nats.delete_stream("SCH").await;
    let restored = manager.json(&["restore", "SCH", "--with-dropped"]);
    assert_eq!(restored["streams"][0]["messages"], 3);
    let left_out = json!(["schedules: their messages are there, and none fires"]);
    assert_eq!(restored["streams"][0]["left_out"], left_out);
    assert_eq!(sequences(&nats, "SCH").await, [1, 2, 3]);
    assert_eq!(nats.info("SCH").await["config"]["allow_msg_schedules"], Value::Null);
}

/// As many are gone behind the beginning as before, and they are others.
#[tokio::test(flavor = "multi_thread")]
async fn a_delete_is_seen_that_changes_no_number() {
    let lab = Lab::with().layout("journal").start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 10).await;
    lab.nats.delete("S", &[5]).await;
    lab.manager.reaches("S", "nas", 10).await;
    let begins_at = async |seq: u64| {
        wait_until("the archive knows where the stream begins", async || {
            let dry =
                lab.manager.json(&["restore", "S", "--as", "T", "--subjects", "t.>", "--dry-run"]);
            let held = lab.manager.json(&["streams"]);
            let known = !dry["streams"][0]["deletes_known"].is_null();
            let first = &held["streams"][0]["timelines"][0]["first_seq"];
            if known && *first == seq { Ok(()) } else { Err(format!("{dry} {held}")) }
        })
        .await;
    };
    begins_at(1).await;
    daemon.freeze();
    lab.nats.api("STREAM.PURGE.S", json!({ "seq": 6 })).await;
    lab.nats.delete("S", &[8]).await;
    daemon.thaw();
    begins_at(6).await;
    daemon.kill();
    lab.manager.json(&["restore", "S", "--as", "T", "--subjects", "t.>"]);
    assert_eq!(sequences(&lab.nats, "T").await, [6, 7, 9, 10]);
}
