//! The part of the NATS protocol that is needed to read a stream.
//!
//! The oracle does not read with the client library that the storage manager uses: a fault in it
//! would be on both sides of the comparison. And it needs the header block as bytes, which the
//! library parses and builds anew.

use std::io::{Error, ErrorKind, Result};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::{Buf as _, Bytes, BytesMut};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::lab::endpoint::Endpoint;

const READ: usize = 256 * 1024;
/// The most bytes of a single batch. The server disconnects clients with much more outstanding.
const BATCH_BYTES: u64 = 8 * 1024 * 1024;
const BATCH: u64 = 5000;
/// A server that takes longer for a login is skipped for the next one.
const LOGIN: Duration = Duration::from_secs(10);
/// With a pull open the server sends something every second; a silent one has forgotten the pull,
/// as a cluster's server does that goes down with the consumer.
const SILENCE: Duration = Duration::from_secs(12);
/// The limit for repeating a pull without a listener, and the pause before each.
const UNHEARD_AT_MOST: u32 = 100;
const UNHEARD_PAUSE: Duration = Duration::from_millis(50);
/// The attempts to get a consumer on the wanted server of a cluster, which chance decides.
const TRIES: usize = 64;

/// A message as the server delivered it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The subject that it was published on.
    pub subject: Bytes,
    /// The subject for an answer; JetStream encodes sequence and time in it.
    pub reply: Bytes,
    /// The raw header block; empty when there is none.
    pub headers: Bytes,
    /// The payload.
    pub payload: Bytes,
    /// The subscription that received it.
    sid: u8,
}

/// A message of a stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamMessage {
    /// Its sequence.
    pub seq: u64,
    /// The time at which the server stored it, in nanoseconds since 1970.
    pub time: i64,
    /// The number of messages after it in the stream, if a reader received it; 0 if it was
    /// requested.
    pub pending: u64,
    /// The delivery.
    pub delivery: Delivery,
}

/// A connection.
#[derive(Debug)]
pub struct Wire {
    stream: TcpStream,
    buffer: BytesMut,
    inbox: String,
    requests: u64,
}

/// The start of a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum From {
    /// At the first message.
    Start,
    /// At this sequence.
    Sequence(u64),
    /// At the first message that is not older than this, in nanoseconds since 1970.
    Time(i64),
}

fn invalid(what: impl Into<String>) -> Error {
    Error::new(ErrorKind::InvalidData, what.into())
}

impl Wire {
    /// Connects to the first server of an endpoint that answers, with its nkey if it has one.
    pub async fn connect(at: impl Into<Endpoint>) -> Result<Self> {
        let at: Endpoint = at.into();
        let mut outcome = Err(ErrorKind::NotFound.into());
        for server in at.servers() {
            let login = Self::login(server.trim_start_matches("nats://"), &at);
            let login = tokio::time::timeout(LOGIN, login).await;
            outcome = login.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()));
            if outcome.is_ok() {
                break;
            }
        }
        outcome
    }

    async fn login(addr: &str, at: &Endpoint) -> Result<Self> {
        let stream = TcpStream::connect(addr).await?;
        stream.set_nodelay(true)?;
        let inbox = format!("_INBOX.oracle.{:016x}", rand::random::<u64>());
        let buffer = BytesMut::with_capacity(2 * READ);
        let mut wire = Self { stream, buffer, inbox, requests: 0 };
        let info = wire.line().await?;
        let Some(info) = info.strip_prefix(b"INFO ") else {
            return Err(invalid(format!("`{addr}` is not a NATS server")));
        };
        let mut hello = json!({
            "verbose": false, "pedantic": false, "headers": true, "no_responders": true,
            "lang": "oracle", "version": "1", "name": "oracle", "protocol": 1,
        });
        let info: Value = serde_json::from_slice(info)?;
        if let Some((nkey, sig)) = info["nonce"].as_str().and_then(|nonce| at.sign(nonce)) {
            hello["nkey"] = nkey.into();
            hello["sig"] = sig.into();
        }
        let hello = format!("CONNECT {hello}\r\nSUB {}.> 1\r\nPING\r\n", wire.inbox);
        wire.stream.write_all(hello.as_bytes()).await?;
        loop {
            let line = wire.line().await?;
            match line.as_ref() {
                b"PONG" => return Ok(wire),
                line if line.starts_with(b"-ERR") => {
                    return Err(invalid(String::from_utf8_lossy(line)));
                }
                _ => {}
            }
        }
    }

    async fn line(&mut self) -> Result<Bytes> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                let line = self.buffer.split_to(end).freeze();
                self.buffer.advance(2);
                return Ok(line);
            }
            self.fill().await?;
        }
    }

    async fn fill(&mut self) -> Result<()> {
        self.buffer.reserve(READ);
        match self.stream.read_buf(&mut self.buffer).await? {
            0 => Err(ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }

    async fn exactly(&mut self, length: usize) -> Result<Bytes> {
        while self.buffer.len() < length + 2 {
            self.fill().await?;
        }
        let bytes = self.buffer.split_to(length).freeze();
        self.buffer.advance(2);
        Ok(bytes)
    }

    /// Returns the next message, for any subscription.
    pub async fn next(&mut self) -> Result<Delivery> {
        loop {
            let line = self.line().await?;
            let words: Vec<&[u8]> = line.split(|b| *b == b' ').filter(|w| !w.is_empty()).collect();
            let number = |word: &[u8]| {
                let text = std::str::from_utf8(word).ok().and_then(|t| t.parse::<usize>().ok());
                text.ok_or_else(|| invalid("a length that is not a number"))
            };
            let digit = |sid: &[u8]| sid.first().copied().unwrap_or_default().wrapping_sub(b'0');
            let owned = |word: &[u8]| Bytes::copy_from_slice(word);
            match words.as_slice() {
                [b"PING"] => self.stream.write_all(b"PONG\r\n").await?,
                [b"MSG", subject, sid, rest @ .., length] => {
                    let reply = rest.first().map(|w| owned(w)).unwrap_or_default();
                    let (subject, sid, length) = (owned(subject), digit(sid), number(length)?);
                    let payload = self.exactly(length).await?;
                    return Ok(Delivery { subject, reply, headers: Bytes::new(), payload, sid });
                }
                [b"HMSG", subject, sid, rest @ .., head, length] => {
                    let reply = rest.first().map(|w| owned(w)).unwrap_or_default();
                    let (subject, sid) = (owned(subject), digit(sid));
                    let (head, length) = (number(head)?, number(length)?);
                    let mut bytes = self.exactly(length).await?;
                    if head > length {
                        return Err(invalid("headers longer than their message"));
                    }
                    let headers = bytes.split_to(head);
                    return Ok(Delivery { subject, reply, headers, payload: bytes, sid });
                }
                [b"-ERR", ..] => return Err(invalid(String::from_utf8_lossy(&line))),
                _ => {}
            }
        }
    }

    /// Sends a request and waits for its answer; messages for other subscriptions are dropped.
    pub async fn request(&mut self, subject: &str, body: &[u8]) -> Result<Bytes> {
        self.requests += 1;
        let reply = format!("{}.r{}", self.inbox, self.requests);
        self.publish(subject, &reply, body).await?;
        let wait = async {
            loop {
                let delivery = self.next().await?;
                if delivery.subject == reply.as_bytes() {
                    return Ok(delivery.payload);
                }
            }
        };
        let limit = Duration::from_secs(10);
        tokio::time::timeout(limit, wait).await.unwrap_or_else(|_| Err(ErrorKind::TimedOut.into()))
    }

    /// Sends a request to JetStream's API; an error in the answer is returned as an error.
    pub async fn api(&mut self, subject: &str, body: &Value) -> Result<Value> {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        let answer = self.request(&format!("$JS.API.{subject}"), body.as_bytes()).await?;
        let value: Value = serde_json::from_slice(&answer).map_err(|e| invalid(e.to_string()))?;
        match value.get("error").and_then(|e| e.get("description")).and_then(Value::as_str) {
            Some(description) => Err(invalid(format!("`{subject}`: {description}"))),
            None => Ok(value),
        }
    }

    /// Returns the first message of a stream at or after a sequence, without a consumer: a work
    /// queue takes none but its workers.
    pub async fn message_from(&mut self, stream: &str, seq: u64) -> Result<Option<StreamMessage>> {
        let wanted = json!({ "seq": seq.max(1), "next_by_subj": ">" });
        let answer = match self.api(&format!("STREAM.MSG.GET.{stream}"), &wanted).await {
            Ok(answer) => answer,
            Err(error) if error.to_string().ends_with("no message found") => return Ok(None),
            Err(error) => return Err(error),
        };
        let message = &answer["message"];
        let text = |key: &str| message[key].as_str().unwrap_or_default();
        let bytes = |key: &str| STANDARD.decode(text(key)).map(Bytes::from);
        let time: jiff::Timestamp = text("time").parse().map_err(|_| invalid("no time"))?;
        let time = i64::try_from(time.as_nanosecond());
        let delivery = Delivery {
            subject: Bytes::copy_from_slice(text("subject").as_bytes()),
            reply: Bytes::new(),
            headers: bytes("hdrs").map_err(|e| invalid(e.to_string()))?,
            payload: bytes("data").map_err(|e| invalid(e.to_string()))?,
            sid: 0,
        };
        Ok(Some(StreamMessage {
            seq: message["seq"].as_u64().ok_or_else(|| invalid("no sequence"))?,
            time: time.map_err(|_| invalid("a time beyond the year 2262"))?,
            pending: 0,
            delivery,
        }))
    }

    /// Returns the subject below which answers come to this connection.
    pub fn inbox(&self) -> &str {
        &self.inbox
    }

    /// Publishes a message; the answer goes to `reply`.
    pub async fn publish(&mut self, subject: &str, reply: &str, body: &[u8]) -> Result<()> {
        let mut bytes = format!("PUB {subject} {reply} {}\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        bytes.extend_from_slice(b"\r\n");
        self.stream.write_all(&bytes).await
    }

    /// Opens a reader of a stream: an ephemeral consumer that acknowledges nothing.
    pub async fn read(mut self, stream: &str, from: From) -> Result<Reader> {
        let name = self.consumer(stream, from).await?["name"].as_str().map(str::to_owned);
        self.reader(stream, &name.unwrap_or_default()).await
    }

    /// Opens a reader of one server's replica of a stream: the messages on that server's disk.
    pub async fn read_replica(mut self, stream: &str, server: &str, from: From) -> Result<Reader> {
        for _ in 0..TRIES {
            let made = self.consumer(stream, from).await?;
            let name = made["name"].as_str().unwrap_or_default();
            if made["cluster"]["leader"] == server {
                return self.reader(stream, name).await;
            }
            self.api(&format!("CONSUMER.DELETE.{stream}.{name}"), &Value::Null).await?;
        }
        Err(invalid(format!("`{server}` takes no consumer of `{stream}`")))
    }

    async fn consumer(&mut self, stream: &str, from: From) -> Result<Value> {
        let name = format!("oracle-{:016x}", rand::random::<u64>());
        let mut config = json!({
            "name": name, "ack_policy": "none", "replay_policy": "instant", "mem_storage": true,
            "inactive_threshold": 60_000_000_000_u64, "max_waiting": 16, "num_replicas": 1,
        });
        match from {
            From::Start => config["deliver_policy"] = "all".into(),
            From::Sequence(seq) => {
                config["deliver_policy"] = "by_start_sequence".into();
                config["opt_start_seq"] = seq.max(1).into();
            }
            From::Time(nanos) => {
                let time = jiff::Timestamp::from_nanosecond(nanos.into())
                    .map_err(|e| invalid(e.to_string()))?;
                config["deliver_policy"] = "by_start_time".into();
                config["opt_start_time"] = time.to_string().into();
            }
        }
        let body = json!({ "stream_name": stream, "config": config });
        self.api(&format!("CONSUMER.CREATE.{stream}.{name}"), &body).await
    }

    async fn reader(mut self, stream: &str, name: &str) -> Result<Reader> {
        let subscribe = format!("SUB {0}-2.* 2\r\nSUB {0}-3.* 3\r\n", self.inbox);
        self.stream.write_all(subscribe.as_bytes()).await?;
        let of = format!("{stream}.{name}");
        let next = format!("$JS.API.CONSUMER.MSG.NEXT.{of}");
        Ok(Reader { wire: self, of, next, left: [0; 2], pulls: [0; 2], unheard: 0 })
    }
}

/// A reader of a stream in order.
#[derive(Debug)]
pub struct Reader {
    wire: Wire,
    /// The stream and its consumer.
    of: String,
    next: String,
    /// The messages left of the two pulls in flight. Two, so that the server never waits for one;
    /// each with a subscription of its own, because a delivery names its pull in no other way.
    left: [u64; 2],
    /// The number of pulls so far. A status may come for one that has ended already.
    pulls: [u64; 2],
    /// The number of pulls in a row that found no listener.
    unheard: u32,
}

impl Reader {
    /// Deletes the consumer at once. That of a dropped reader lives for another minute, and
    /// meanwhile a stream with interest retention keeps new messages.
    pub async fn end(mut self) -> Result<()> {
        let subject = format!("CONSUMER.DELETE.{}", self.of);
        self.wire.api(&subject, &Value::Null).await.map(drop)
    }

    fn reply(&self, slot: usize) -> String {
        format!("{}-{}.{}", self.wire.inbox, slot + 2, self.pulls[slot])
    }

    /// Returns the next message of the stream; waits until one comes. Fails if the server is
    /// silent.
    pub async fn next(&mut self) -> Result<StreamMessage> {
        loop {
            for slot in 0..2 {
                if self.left[slot] == 0 {
                    let pull = json!({
                        "batch": BATCH, "max_bytes": BATCH_BYTES, "expires": 5_000_000_000_u64,
                        "idle_heartbeat": 1_000_000_000_u64,
                    });
                    self.pulls[slot] += 1;
                    let reply = self.reply(slot);
                    self.wire.publish(&self.next, &reply, pull.to_string().as_bytes()).await?;
                    self.left[slot] = BATCH;
                }
            }
            let delivery = tokio::time::timeout(SILENCE, self.wire.next()).await;
            let delivery = delivery.map_err(|_| Error::from(ErrorKind::TimedOut))??;
            let Some(slot) = usize::from(delivery.sid).checked_sub(2).filter(|s| *s < 2) else {
                continue;
            };
            if delivery.reply.starts_with(b"$JS.ACK.") {
                let [seq, time, pending] = place(&delivery.reply)?;
                self.left[slot] -= 1;
                self.unheard = 0;
                let time = time.try_into().map_err(|_| invalid("a time beyond the year 2262"))?;
                return Ok(StreamMessage { seq, time, pending, delivery });
            }
            if delivery.subject != self.reply(slot).as_bytes() {
                continue;
            }
            match status(&delivery.headers) {
                // The pull has ended: too old, or enough bytes.
                Some(408 | 409) => self.left[slot] = 0,
                Some(100) | None => {}
                // In a cluster news of a new consumer's subject may arrive after the consumer.
                Some(503) if self.unheard < UNHEARD_AT_MOST => {
                    self.unheard += 1;
                    self.left[slot] = 0;
                    tokio::time::sleep(UNHEARD_PAUSE).await;
                }
                Some(code) => {
                    return Err(invalid(format!("the server answers a pull with {code}")));
                }
            }
        }
    }
}

/// Parses sequence, time and pending count from the reply subject of a delivery in both of its
/// forms.
fn place(reply: &[u8]) -> Result<[u64; 3]> {
    let text = String::from_utf8_lossy(reply);
    let tokens: Vec<&str> = text.split('.').collect();
    // $JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>; newer
    // servers may put domain and account before the stream, and a token after the end.
    let first = match tokens.len() {
        9 => 5,
        11.. => 7,
        _ => return Err(invalid(format!("`{text}` names no sequence"))),
    };
    let number =
        |at: usize| tokens[at].parse().map_err(|_| invalid(format!("`{text}` names no sequence")));
    Ok([number(first)?, number(first + 2)?, number(first + 3)?])
}

/// Returns the status of a header block, or `None` without one.
fn status(headers: &[u8]) -> Option<u16> {
    let line = headers.strip_prefix(b"NATS/1.0 ")?;
    std::str::from_utf8(line.get(..3)?).ok()?.parse().ok()
}
