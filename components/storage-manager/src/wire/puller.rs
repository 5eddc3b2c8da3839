//! Pulling a stream through a consumer.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::time::Duration;

use cim_runtime::retry::Backoff;
use tokio::time::Instant;

use super::connection::WireError;
use super::delivery::Delivery;
use super::link::{Link, Mail, Subscription};
use super::parse::{Op, parse};
use super::status::{EndReason, Request, RequestEnd, end, status};
use crate::segment::Message;

/// The status of a request that no server takes.
const NO_RESPONDERS: &str = "503";
/// The time that a server may take to answer a request at all.
const ANSWER: Duration = Duration::from_secs(5);
/// The tries and pauses until a new consumer is known everywhere.
const PROBES: u32 = 8;
const PAUSES: Backoff =
    Backoff { first: Duration::from_millis(100), most: Duration::from_millis(3200) };

/// Reads one stream's messages through one pull consumer.
pub struct Puller {
    subscription: Subscription,
    stream: String,
    consumer: String,
    asks: String,
    requests: VecDeque<Request>,
    next_request: u64,
    /// The consumer's count of the delivery that is due.
    next_delivery: u64,
    last_seq: u64,
    /// True if messages may come again.
    repeats: bool,
    /// The beginning of every acknowledgement.
    acks: String,
}

/// The number of messages to ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PullRequest {
    /// Up to so many messages.
    pub messages: u64,
    /// Of together up to so many bytes.
    pub bytes: Option<usize>,
    /// The time that the server may wait for them.
    pub expires: Duration,
    /// The pace of the server's heartbeats.
    pub heartbeat: Option<Duration>,
    /// True if it is to end when there are no more, instead of waiting for some.
    pub at_once: bool,
}

/// The content of a letter.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct PollOutcome {
    /// Messages handed over.
    pub messages: usize,
    /// Requests that ended.
    pub ended: Vec<RequestEnd>,
}

impl Puller {
    /// Subscribes to a new consumer of its own, which delivers messages from `start_seq` on.
    pub async fn start(
        link: &Link,
        stream: &str,
        consumer: &str,
        start_seq: u64,
    ) -> Result<Self, WireError> {
        let asks = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        Ok(Self {
            subscription: link.subscribe(&asks).await?,
            stream: stream.into(),
            consumer: consumer.into(),
            asks,
            requests: VecDeque::new(),
            next_request: 0,
            next_delivery: 1,
            last_seq: start_seq.saturating_sub(1),
            repeats: false,
            acks: format!("$JS.ACK.{stream}.{consumer}."),
        })
    }

    /// Subscribes to a consumer that has delivered so many messages before, and may deliver them again.
    pub async fn resume(
        link: &Link,
        stream: &str,
        consumer: &str,
        delivered: u64,
    ) -> Result<Self, WireError> {
        let started = Self::start(link, stream, consumer, 0).await?;
        Ok(Self { next_delivery: delivered + 1, repeats: true, ..started })
    }

    /// Waits until the server that this is connected to knows of the consumer, which is new and may be on another one
    /// of the cluster: until then it says that no server takes a request.
    pub async fn wait_until_known(&mut self) -> Result<(), WireError> {
        // No message is so small: none comes.
        let (messages, bytes, expires) = (1, Some(1), ANSWER);
        let ask = PullRequest { messages, bytes, expires, heartbeat: None, at_once: true };
        for look in 1..=PROBES {
            self.request(&ask)?;
            while !self.requests.is_empty() {
                let mail = tokio::time::timeout(ANSWER, self.receive()).await;
                let mail = mail.map_err(|_| self.restart("it says nothing".into()))??;
                match self.for_each_message(&mail, |_| ()) {
                    Ok(_) => {}
                    Err(WireError::Restart { why, .. }) if why.starts_with(NO_RESPONDERS) => {
                        self.requests.clear();
                        tokio::time::sleep(PAUSES.after(look)).await;
                        break;
                    }
                    Err(error) => return Err(error),
                }
                if self.requests.is_empty() {
                    return Ok(());
                }
            }
        }
        Err(self.restart(format!("{NO_RESPONDERS}: no server takes its requests")))
    }

    /// Acknowledges a message: its sequence, and the consumer's count of it.
    pub fn acknowledge(&self, seq: u64, count: u64) -> Result<(), WireError> {
        self.subscription.send(format!("PUB {}1.{seq}.{count}.0.0 4\r\n+ACK\r\n", self.acks))
    }

    /// Returns the largest payload that the server takes, in bytes.
    pub fn max_payload(&self) -> usize {
        self.subscription.max_payload()
    }

    /// Returns the last sequence that was handed over, or the one before the first that is due.
    pub fn last_seq(&self) -> u64 {
        self.last_seq
    }

    /// Returns the number of messages that were handed over.
    pub fn delivered(&self) -> u64 {
        self.next_delivery - 1
    }

    /// Returns the number of readers that share the connection.
    pub fn readers(&self) -> usize {
        self.subscription.readers()
    }

    /// Returns the number of open requests.
    pub fn open_requests(&self) -> usize {
        self.requests.len()
    }

    /// Asks.
    pub fn request(&mut self, ask: &PullRequest) -> Result<(), WireError> {
        let id = self.next_request;
        self.next_request += 1;
        let mut body =
            format!("{{\"batch\":{},\"expires\":{}", ask.messages, ask.expires.as_nanos());
        if let Some(bytes) = ask.bytes {
            write!(body, ",\"max_bytes\":{bytes}").expect("it is a text");
        }
        if let Some(heartbeat) = ask.heartbeat {
            write!(body, ",\"idle_heartbeat\":{}", heartbeat.as_nanos()).expect("it is a text");
        }
        body.push_str(if ask.at_once { ",\"no_wait\":true}" } else { "}" });
        let (asks, inbox) = (&self.asks, self.subscription.inbox());
        self.subscription.send(format!("PUB {asks} {inbox}.{id} {}\r\n{body}\r\n", body.len()))?;
        let since = Instant::now();
        let (room, bytes) = (ask.messages, ask.bytes);
        self.requests.push_back(Request { id, room, bytes, had: 0, since });
        Ok(())
    }

    /// Waits for the next messages. Cancelling it loses nothing.
    pub async fn receive(&mut self) -> Result<Mail, WireError> {
        self.subscription.receive().await
    }

    /// Hands every message of a letter to `sink`, in the order in which they came.
    pub fn for_each_message(
        &mut self,
        mail: &Mail,
        mut sink: impl FnMut(Message<'_>),
    ) -> Result<PollOutcome, WireError> {
        let mut outcome = PollOutcome::default();
        let mut rest = mail.bytes.as_slice();
        while let Some((op, used)) = parse(rest)? {
            rest = &rest[used..];
            let Op::Msg { subject, reply, headers, payload, .. } = op else { continue };
            let inbox = self.subscription.inbox().as_bytes();
            if let Some(suffix) = subject.strip_prefix(inbox).filter(|_| reply.is_empty()) {
                let ended = status(suffix, headers, &mut self.requests);
                outcome.ended.extend(ended.map_err(|why| self.restart(why))?);
                continue;
            }
            let delivery = self.delivery(reply)?;
            let counted = subject.len() + reply.len() + headers.len() + payload.len();
            outcome.ended.extend(self.count(counted));
            outcome.messages += 1;
            let (seq, time) = (delivery.stream_seq, delivery.time);
            sink(Message { seq, time, subject, headers, payload });
        }
        Ok(outcome)
    }

    /// Reads and checks a delivery: it is this consumer's, and the next one.
    fn delivery<'a>(&mut self, reply: &'a [u8]) -> Result<Delivery<'a>, WireError> {
        let ours = |d: &Delivery<'_>| d.stream == self.stream && d.consumer == self.consumer;
        let Some(delivery) = Delivery::parse(reply).filter(ours) else {
            let reply = String::from_utf8_lossy(reply);
            return Err(self.restart(format!("`{reply}` is not a delivery of its consumer's")));
        };
        let (got, due) = (delivery.consumer_seq, self.next_delivery);
        if got != due {
            return Err(self.restart(format!("delivery {got} came where {due} was due")));
        }
        if delivery.stream_seq <= self.last_seq && !self.repeats {
            let (seq, last) = (delivery.stream_seq, self.last_seq);
            return Err(self.restart(format!("sequence {seq} came after {last}")));
        }
        self.next_delivery = got + 1;
        self.last_seq = self.last_seq.max(delivery.stream_seq);
        if self.acks != delivery.prefix {
            delivery.prefix.clone_into(&mut self.acks);
        }
        Ok(delivery)
    }

    /// Counts a message for the request that it answers: they are served in order, so it is the first
    /// that still has room. Of one whose bytes a message uses up to the last the server says nothing: it has
    /// no room for more.
    fn count(&mut self, bytes: usize) -> Option<RequestEnd> {
        let request = self.requests.front_mut()?;
        request.had += 1;
        request.room = request.room.saturating_sub(1);
        request.bytes = request.bytes.map(|room| room.saturating_sub(bytes));
        if request.room > 0 && request.bytes != Some(0) {
            return None;
        }
        end(&mut self.requests, 0, EndReason::Full)
    }

    fn restart(&self, why: String) -> WireError {
        WireError::Restart { stream: self.stream.clone(), why }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
    use tokio::net::TcpListener;

    use super::*;

    /// Returns what a reader of consumer `c` of stream `S` from sequence 5 on makes of what a server sends to it.
    async fn reads(sent: &'static str) -> Result<Vec<u64>, WireError> {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let config = format!("url = \"nats://{}\"\n", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let mut socket = BufReader::new(listener.accept().await.unwrap().0);
            socket.write_all(b"INFO {}\r\n").await.unwrap();
            let mut line = String::new();
            while socket.read_line(&mut line).await.unwrap() > 0 {
                if line.starts_with("PING") {
                    socket.write_all(b"PONG\r\n").await.unwrap();
                } else if let Some(rest) = line.strip_prefix("SUB ") {
                    let sid = rest.trim().rsplit(' ').next().unwrap();
                    socket.write_all(sent.replace("SID", sid).as_bytes()).await.unwrap();
                }
                line.clear();
            }
        });
        let config = cim_runtime::config::parse(Path::new("nats.toml"), &config).unwrap();
        let link = Link::new(config);
        let mut puller = Puller::start(&link, "S", "c", 5).await?;
        let mut found = Vec::new();
        while found.is_empty() {
            let mail = puller.receive().await?;
            puller.for_each_message(&mail, |message| found.push(message.seq))?;
        }
        drop((puller, link));
        server.await.unwrap();
        Ok(found)
    }

    #[tokio::test]
    async fn only_what_is_its_own_and_next_is_a_message() {
        let of_others = "MSG a 999 $JS.ACK.S.c.1.900.1.1.0 1\r\nx\r\n\
             MSG a SID $JS.ACK.S.c.1.5.1.1.0 1\r\nx\r\n";
        assert_eq!(reads(of_others).await.unwrap(), [5]);
        for (forged, why) in [
            ("MSG a SID $JS.ACK.T.c.1.5.1.1.0 1\r\nx\r\n", "is not a delivery of its consumer's"),
            ("MSG a SID $JS.ACK.S.d.1.5.1.1.0 1\r\nx\r\n", "is not a delivery of its consumer's"),
            ("MSG a SID 1\r\nx\r\n", "is not a delivery of its consumer's"),
            ("MSG a SID $JS.ACK.S.c.1.5.2.1.0 1\r\nx\r\n", "delivery 2 came where 1 was due"),
            ("MSG a SID $JS.ACK.S.c.1.4.1.1.0 1\r\nx\r\n", "sequence 4 came after 4"),
        ] {
            let error = reads(forged).await.unwrap_err().to_string();
            assert!(error.contains(why), "{forged}: {error}");
        }
    }
}
