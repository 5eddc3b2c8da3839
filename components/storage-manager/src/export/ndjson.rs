//! A JSON object a line.

use std::collections::BTreeMap;
use std::io;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::{Place, Sink, headers};
use crate::segment::Message;

/// A message as JSON: `seq`, `time` (RFC 3339, nanoseconds), `subject`, `headers` (name to values; absent where there
/// are none), `payload`. What is not UTF-8, or no block of headers, is Base64 under `subject_base64`, `headers_base64`,
/// `payload_base64`.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a>(pub Message<'a>);

impl Serialize for Record<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Message { seq, subject, headers: block, payload, .. } = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("seq", &seq)?;
        map.serialize_entry("time", &self.0.timestamp())?;
        match std::str::from_utf8(subject) {
            Ok(subject) => map.serialize_entry("subject", subject)?,
            Err(_) => map.serialize_entry("subject_base64", &STANDARD.encode(subject))?,
        }
        match grouped(block) {
            _ if block.is_empty() => {}
            Some(headers) => map.serialize_entry("headers", &headers)?,
            None => map.serialize_entry("headers_base64", &STANDARD.encode(block))?,
        }
        match std::str::from_utf8(payload) {
            Ok(payload) => map.serialize_entry("payload", payload)?,
            Err(_) => map.serialize_entry("payload_base64", &STANDARD.encode(payload))?,
        }
        map.end()
    }
}

/// Returns the values of each name.
pub(super) fn grouped(block: &[u8]) -> Option<BTreeMap<&str, Vec<&str>>> {
    let mut values: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, value) in headers(block)? {
        values.entry(name).or_default().push(value);
    }
    Some(values)
}

pub(super) struct Ndjson<P> {
    place: P,
}

impl<P: Place> Ndjson<P> {
    pub(super) fn new(place: P) -> Self {
        Self { place }
    }
}

impl<P: Place> Sink for Ndjson<P> {
    fn push(&mut self, message: &Message<'_>) -> io::Result<()> {
        serde_json::to_writer(&mut self.place, &Record(*message))?;
        self.place.write_all(b"\n")
    }

    fn finish(self: Box<Self>) -> io::Result<()> {
        self.place.named()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_text_is_text_and_the_rest_is_base64() {
        let headers = &b"NATS/1.0\r\nB: 2\r\nA: 1\r\nB: 3\r\n\r\n"[..];
        let text = Message { seq: 7, time: 1, subject: b"a.b", headers, payload: b"{\"x\":1}" };
        let bytes =
            Message { seq: 8, time: -1, subject: b"a.\xff", headers: b"x", payload: b"\x00\xff" };
        let bare = Message { seq: u64::MAX, headers: b"", payload: b"", ..text };
        let lines = [text, bytes, bare].map(|m| serde_json::to_string(&Record(m)).unwrap());
        insta::assert_snapshot!(lines.join("\n"), @r#"
        {"seq":7,"time":"1970-01-01T00:00:00.000000001Z","subject":"a.b","headers":{"A":["1"],"B":["2","3"]},"payload":"{\"x\":1}"}
        {"seq":8,"time":"1969-12-31T23:59:59.999999999Z","subject_base64":"YS7/","headers_base64":"eA==","payload_base64":"AP8="}
        {"seq":18446744073709551615,"time":"1970-01-01T00:00:00.000000001Z","subject":"a.b","payload":""}
        "#);
    }
}
