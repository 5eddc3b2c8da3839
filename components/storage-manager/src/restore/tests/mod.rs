//! Both snapshots, of arbitrary streams, read by parsers that have nothing of the writers.

mod v1;
mod v2;

use std::collections::BTreeMap;
use std::io::{Read as _, Write};

use cim_core::archive::{
    ConsumerRecord, Deliveries, Pending, Position, RawJson, Redelivered, SeqRanges, Sha256,
};
use cim_testing::cases;
use proptest::prelude::*;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::frame::{CHUNK, SnappyFrameWriter};
use super::plan::{Capabilities, Fence, Piece, Plan};
use super::rolled_up::RolledUp;
use crate::segment::Message;

/// A message: sequence, time, subject, headers, payload.
type Row = (u64, i64, Vec<u8>, Vec<u8>, Vec<u8>);

/// A consumer: its name, delivered and acknowledged, each in its own and in the stream's sequence; what is pending, by
/// the stream's sequence, its own and the time; how often what was delivered again.
type Place = (String, [u64; 2], [u64; 2], Vec<(u64, u64, i64)>, Vec<(u64, u64)>);

/// The findings of a parser.
#[derive(Debug)]
struct Found {
    rows: Vec<Row>,
    last_seq: u64,
    consumers: Vec<Place>,
}

/// The input of a writer.
#[derive(Debug, Clone)]
struct Drawn {
    rows: Vec<Row>,
    last_seq: u64,
    /// Sequences behind that one that are not to be given out.
    fence: u64,
    last_time: i64,
    compressed: bool,
    /// Delivered, acknowledged, pending.
    consumers: Vec<([u64; 2], [u64; 2], u64)>,
    /// The first consumer's state of single messages: delivered and acknowledged, and behind that what is pending, and
    /// how often what was delivered again.
    known: Option<Known>,
}

type Known = ([u64; 2], [u64; 2], Vec<(u64, u64, i64)>, Vec<(u64, u64)>);

/// Returns the plan of a stream with this configuration, and nothing else.
pub(super) fn plan_of(config: Value) -> Plan {
    Plan {
        stream: "S".parse().unwrap(),
        target: "T".parse().unwrap(),
        config,
        created: "2026-01-01T00:00:00Z".parse().unwrap(),
        timeline: 1,
        stand_ins: Vec::new(),
        first_seq: 1,
        last_seq: 0,
        given_out: 0,
        followers: Vec::new(),
        fence: None,
        last_time: 0,
        last: None,
        counts: None,
        expired: Vec::new(),
        pieces: Vec::new(),
        removed: SeqRanges::default(),
        tail: None,
        rolled_up: RolledUp::default(),
        partial_batch: None,
        resolved: false,
        deletes_known: None,
        archived_at: "2026-01-01T00:00:00Z".parse().unwrap(),
        until_time: None,
        later: None,
        segments_after: Vec::new(),
        subject: None,
        consumers: Vec::new(),
        deliveries: BTreeMap::new(),
        erased: Vec::new(),
        left_out: Vec::new(),
        staged: false,
        capabilities: Capabilities::default(),
    }
}

/// Returns a segment with so many messages, which came within so many seconds.
pub(super) fn piece(messages: u64, seconds: i64) -> Piece {
    let first = jiff::Timestamp::UNIX_EPOCH;
    let last = first + jiff::SignedDuration::from_secs(seconds);
    let segment = json!({
        "key": "k", "timeline": 1, "first_seq": 1, "last_seq": messages, "first_time": first,
        "last_time": last, "messages": messages, "bytes": messages, "size": 1,
        "sha256": Sha256::of(b""),
        "last": { "seq": messages, "time": last, "sha256": Sha256::of(b"") },
    });
    (serde_json::from_value(segment).unwrap(), 1, messages)
}

fn bytes(longest: usize) -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        3 => Just(Vec::new()),
        10 => prop::collection::vec(any::<u8>(), 1..80),
        1 => (any::<u8>(), 1..longest).prop_map(|(byte, length)| vec![byte; length]),
    ]
}

fn gap() -> impl Strategy<Value = u64> {
    prop_oneof![
        12 => Just(1_u64),
        4 => 2..40_u64,
        2 => 4090..4103_u64,
        1 => 5000..100_000_u64,
        1 => (1_u64 << 40)..(1 << 50),
    ]
}

fn drawn() -> impl Strategy<Value = Drawn> {
    // The server has the two highest bits of a sequence for itself.
    let first = prop_oneof![3 => Just(1_u64), 2 => 2..9000_u64, 2 => (1_u64 << 40)..(1 << 61)];
    let subject = prop::collection::vec(any::<u8>(), 1..60);
    let row = (gap(), any::<i64>(), subject, bytes(70_000), bytes(3 << 20));
    let tail = || prop_oneof![3 => Just(0_u64), 2 => gap()];
    let place = || (0..1000_u64, any::<u64>()).prop_map(|(own, stream)| [own, stream]);
    let consumers = prop::collection::vec((place(), place(), 0..3_u64), 0..3);
    let rows = prop_oneof![1 => Just(Vec::new()), 9 => prop::collection::vec(row, 1..30)];
    let tails = (tail(), tail());
    let more = (any::<i64>(), any::<bool>());
    (first, rows, tails, more, consumers, prop::option::of(known())).prop_map(
        |(first, rows, (tail, fence), (last_time, compressed), consumers, known)| {
            let mut seq = 0;
            let row = |(gap, time, subject, headers, payload)| {
                seq = if seq == 0 { first } else { seq + gap };
                (seq, time, subject, headers, payload)
            };
            let rows: Vec<Row> = rows.into_iter().map(row).collect();
            let last_seq = rows.last().map_or(0, |row| row.0) + tail;
            Drawn { rows, last_seq, fence, last_time, compressed, consumers, known }
        },
    )
}

fn known() -> impl Strategy<Value = Known> {
    let time = -10_000_000_000..10_000_000_000_i64;
    let pending = prop::collection::btree_map(1..9000_u64, (0..999_u64, time), 0..20);
    let again = prop::collection::btree_map(1..9000_u64, 1..9_u64, 0..20);
    (0..9000_u64, 0..2000_u64, pending, again).prop_map(|(floor, own, pending, again)| {
        let of = |(seq, (own, time)): (u64, (u64, i64))| (floor + seq, floor + own, time);
        let pending = pending.into_iter().map(of).collect();
        ([own, 18_000], [floor, floor], pending, again.into_iter().collect())
    })
}

impl Drawn {
    fn plan(&self) -> Plan {
        let position = |[consumer_seq, stream_seq]: [u64; 2]| Position { consumer_seq, stream_seq };
        let consumer =
            |(n, (delivered, ack_floor, ack_pending)): (usize, &([u64; 2], [u64; 2], u64))| {
                ConsumerRecord {
                    name: format!("c{n}").parse().unwrap(),
                    created: "2026-01-01T00:00:00Z".parse().unwrap(),
                    config: RawJson::new(r#"{"durable_name":"kept"}"#.into()).unwrap(),
                    delivered: position(*delivered),
                    ack_floor: position(*ack_floor),
                    ack_pending: *ack_pending,
                }
            };
        let fence = Fence { last_seq: self.last_seq + self.fence, followers: Vec::new() };
        let deliveries = self.known.iter().map(|(delivered, floor, pending, again)| {
            let pending = pending.iter().map(|(stream_seq, consumer_seq, time)| Pending {
                stream_seq: *stream_seq,
                consumer_seq: *consumer_seq,
                time: *time,
            });
            let again = again
                .iter()
                .map(|(stream_seq, times)| Redelivered { stream_seq: *stream_seq, times: *times });
            let (delivered, floor) = (position(*delivered), position(*floor));
            let known = Deliveries::of(delivered, floor, pending.collect(), again.collect());
            ("c0".parse().unwrap(), known)
        });
        Plan {
            deliveries: deliveries.collect(),
            last_seq: self.last_seq,
            fence: (self.fence > 0).then_some(fence),
            last_time: self.last_time,
            consumers: self.consumers.iter().enumerate().map(consumer).collect(),
            capabilities: Capabilities { compressed: self.compressed, ..Capabilities::default() },
            ..plan_of(json!({ "name": "T", "storage": "file", "compression": "s2" }))
        }
    }

    fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        self.rows.iter().map(|(seq, time, subject, headers, payload)| Message {
            seq: *seq,
            time: *time,
            subject,
            headers,
            payload,
        })
    }

    /// Returns where each consumer is to begin: never beyond what it acknowledged if something pending is unknown, and
    /// never beyond the end of the stream.
    fn places(&self) -> Vec<Place> {
        let clip = |[own, stream]: [u64; 2]| [own, stream.min(self.last_seq)];
        let place = |(n, (delivered, floor, pending)): (usize, &([u64; 2], [u64; 2], u64))| {
            if let Some(known) = self.known.as_ref().filter(|_| n == 0) {
                return self.known_place(*delivered, *floor, *pending, known);
            }
            let delivered = if *pending > 0 { *floor } else { *delivered };
            (format!("c{n}"), clip(delivered), clip(*floor), Vec::new(), Vec::new())
        };
        self.consumers.iter().enumerate().map(place).collect()
    }

    /// Returns what is known, which holds from the floor on that is farther; no message is given up here.
    fn known_place(
        &self,
        delivered: [u64; 2],
        floor: [u64; 2],
        pending: u64,
        known: &Known,
    ) -> Place {
        let clip = |[own, stream]: [u64; 2]| [own, stream.min(self.last_seq)];
        let (known_delivered, known_floor, known_pending, again) = known;
        let floor = if floor[1] >= known_floor[1] { floor } else { *known_floor };
        let is_through = pending == 0 && delivered[0] >= known_delivered[0];
        let end = match known_delivered {
            _ if is_through => delivered,
            known if known[1] >= floor[1] => [known[0].max(floor[0]), known[1]],
            _ => floor,
        };
        let (end, floor) = (clip(end), clip(floor));
        let is_pending = |seq: u64| !is_through && seq > floor[1] && seq <= end[1];
        let was_pending = |seq: u64| known_pending.iter().any(|of| of.0 == seq);
        let again: Vec<_> = again
            .iter()
            .filter(|of| of.0 <= end[1] && (is_pending(of.0) || !was_pending(of.0)))
            .copied()
            .collect();
        let pending = known_pending.iter().filter(|of| is_pending(of.0)).copied().collect();
        ("c0".into(), end, floor, pending, again)
    }

    /// Returns the places of the server's file, whose floor is one less if the message there was delivered again.
    fn places_in_a_file(&self) -> Vec<Place> {
        let mut places = self.places();
        for (_, _, floor, _, again) in &mut places {
            let at_the_floor = again.iter().any(|of| of.0 == floor[1]);
            floor[1] -= u64::from(at_the_floor);
        }
        places
    }

    fn check(&self, found: &Found, places: &[Place]) -> Result<(), TestCaseError> {
        prop_assert!(found.rows == self.rows, "{:?} of {:?}", found.rows, self.rows);
        prop_assert_eq!(found.last_seq, self.last_seq + self.fence);
        prop_assert_eq!(&found.consumers, places);
        Ok(())
    }
}

/// Unpacks a snapshot with a stock decoder.
fn unpacked(write: impl FnOnce(SnappyFrameWriter) -> SnappyFrameWriter) -> Vec<u8> {
    let (sender, mut chunks) = mpsc::channel(1 << 12);
    write(SnappyFrameWriter::new(sender, CHUNK)).flush().unwrap();
    let framed: Vec<u8> = std::iter::from_fn(|| chunks.try_recv().ok()).flatten().collect();
    let mut bytes = Vec::new();
    snap::read::FrameDecoder::new(&framed[..]).read_to_end(&mut bytes).unwrap();
    bytes
}

/// Reads an LEB128 number; also returns the rest.
fn uvarint(bytes: &mut &[u8]) -> u64 {
    let mut number = 0;
    for shift in (0..).step_by(7) {
        let (byte, rest) = bytes.split_first().unwrap();
        *bytes = rest;
        number |= u64::from(byte & 0x7f) << shift;
        if *byte < 0x80 {
            break;
        }
    }
    number
}

fn take<'a>(bytes: &mut &'a [u8], count: usize) -> &'a [u8] {
    let (taken, rest) = bytes.split_at(count);
    *bytes = rest;
    taken
}

proptest! {
    #![proptest_config(cases(128))]

    #[test]
    fn what_a_v1_snapshot_is_made_of_is_in_it(drawn in drawn()) {
        let plan = drawn.plan();
        let bytes = unpacked(|frames| {
            let mut snapshot = super::v1::Snapshot::begin(frames, &plan).unwrap();
            drawn.messages().for_each(|message| snapshot.push(&message).unwrap());
            snapshot.finish(&plan).unwrap()
        });
        drawn.check(&v1::read(&bytes, "T", drawn.last_time), &drawn.places_in_a_file())?;
    }

    #[test]
    fn what_a_v2_snapshot_is_made_of_is_in_it(drawn in drawn()) {
        let plan = drawn.plan();
        let bytes = unpacked(|frames| {
            let mut snapshot = super::v2::Snapshot::new(frames);
            drawn.messages().for_each(|message| snapshot.push(&plan, &message).unwrap());
            snapshot.finish(&plan).unwrap()
        });
        drawn.check(&v2::read(&bytes), &drawn.places())?;
    }
}
