//! A message's fingerprint: everything the judge compares, in a few machine words.

use sha2::{Digest as _, Sha256};

use crate::ledger::EventId;
use crate::workload::{Content, event};

/// The fingerprint of a message, independent of where it was read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// Its sequence.
    pub seq: u64,
    /// The time at which it was stored, in nanoseconds since 1970.
    pub time: i64,
    /// The event whose number is in its payload.
    pub event: Option<EventId>,
    /// Its content.
    pub content: ContentHash,
    /// The hash of the raw header block, which the client library would reorder.
    pub raw_headers: u64,
    /// The bytes that a server counts for it.
    pub stored: u32,
    /// The message's sequence in the stream that this one copied it from, as the server wrote it
    /// into the headers; 0 for a message that was not copied.
    pub source: u64,
}

/// The header in which a stream that copies from another names the original message: `<stream>
/// <sequence> <filter> <transform> <subject>`.
const SOURCE: &[u8] = b"Nats-Stream-Source";

/// The fingerprint of an event's content: 64 bits of a SHA-256 of each part.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ContentHash {
    /// The subject's hash.
    pub subject: u64,
    /// The headers' hash, independent of their order; the order of the values of one name counts.
    pub headers: u64,
    /// The payload's hash.
    pub payload: u64,
}

impl Fingerprint {
    /// Returns the fingerprint of a message that was read.
    pub fn of(seed: u64, seq: u64, time: i64, parts: &Parts<'_>) -> Self {
        let (from, lines): (Vec<_>, Vec<_>) =
            header_lines(parts.headers).into_iter().partition(|line| name_of(line) == SOURCE);
        let source = from.first().and_then(|line| source_seq(line)).unwrap_or_default();
        let content = ContentHash {
            subject: hash([parts.subject]),
            headers: hash(lines),
            payload: hash([parts.payload]),
        };
        let event = event::identity(seed, parts.payload);
        let raw_headers = hash([parts.headers]);
        Self { seq, time, event, content, raw_headers, stored: stored(parts), source }
    }
}

/// A message's parts as bytes.
#[derive(Debug, Clone, Copy)]
pub struct Parts<'a> {
    /// The subject.
    pub subject: &'a [u8],
    /// The raw header block; empty when there is none.
    pub headers: &'a [u8],
    /// The payload.
    pub payload: &'a [u8],
}

impl ContentHash {
    /// Returns the fingerprint of an event that was published.
    pub fn of(content: &Content) -> Self {
        let mut lines: Vec<_> =
            content.headers.iter().map(|(name, value)| format!("{name}: {value}")).collect();
        lines.sort_by(|a, b| name_of(a.as_bytes()).cmp(name_of(b.as_bytes())));
        Self {
            subject: hash([content.subject.as_bytes()]),
            headers: hash(lines.iter().map(String::as_bytes)),
            payload: hash([content.payload.as_ref()]),
        }
    }
}

/// Returns a record's length in a server's file.
fn stored(parts: &Parts<'_>) -> u32 {
    let headers = if parts.headers.is_empty() { 0 } else { 4 + parts.headers.len() };
    let length = 30 + parts.subject.len() + headers + parts.payload.len();
    u32::try_from(length).unwrap_or(u32::MAX)
}

/// Returns the lines of a header block without its first, sorted by name.
fn header_lines(block: &[u8]) -> Vec<&[u8]> {
    let mut lines: Vec<&[u8]> = block
        .split(|b| *b == b'\n')
        .skip(1)
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
        .filter(|line| !line.is_empty())
        .collect();
    lines.sort_by(|a, b| name_of(a).cmp(name_of(b)));
    lines
}

fn source_seq(line: &[u8]) -> Option<u64> {
    let value = line.get(SOURCE.len() + 1..)?;
    let mut words = value.split(|b| *b == b' ').filter(|word| !word.is_empty());
    std::str::from_utf8(words.nth(1)?).ok()?.parse().ok()
}

fn name_of(line: &[u8]) -> &[u8] {
    line.split(|b| *b == b':').next().unwrap_or_default()
}

fn hash<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> u64 {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update((part.len() as u64).to_le_bytes());
        hasher.update(part);
    }
    let digest: [u8; 32] = hasher.finalize().into();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_le_bytes(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(block: &str) -> Fingerprint {
        let parts = Parts { subject: b"s", headers: block.as_bytes(), payload: b"p" };
        Fingerprint::of(1, 1, 1, &parts)
    }

    #[test]
    fn the_order_of_headers_is_no_difference_but_their_values_are() {
        let one = headers("NATS/1.0\r\nA: 1\r\nB: 2\r\nB: 3\r\n\r\n");
        let other = headers("NATS/1.0\r\nB: 2\r\nB: 3\r\nA: 1\r\n\r\n");
        assert_eq!(one.content, other.content);
        assert_ne!(one.raw_headers, other.raw_headers);
        let swapped = headers("NATS/1.0\r\nA: 1\r\nB: 3\r\nB: 2\r\n\r\n");
        assert_ne!(one.content.headers, swapped.content.headers);
        let merged = headers("NATS/1.0\r\nA: 1\r\nB: 2B: 3\r\n\r\n");
        assert_ne!(one.content.headers, merged.content.headers);
    }

    #[test]
    fn where_a_message_was_taken_from_is_no_part_of_its_content() {
        let taken = headers("NATS/1.0\r\nNats-Stream-Source: FIELD:x 41 > > lab.1\r\nA: 1\r\n\r\n");
        let plain = headers("NATS/1.0\r\nA: 1\r\n\r\n");
        assert_eq!(taken.content, plain.content);
        assert_eq!((taken.source, plain.source), (41, 0));
        assert_ne!(taken.raw_headers, plain.raw_headers);
    }

    #[test]
    fn what_was_published_and_what_is_read_agree() {
        let content = Content {
            subject: "lab.1".into(),
            headers: vec![("B", "2".into()), ("A", "1".into()), ("B", "1".into())],
            payload: bytes::Bytes::from_static(b"p"),
        };
        let parts = Parts {
            subject: b"lab.1",
            headers: b"NATS/1.0\r\nA: 1\r\nB: 2\r\nB: 1\r\n\r\n",
            payload: b"p",
        };
        assert_eq!(Fingerprint::of(1, 1, 1, &parts).content, ContentHash::of(&content));
    }
}
