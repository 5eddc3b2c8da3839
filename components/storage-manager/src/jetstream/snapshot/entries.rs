//! The beginning of a v2 snapshot: the stream's state, and its consumers (nats-server `server/stream_backup.go`).

use std::collections::BTreeMap;

use cim_core::archive::{ANCHOR, Deliveries, Pending, Position, Redelivered};
use cim_core::names::ConsumerName;
use serde::Deserialize;

pub(super) const MAGIC: &[u8] = b"NATSARC1";

/// The state of each consumer.
pub(super) type Known = BTreeMap<ConsumerName, Deliveries>;

/// Why that cannot be said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Unread {
    /// More has to come.
    Short,
    /// It is no v2 snapshot.
    Old,
    /// It makes no sense.
    Strange(String),
}

#[derive(Deserialize)]
struct State {
    consumer_count: usize,
}

#[derive(Deserialize)]
struct Consumer {
    state: ConsumerState,
}

#[derive(Deserialize)]
struct ConsumerState {
    delivered: Position,
    ack_floor: Position,
    #[serde(default)]
    pending: BTreeMap<u64, PendingState>,
    #[serde(default)]
    redelivered: BTreeMap<u64, u64>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct PendingState {
    sequence: u64,
    timestamp: i64,
}

/// Reads an LEB128 number, as Go's `binary.Uvarint`; `None` if it is cut off or too large.
pub(super) fn uvarint(bytes: &mut &[u8]) -> Option<u64> {
    let mut number = 0;
    for shift in (0..64).step_by(7) {
        let (byte, rest) = bytes.split_first()?;
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            return Some(number);
        }
    }
    None
}

/// Writes an LEB128 number.
#[cfg(test)]
pub(super) fn put_uvarint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

/// Takes an entry: its name and its content.
fn entry<'a>(bytes: &mut &'a [u8]) -> Option<(&'a [u8], &'a [u8])> {
    let name = uvarint(bytes)?;
    let _time = uvarint(bytes)?;
    let _seq = uvarint(bytes)?;
    let size = uvarint(bytes)?.checked_add(uvarint(bytes)?)?;
    let mut take = |count: u64| {
        let (taken, rest) = bytes.split_at_checked(usize::try_from(count).ok()?)?;
        *bytes = rest;
        Some(taken)
    };
    Some((take(name)?, take(size)?))
}

/// Reads what a snapshot says of consumers, as soon as all of that is there.
pub(super) fn consumers(bytes: &[u8]) -> Result<Known, Unread> {
    let strange = |what: &str| Unread::Strange(what.to_owned());
    if !bytes.starts_with(&MAGIC[..MAGIC.len().min(bytes.len())]) {
        return Err(Unread::Old);
    }
    let mut rest = bytes.get(MAGIC.len()..).ok_or(Unread::Short)?;
    let (name, state) = entry(&mut rest).ok_or(Unread::Short)?;
    if name != b"state.json" {
        return Err(strange("it does not begin with the stream's state"));
    }
    let state: State =
        serde_json::from_slice(state).map_err(|error| strange(&error.to_string()))?;
    let mut known = Known::new();
    for _ in 0..state.consumer_count {
        let (name, content) = entry(&mut rest).ok_or(Unread::Short)?;
        let name = std::str::from_utf8(name).ok().and_then(|name| name.strip_prefix("consumers/"));
        let name = name.ok_or_else(|| strange("something else stands among the consumers"))?;
        // The archive names none that it cannot name, and none of the storage manager's own.
        let Ok(name) = ConsumerName::new(name) else { continue };
        if name.as_str().starts_with(ANCHOR) {
            continue;
        }
        let Consumer { state } =
            serde_json::from_slice(content).map_err(|error| strange(&error.to_string()))?;
        known.insert(name, state.deliveries());
    }
    Ok(known)
}

impl ConsumerState {
    fn deliveries(self) -> Deliveries {
        let pending = self.pending.into_iter().map(|(stream_seq, of)| Pending {
            stream_seq,
            consumer_seq: of.sequence,
            time: of.timestamp.div_euclid(1_000_000_000),
        });
        let redelivered = self
            .redelivered
            .into_iter()
            .map(|(stream_seq, times)| Redelivered { stream_seq, times });
        Deliveries::of(self.delivered, self.ack_floor, pending.collect(), redelivered.collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(bytes: &mut Vec<u8>, name: &str, content: &str) {
        for number in [name.len() as u64, 3_000_000_000, 0, 0, content.len() as u64] {
            put_uvarint(bytes, number);
        }
        bytes.extend_from_slice(name.as_bytes());
        bytes.extend_from_slice(content.as_bytes());
    }

    #[test]
    fn consumers_are_read_as_soon_as_they_are_there() {
        let mut bytes = MAGIC.to_vec();
        put(&mut bytes, "state.json", r#"{"messages":9,"consumer_count":2}"#);
        let position = r#"{"consumer_seq":3,"stream_seq":7}"#;
        let state = format!(
            r#"{{"delivered":{position},"ack_floor":{position},"pending":{{"8":{{"Sequence":9,"Timestamp":5999999999}}}},"redelivered":{{"1":2}}}}"#
        );
        let consumer = format!(r#"{{"config":{{"name":"a"}},"state":{state}}}"#);
        put(&mut bytes, "consumers/a", &consumer);
        put(&mut bytes, &format!("consumers/{ANCHOR}archive"), &consumer);
        let whole = bytes.len();
        put(&mut bytes, "a.message", "and its payload");
        let known = consumers(&bytes).unwrap();
        let found: Vec<_> = known.keys().map(ConsumerName::as_str).collect();
        assert_eq!(found, ["a"]);
        let found = serde_json::to_value(&known["a"]).unwrap();
        assert_eq!(found["pending"], serde_json::json!([[8, 1, 9, 5]]));
        assert_eq!(found["redelivered"], serde_json::json!([[1, 1, 2]]));
        assert!((0..whole).all(|cut| consumers(&bytes[..cut]) == Err(Unread::Short)));
        assert_eq!(consumers(b"meta.inf"), Err(Unread::Old));
    }
}
