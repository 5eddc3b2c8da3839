//! Streams as nobody thought of them: drawn, put into an archive, restored on a real server, read back.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cim_core::archive::key::Chain;
use cim_core::archive::{Entry, LastMessage, Segment};
use cim_core::names::StreamName;
use cim_storage_manager::segment::{Columns, Message, SegmentWriter};
use jiff::Timestamp;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::support::{Lab, Nats};

const STREAMS: usize = 16;

#[derive(Debug, Clone)]
struct Drawn {
    seq: u64,
    time: i64,
    subject: String,
    headers: String,
    payload: Vec<u8>,
    deleted: bool,
}

/// Messages, how many segments they are in, and sequences that the stream gave out after the last of them.
type Stream = (Vec<Drawn>, usize, u64);

fn streams() -> impl Strategy<Value = Stream> {
    let first = prop_oneof![3 => Just(1_u64), 2 => 2..100_u64, 2 => (1_u64 << 40)..(1 << 60)];
    // As far as a memory stream goes: it keeps what is deleted one by one.
    let gap =
        prop_oneof![12 => Just(1_u64), 3 => 2..30_u64, 1 => 4090..4103_u64, 1 => 5000..20_000_u64];
    let headers = prop_oneof![
        2 => Just(String::new()),
        2 => "NATS/1\\.0\r\n([A-Za-z-]{1,20}: [ -~]{0,30}\r\n){1,4}\r\n",
    ];
    let payload = prop_oneof![
        2 => Just(Vec::new()),
        4 => prop::collection::vec(any::<u8>(), 1..200),
        1 => (any::<u8>(), 100_000..900_000_usize).prop_map(|(byte, length)| vec![byte; length]),
    ];
    let message = (gap, 0..i64::MAX, "[a-z0-9]{1,10}(\\.[A-Zäß-]{1,10}){0,3}", headers, payload);
    let messages = prop::collection::vec(message, 0..24);
    let tail = prop_oneof![3 => Just(0_u64), 2 => 1..20_u64, 1 => 4090..9000_u64];
    // Deleted at the start and at the end, and here and there.
    let deleted = (0..4_usize, 0..4_usize, prop::collection::vec(prop::bool::weighted(0.1), 24));
    (first, messages, deleted, 1..4_usize, tail).prop_map(
        |(first, messages, (front, back, deleted), segments, tail)| {
            let (mut seq, count) = (first - 1, messages.len());
            let draw = |(at, (gap, time, subject, headers, payload))| {
                seq += if at == 0 { 1 } else { gap };
                let deleted = at < front || at + back >= count || deleted[at];
                Drawn { seq, time, subject, headers, payload, deleted }
            };
            (messages.into_iter().enumerate().map(draw).collect(), segments, tail)
        },
    )
}

fn timestamp(time: i64) -> Timestamp {
    Timestamp::from_nanosecond(time.into()).unwrap()
}

/// Puts a stream into an archive, as a storage manager would have left it.
async fn archive(
    bucket: &s3::Bucket,
    name: &str,
    storage: &str,
    (messages, segments, tail): &Stream,
) {
    let stream = StreamName::new(name).unwrap();
    let prefix = name.to_lowercase();
    let mut written: Vec<Segment> = Vec::new();
    let each = messages.len().div_ceil(*segments).max(1);
    let mut last = None;
    for part in messages.chunks(each) {
        let (mut writer, mut columns) = (SegmentWriter::new(1), Columns::default());
        for drawn in part {
            let subject = format!("{prefix}.{}", drawn.subject);
            let message = Message {
                seq: drawn.seq,
                time: drawn.time,
                subject: subject.as_bytes(),
                headers: drawn.headers.as_bytes(),
                payload: &drawn.payload,
            };
            let (seq, time) = (drawn.seq, timestamp(drawn.time));
            last = Some(LastMessage { seq, time, sha256: message.hash() });
            columns.push(message);
        }
        writer.append(columns).unwrap();
        let finished = writer.finish(&stream, 1, false).unwrap();
        bucket.put_object(&finished.segment.key, &finished.file).await.unwrap();
        written.push(finished.segment);
    }
    let last_seq = last.as_ref().map_or(0, |last| last.seq) + tail;
    let first_seq = messages.iter().find(|m| !m.deleted).map_or(last_seq + 1, |m| m.seq);
    let deleted: Vec<_> =
        messages.iter().filter(|m| m.deleted).map(|m| json!([m.seq, m.seq])).collect();
    let state = json!({ "first_seq": first_seq, "last_seq": last_seq, "messages": 0, "bytes": 0 });
    let mut watermark = json!({ "seq": last_seq });
    if let Some(last) = last {
        watermark["last"] = serde_json::to_value(last).unwrap();
    }
    let config = json!({
        "name": name, "subjects": [format!("{prefix}.>")], "retention": "limits", "storage": storage,
        "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_msg_size": -1, "max_age": 0,
        "discard": "old", "num_replicas": 1,
    });
    let fork = json!({ "reason": "created" });
    let entry = json!({
        "format": 3, "number": 0, "committed_at": Timestamp::now(), "writer": "t", "timeline": 1,
        "fork": fork, "watermark": watermark, "state": state, "consumers": [], "add": written,
        "deleted": deleted, "stream": { "created": Timestamp::now(), "config": config },
        "checkpoint": {
            "segments": written,
            "timelines": [{
                "number": 1, "fork": fork, "watermark": watermark, "state": state, "deleted": deleted,
            }],
        },
    });
    let entry: Entry = serde_json::from_str(&entry.to_string()).unwrap();
    let key = Chain::Manifest.key(&stream, 0).to_string();
    bucket.put_object(&key, &entry.to_object().0).await.unwrap();
}

/// A server's stream, message by message, is what was drawn.
async fn is_there(nats: &Nats, name: &str, (messages, _, tail): &Stream) {
    let state = nats.info(name).await["state"].clone();
    let last_seq = messages.last().map_or(0, |m| m.seq) + tail;
    let left: Vec<&Drawn> = messages.iter().filter(|m| !m.deleted).collect();
    let first_seq = left.first().map_or(last_seq + 1, |m| m.seq);
    assert_eq!(state["last_seq"], last_seq, "{name}: {state}");
    assert_eq!(state["messages"], left.len(), "{name}: {state}");
    if last_seq > 0 {
        assert_eq!(state["first_seq"], first_seq, "{name}: {state}");
    }
    for drawn in messages {
        let get = format!("STREAM.MSG.GET.{name}");
        let answer = nats.try_api(&get, json!({ "seq": drawn.seq })).await;
        let message = &answer["message"];
        if drawn.deleted {
            assert!(message.is_null(), "{name}: {answer}");
            continue;
        }
        let bytes =
            |part: &str| STANDARD.decode(message[part].as_str().unwrap_or_default()).unwrap();
        let subject = format!("{}.{}", name.to_lowercase(), drawn.subject);
        assert_eq!(message["subject"], subject, "{name} {}: {answer}", drawn.seq);
        assert_eq!(message["seq"], drawn.seq, "{name}");
        assert_eq!(bytes("hdrs"), drawn.headers.as_bytes(), "{name} {}", drawn.seq);
        assert!(bytes("data") == drawn.payload, "{name} {}", drawn.seq);
        let time: Timestamp = message["time"].as_str().unwrap().parse().unwrap();
        assert_eq!(time, timestamp(drawn.time), "{name} {}", drawn.seq);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_takes_streams_as_nobody_thought_of_them() {
    let mut lab = Lab::start().await;
    let mut runner = TestRunner::deterministic();
    let strategy = streams();
    let mut drawn = Vec::new();
    for n in 0..STREAMS {
        let stream = strategy.new_tree(&mut runner).unwrap().current();
        let storage = ["file", "memory"][n % 2];
        let name = format!("{}{n}", storage.to_uppercase());
        archive(&lab.bucket(), &name, storage, &stream).await;
        drawn.push((name, stream));
    }
    lab.manager.json(&["verify"]);
    lab.manager.json(&["restore", "--all"]);
    for (name, stream) in &drawn {
        is_there(&lab.nats, name, stream).await;
    }
    lab.nats.crash_and_start().await;
    for (name, stream) in drawn.iter().filter(|(name, _)| name.starts_with("FILE")) {
        is_there(&lab.nats, name, stream).await;
        let next = stream.0.last().map_or(0, |m| m.seq) + stream.2 + 1;
        let answer =
            lab.nats.client.request(format!("{}.x", name.to_lowercase()), "".into()).await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.payload).unwrap();
        assert_eq!(answer["seq"], next, "{name} goes on: {answer}");
    }
}
