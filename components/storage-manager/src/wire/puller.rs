//! Pulling a stream through a consumer that acknowledges nothing.

use std::collections::VecDeque;
use std::str;

use cim_runtime::nats::InboxPrefix;

use super::connection::{Connection, WireError};
use super::parse::Op;
use crate::segment::Message;

/// Reads one stream's messages through one pull consumer.
pub struct Puller {
    connection: Connection,
    stream: String,
    subject: String,
    inbox: String,
    requests: VecDeque<Request>,
    next_request: u64,
    next_delivery: u64,
}

struct Request {
    id: u64,
    messages: u64,
}

/// What a pump brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pumped {
    /// Messages handed over.
    pub messages: usize,
    /// Requests that ended because the next message did not fit in their size.
    pub too_small: usize,
    /// Requests that ended, for whatever reason.
    pub ended: usize,
}

impl Puller {
    /// Subscribes. `consumer` exists, is new, and is nobody else's.
    pub async fn start(
        mut connection: Connection,
        prefix: &InboxPrefix,
        stream: &str,
        consumer: &str,
    ) -> Result<Self, WireError> {
        let inbox = format!("{prefix}.{}", uuid::Uuid::now_v7().simple());
        connection.send(format!("SUB {inbox}.* 1\r\n").as_bytes()).await?;
        Ok(Self {
            connection,
            stream: stream.into(),
            subject: format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"),
            inbox,
            requests: VecDeque::new(),
            next_request: 0,
            next_delivery: 1,
        })
    }

    /// The largest payload that the server takes, in bytes.
    pub fn max_payload(&self) -> usize {
        self.connection.max_payload
    }

    /// Requests that are open.
    pub fn open_requests(&self) -> usize {
        self.requests.len()
    }

    /// Asks for up to `messages` messages of together up to `bytes` bytes, for `seconds` seconds, in
    /// which the server is to say every second that it has not forgotten.
    pub async fn request(
        &mut self,
        messages: u64,
        bytes: usize,
        seconds: u64,
    ) -> Result<(), WireError> {
        let id = self.next_request;
        self.next_request += 1;
        let expires = seconds * 1_000_000_000;
        let body = format!(
            "{{\"batch\":{messages},\"max_bytes\":{bytes},\"expires\":{expires},\
             \"idle_heartbeat\":1000000000}}"
        );
        let line = format!("PUB {} {}.{id} {}\r\n{body}\r\n", self.subject, self.inbox, body.len());
        self.connection.send(line.as_bytes()).await?;
        self.requests.push_back(Request { id, messages });
        Ok(())
    }

    /// Waits for bytes and hands every message among them to `sink`. Cancelling it loses nothing.
    pub async fn pump(&mut self, mut sink: impl FnMut(Message<'_>)) -> Result<Pumped, WireError> {
        self.connection.fill().await?;
        let mut pumped = Pumped::default();
        let Self { connection, requests, next_delivery, stream, inbox, .. } = self;
        let restart = |why: String| WireError::Restart { stream: stream.clone(), why };
        let pings = connection.drain(|op| {
            let Op::Msg { subject, reply, headers, payload } = op else { return Ok(()) };
            if reply.is_empty() && subject.starts_with(inbox.as_bytes()) {
                return status(&subject[inbox.len()..], headers, requests, &mut pumped)
                    .map_err(restart);
            }
            let Some(delivery) = Delivery::parse(reply) else {
                let reply = String::from_utf8_lossy(reply);
                return Err(restart(format!("`{reply}` is not a delivery of JetStream's")));
            };
            if delivery.consumer_seq != *next_delivery {
                let got = delivery.consumer_seq;
                return Err(restart(format!("delivery {got} came where {next_delivery} was due")));
            }
            *next_delivery += 1;
            // Requests are served in order, so the first that still expects a message got this one.
            if let Some(request) = requests.front_mut() {
                request.messages -= 1;
                if request.messages == 0 {
                    requests.pop_front();
                    pumped.ended += 1;
                }
            }
            pumped.messages += 1;
            sink(Message {
                seq: delivery.stream_seq,
                time: delivery.time,
                subject,
                headers,
                payload,
            });
            Ok(())
        })?;
        for _ in 0..pings {
            self.connection.send(b"PONG\r\n").await?;
        }
        Ok(pumped)
    }
}

/// A status for one request: 404 and 408 are its ordinary end, 409 may be.
fn status(
    suffix: &[u8],
    headers: &[u8],
    requests: &mut VecDeque<Request>,
    pumped: &mut Pumped,
) -> Result<(), String> {
    let line = headers.split(|b| *b == b'\r').next().unwrap_or_default();
    let line = String::from_utf8_lossy(line);
    let status = line.strip_prefix("NATS/1.0").unwrap_or_default().trim();
    let id: Option<u64> =
        str::from_utf8(suffix).ok().and_then(|s| s.trim_start_matches('.').parse().ok());
    let (code, text) = status.split_once(' ').unwrap_or((status, ""));
    let lower = text.to_ascii_lowercase();
    match code {
        "100" => return Ok(()),
        "404" | "408" => {}
        "409" if lower.contains("maxbytes") => pumped.too_small += 1,
        // All of its messages came, and they were smaller than it had room for.
        "409" if lower == "batch completed" => {}
        "409" if lower.contains("leadership") || lower.contains("shutdown") => {
            return Err(status.into());
        }
        _ => return Err(status.into()),
    }
    if let Some(at) = requests.iter().position(|r| Some(r.id) == id) {
        requests.remove(at);
        pumped.ended += 1;
    }
    Ok(())
}

/// What a delivery's reply subject says:
/// `$JS.ACK.<stream>.<consumer>.<delivered>.<stream seq>.<consumer seq>.<time>.<pending>`, with a
/// domain and an account hash before the stream in newer servers.
struct Delivery {
    stream_seq: u64,
    consumer_seq: u64,
    time: i64,
}

impl Delivery {
    fn parse(reply: &[u8]) -> Option<Self> {
        let reply = str::from_utf8(reply.strip_prefix(b"$JS.ACK.")?).ok()?;
        let mut tokens = [""; 10];
        let mut count = 0;
        for token in reply.split('.') {
            // The last token of the newer form is random and of no use.
            if let Some(place) = tokens.get_mut(count) {
                *place = token;
            }
            count += 1;
        }
        let numbers = match count {
            7 => &tokens[3..6],
            9.. => &tokens[5..8],
            _ => return None,
        };
        Some(Self {
            stream_seq: numbers[0].parse().ok()?,
            consumer_seq: numbers[1].parse().ok()?,
            time: numbers[2].parse().ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(line: &str, request: &str) -> Result<(usize, Pumped), String> {
        let mut requests: VecDeque<_> =
            [7, 8].map(|id| Request { id, messages: 1 }).into_iter().collect();
        let mut pumped = Pumped::default();
        let headers = format!("NATS/1.0 {line}\r\nNats-Pending-Messages: 0\r\n\r\n");
        status(request.as_bytes(), headers.as_bytes(), &mut requests, &mut pumped)?;
        Ok((requests.len(), pumped))
    }

    #[test]
    fn what_ends_a_request_does_not_end_reading() {
        let ended = Pumped { ended: 1, ..Pumped::default() };
        for line in ["404 No Messages", "408 Request Timeout", "409 Batch Completed"] {
            assert_eq!(told(line, ".7"), Ok((1, ended)), "{line}");
            // It had all of its messages, so it is not waited for any more.
            assert_eq!(told(line, ".6"), Ok((2, Pumped::default())), "{line}");
        }
        let too_small = Pumped { too_small: 1, ..ended };
        assert_eq!(told("409 Message Size Exceeds MaxBytes", ".8"), Ok((1, too_small)));
        assert_eq!(told("100 Idle Heartbeat", ".7"), Ok((2, Pumped::default())));
    }

    #[test]
    fn what_ends_the_consumer_does() {
        for line in [
            "409 Leadership Change",
            "409 Server Shutdown",
            "409 Consumer Deleted",
            "409 Exceeded MaxWaiting",
            "503",
        ] {
            assert_eq!(told(line, ".7"), Err(line.to_owned()));
        }
    }
}
