//! All of a stream that an exact restore must bring back.

use serde_json::{Value, json};

use super::Nats;

/// Returns a stream's configuration, its counts, the message of every sequence (raw header bytes, payload, time, or that
/// it is gone), and the configurations and positions of its durable consumers.
pub(crate) async fn fingerprint(nats: &Nats, stream: &str) -> Value {
    let info = nats.info(stream).await;
    let state = &info["state"];
    let (first, last) = (state["first_seq"].as_u64().unwrap(), state["last_seq"].as_u64().unwrap());
    let mut messages = Vec::new();
    for seq in first.max(1)..=last {
        let answer = nats.try_api(&format!("STREAM.MSG.GET.{stream}"), json!({ "seq": seq })).await;
        messages.push(answer["message"].clone());
    }
    let listed = nats.api(&format!("CONSUMER.LIST.{stream}"), Value::Null).await;
    let consumers: Vec<Value> = listed["consumers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|c| c["config"]["durable_name"].is_string())
        .map(|c| {
            let position = |p: &Value| json!([p["consumer_seq"], p["stream_seq"]]);
            json!({
                "config": c["config"],
                "delivered": position(&c["delivered"]),
                "ack_floor": position(&c["ack_floor"]),
            })
        })
        .collect();
    json!({
        "config": info["config"],
        "first_seq": first,
        "last_seq": last,
        "messages": state["messages"],
        "bytes": state["bytes"],
        "all": messages,
        "consumers": consumers,
    })
}

/// Returns the fingerprints of streams, in their order.
pub(crate) async fn fingerprints(nats: &Nats, streams: &[impl AsRef<str>]) -> Vec<Value> {
    let mut all = Vec::new();
    for stream in streams {
        all.push(fingerprint(nats, stream.as_ref()).await);
    }
    all
}

/// Asserts that streams are as they were.
pub(crate) async fn are_the_same(nats: &Nats, streams: &[impl AsRef<str>], before: &[Value]) {
    assert_eq!(streams.len(), before.len());
    for (stream, before) in streams.iter().zip(before) {
        let stream = stream.as_ref();
        assert_eq!(&fingerprint(nats, stream).await, before, "{stream}");
    }
}

/// Asserts that streams have the messages that they had; their configuration may be another one.
pub(crate) async fn have_the_same_messages(
    nats: &Nats,
    streams: &[impl AsRef<str>],
    before: &[Value],
) {
    assert_eq!(streams.len(), before.len());
    for (stream, before) in streams.iter().zip(before) {
        let stream = stream.as_ref();
        assert_eq!(fingerprint(nats, stream).await["all"], before["all"], "{stream}");
    }
}
