//! A host whose clock was set: times that do not ascend come back as they were, and a point in time is
//! where the stream was, not a sieve.

use std::io::Write as _;

use serde_json::{Value, json};

use crate::support::{Lab, Manager, Nats, fingerprint};

/// 2026-01-01T00:00:00Z, in seconds.
const BEGIN: i64 = 1_767_225_600;
/// So much that a batch holds few messages: batches become segments.
const BYTES: usize = 40_000;

fn uvarint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn entry(out: &mut Vec<u8>, name: &str, time: i64, seq: u64, payload: &[u8]) {
    uvarint(out, name.len() as u64);
    uvarint(out, ((time << 1) ^ (time >> 63)).cast_unsigned());
    uvarint(out, seq);
    uvarint(out, 0);
    uvarint(out, payload.len() as u64);
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(payload);
}

/// A stream whose n-th message has the n-th of these times, in seconds: no clock need be set for it, the
/// server takes it as a snapshot.
pub(crate) async fn stream_of_times(nats: &Nats, name: &str, times: &[i64]) {
    let count = times.len() as u64;
    let state = json!({
        "messages": count, "bytes": 1, "first_seq": 1, "first_ts": "1970-01-01T00:00:00Z",
        "last_seq": count, "last_ts": "1970-01-01T00:00:00Z", "consumer_count": 0,
    });
    let mut archive = b"NATSARC1".to_vec();
    entry(&mut archive, "state.json", 0, 0, state.to_string().as_bytes());
    let payload = vec![7; BYTES];
    for (seq, time) in (1..).zip(times) {
        let subject = format!("{}.x", name.to_lowercase());
        entry(&mut archive, &subject, (BEGIN + time) * 1_000_000_000, seq, &payload);
    }
    entry(&mut archive, "", 0, 0, b"");
    let mut snapshot = snap::write::FrameEncoder::new(Vec::new());
    snapshot.write_all(&archive).unwrap();
    let config = json!({
        "name": name, "subjects": [format!("{}.>", name.to_lowercase())], "retention": "limits",
        "storage": "file", "num_replicas": 1,
    });
    let request = json!({ "config": config, "state": state });
    let begun = nats.api(&format!("STREAM.RESTORE.{name}"), request).await;
    let to = begun["deliver_subject"].as_str().unwrap().to_owned();
    for chunk in snapshot.into_inner().unwrap().chunks(64 * 1024) {
        let answer = nats.client.request(to.clone(), chunk.to_vec().into()).await.unwrap();
        assert!(answer.payload.is_empty(), "{answer:?}");
    }
    let end = nats.client.request(to, "".into()).await.unwrap();
    let end: Value = serde_json::from_slice(&end.payload).unwrap();
    assert_eq!(end["state"]["last_seq"], count, "{end}");
}

/// Tiers the stream into several segments.
async fn is_archived(manager: &Manager, last: u64) {
    let daemon = manager.tier().await;
    manager.reaches("S", "nas", last).await;
    daemon.stop().await;
    let held = manager.json(&["streams"]);
    assert!(held["streams"][0]["segments"].as_u64().unwrap() > 1, "{held}");
}

fn at(second: i64) -> String {
    jiff::Timestamp::from_second(BEGIN + second).unwrap().to_string()
}

/// Restores up to each of the points, and compares with so many messages of the stream.
async fn ends(manager: &Manager, nats: &Nats, all: &[Value], points: &[(i64, usize)]) {
    for (second, expected) in points {
        let name = format!("T{second}");
        let subjects = format!("t{second}.>");
        let point = at(*second);
        let options = ["--until", point.as_str(), "--as", &name, "--subjects", &subjects];
        manager.json(&[&["restore", "S"][..], &options].concat());
        let found = fingerprint(nats, &name).await;
        assert_eq!(found["last_seq"], json!(expected), "until {second}");
        assert_eq!(found["all"].as_array().unwrap()[..], all[..*expected], "until {second}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn set_back_it_gives_a_history_and_no_sieve() {
    let lab = Lab::with().settings("[segment]\nflush_size = \"4KiB\"\n").start().await;
    // Thirty seconds back after the fortieth message.
    let times: Vec<i64> = (1..=40).chain(11..=30).collect();
    stream_of_times(&lab.nats, "S", &times).await;
    is_archived(&lab.manager, 60).await;
    let all = fingerprint(&lab.nats, "S").await["all"].as_array().unwrap().clone();
    lab.nats.delete_stream("S").await;
    lab.manager.json(&["restore", "S"]);
    assert_eq!(fingerprint(&lab.nats, "S").await["all"].as_array().unwrap()[..], all[..]);
    ends(&lab.manager, &lab.nats, &all, &[(5, 5), (20, 20), (39, 39), (40, 60), (100, 60)]).await;
    let point = at(20);
    let options = ["--until", point.as_str(), "--as", "U", "--subjects", "u.>"];
    let output = lab.manager.run(&[&["restore", "S"][..], &options].concat());
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("sequence 21 is later than the point in time"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn set_forward_for_a_moment_the_moment_counts_wherever_it_lies_in_a_segment() {
    let lab = Lab::with().settings("[segment]\nflush_size = \"4KiB\"\n").start().await;
    // An hour ahead for one message in the middle of a segment: neither its first nor its last.
    let mut times: Vec<i64> = (1..=60).collect();
    times[27] += 3600;
    stream_of_times(&lab.nats, "S", &times).await;
    is_archived(&lab.manager, 60).await;
    let all = fingerprint(&lab.nats, "S").await["all"].as_array().unwrap().clone();
    ends(&lab.manager, &lab.nats, &all, &[(20, 20), (28, 27), (50, 27), (3628, 60)]).await;
}
