//! Streams, consumers and messages of a server.

use std::time::Duration;

use async_nats::HeaderMap;
use bytes::Bytes;
use cim_testing::wait_until;
use jiff::Timestamp;
use serde_json::{Value, json};

use super::Nats;

impl Nats {
    /// Asks the JetStream API; its error is the test's.
    pub(crate) async fn api(&self, what: &str, body: Value) -> Value {
        let answer = self.try_api(what, body).await;
        assert!(answer["error"].is_null(), "{what}: {answer}");
        answer
    }

    pub(crate) async fn try_api(&self, what: &str, body: Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        match self.client.request(format!("$JS.API.{what}"), body.into()).await {
            Ok(answer) => serde_json::from_slice(&answer.payload).unwrap(),
            // A cluster that elects does not answer.
            Err(error) => json!({ "error": { "description": error.to_string() } }),
        }
    }

    /// Makes a stream on `<lowercase name>.>`, with further settings.
    pub(crate) async fn create(&self, name: &str, more: Value) {
        let mut config = json!({
            "name": name,
            "subjects": [format!("{}.>", name.to_lowercase())],
            "retention": "limits", "max_consumers": -1, "max_msgs": -1, "max_bytes": -1,
            "discard": "old", "max_age": 0, "max_msg_size": -1, "storage": "file", "num_replicas": 1,
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        self.api(&format!("STREAM.CREATE.{name}"), config).await;
    }

    /// Publishes `count` messages of several shapes on three subjects and waits for their acks.
    pub(crate) async fn publish(&self, stream: &str, count: usize) {
        let prefix = stream.to_lowercase();
        let mut acks = Vec::new();
        self.is_heard(stream).await;
        for n in 0..count {
            let subject = format!("{prefix}.{}", ["a", "b.c", "größe"][n % 3]);
            let payload = vec![u8::try_from(n % 251).unwrap(); [0, 1, 100, 3000][n % 4]];
            let jetstream = async_nats::jetstream::new(self.client.clone());
            let ack = if n % 2 == 0 {
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Msg-Id", format!("{prefix}-{n}-{}", uuid::Uuid::now_v7()));
                headers.append("Zeta", "last");
                headers.append("alpha", "first");
                headers.append("alpha", "second");
                jetstream.publish_with_headers(subject, headers, payload.into()).await.unwrap()
            } else {
                jetstream.publish(subject, payload.into()).await.unwrap()
            };
            acks.push(ack);
        }
        for ack in acks {
            ack.await.unwrap();
        }
    }

    /// Waits until the server that this is connected to knows who takes a stream's messages: of another server of a
    /// cluster it hears that a moment after the stream is there.
    async fn is_heard(&self, stream: &str) {
        // The stream takes no message with such an expectation.
        let subject = format!("{}.probe", stream.to_lowercase());
        wait_until("the stream's leader is heard", async || {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Expected-Stream", "another");
            let asked = self.client.request_with_headers(subject.clone(), headers, "".into());
            match asked.await {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// Publishes messages that are as small as can be.
    pub(crate) async fn publish_bare(&self, subject: &'static str, count: usize) {
        let jetstream = async_nats::jetstream::new(self.client.clone());
        let mut acks = Vec::new();
        self.is_heard(subject.split('.').next().unwrap()).await;
        for _ in 0..count {
            acks.push(jetstream.publish(subject, "".into()).await.unwrap());
        }
        for ack in acks {
            ack.await.unwrap();
        }
    }

    pub(crate) async fn delete(&self, stream: &str, seqs: &[u64]) {
        for seq in seqs {
            self.api(&format!("STREAM.MSG.DELETE.{stream}"), json!({ "seq": seq })).await;
        }
    }

    /// Waits until a message is older than this, by the time that the server gave it.
    pub(crate) async fn becomes_older(&self, stream: &str, seq: u64, age: Duration) {
        let message = self.api(&format!("STREAM.MSG.GET.{stream}"), json!({ "seq": seq })).await;
        let time: Timestamp = message["message"]["time"].as_str().unwrap().parse().unwrap();
        wait_until("the message is old enough", async || {
            let found = Timestamp::now().duration_since(time);
            if found.unsigned_abs() > age { Ok(()) } else { Err(found.to_string()) }
        })
        .await;
    }

    pub(crate) async fn info(&self, stream: &str) -> Value {
        self.api(&format!("STREAM.INFO.{stream}"), Value::Null).await
    }

    pub(crate) async fn last_seq(&self, stream: &str) -> u64 {
        self.info(stream).await["state"]["last_seq"].as_u64().unwrap()
    }

    /// Publishes one payload and waits for its ack.
    pub(crate) async fn put(&self, subject: impl Into<String>, payload: impl Into<Bytes>) {
        let jetstream = async_nats::jetstream::new(self.client.clone());
        jetstream.publish(subject.into(), payload.into()).await.unwrap().await.unwrap();
    }

    /// Publishes one message with headers and waits for its ack.
    pub(crate) async fn put_with(
        &self,
        subject: impl Into<String>,
        headers: &[(&'static str, &str)],
        payload: impl Into<Bytes>,
    ) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, *value);
        }
        let jetstream = async_nats::jetstream::new(self.client.clone());
        let sent = jetstream.publish_with_headers(subject.into(), map, payload.into());
        sent.await.unwrap().await.unwrap();
    }

    /// Publishes payloads, all at once, and waits for their acks.
    pub(crate) async fn put_all(&self, subject: &str, payloads: impl IntoIterator<Item = Vec<u8>>) {
        let jetstream = async_nats::jetstream::new(self.client.clone());
        let mut acks = Vec::new();
        for payload in payloads {
            acks.push(jetstream.publish(subject.to_owned(), payload.into()).await.unwrap());
        }
        for ack in acks {
            ack.await.unwrap();
        }
    }

    /// Deletes a stream.
    pub(crate) async fn delete_stream(&self, stream: &str) {
        self.api(&format!("STREAM.DELETE.{stream}"), Value::Null).await;
    }

    /// Makes a durable consumer with explicit acks, and further settings.
    pub(crate) async fn create_consumer(&self, stream: &str, name: &str, more: Value) {
        let mut config = json!({ "durable_name": name, "ack_policy": "explicit" });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        let body = json!({ "stream_name": stream, "config": config });
        self.api(&format!("CONSUMER.DURABLE.CREATE.{stream}.{name}"), body).await;
    }

    /// Returns the names of all streams, ascending.
    pub(crate) async fn stream_names(&self) -> Vec<String> {
        let names = self.api("STREAM.NAMES", Value::Null).await;
        let mut names: Vec<String> =
            serde_json::from_value(names["streams"].clone()).unwrap_or_default();
        names.sort();
        names
    }
}
