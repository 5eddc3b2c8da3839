//! The code that every byte of a stream goes through, without servers: `cargo bench -p cim-storage-manager`, with a part
//! of a name behind it for some of them. CONTRIBUTING.md says how to profile one.

use bytes::Bytes;
use cim_core::archive::Segment;
use cim_storage_manager::segment::{Columns, Message, Rows, SegmentError, SegmentWriter};
use cim_storage_manager::wire::{Op, parse};
use divan::counter::BytesCount;
use divan::{Bencher, black_box};

fn main() {
    divan::main();
}

/// Bytes of a payload; of each so many that they make [`TOTAL`].
const SIZES: [usize; 3] = [128, 1 << 10, 64 << 10];
const TOTAL: usize = 4 << 20;
/// As segments are compressed while their messages arrive.
const LEVEL: i32 = 1;
const HEADERS: &[u8] = b"NATS/1.0\r\nNats-Msg-Id: 0123456789abcdef-42\r\n\r\n";
const SUBJECT: &str = "lab.events.eu.orders";

/// Payloads that do not shrink, the worst that there is.
fn noise(size: usize) -> impl Iterator<Item = Vec<u8>> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    std::iter::repeat_with(move || {
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            state.to_le_bytes()[7]
        };
        (0..size).map(|_| next()).collect()
    })
    .take(TOTAL / size)
}

/// Payloads as events are: JSON of which most comes again.
fn json(size: usize) -> impl Iterator<Item = Vec<u8>> {
    (0..TOTAL / size).map(move |n| {
        let mut text =
            format!("{{\"id\":{n},\"type\":\"order-placed\",\"total\":{},\"note\":\"", n * 7919);
        while text.len() < size - 2 {
            text += ["item ", "of the order, ", "in stock, "][(text.len() + n) % 3];
        }
        text.truncate(size - 2);
        text += "\"}";
        text.into_bytes()
    })
}

fn columns(payloads: impl Iterator<Item = Vec<u8>>) -> Columns {
    let mut columns = Columns::default();
    for (seq, payload) in (1..).zip(payloads) {
        columns.push(Message {
            seq,
            time: 1_700_000_000_000_000_000 + i64::try_from(seq).expect("few") * 1_000,
            subject: SUBJECT.as_bytes(),
            headers: HEADERS,
            payload: &payload,
        });
    }
    columns
}

fn segment(columns: Columns) -> (Segment, Bytes) {
    let mut writer = SegmentWriter::new(LEVEL);
    writer.append(columns).expect("memory takes it");
    let stream = "EVENTS".parse().expect("it is a name");
    let finished = writer.finish(&stream, 1, false).expect("memory takes it");
    (finished.segment, finished.file)
}

/// Columns to a segment: encoded, compressed, hashed.
#[divan::bench(args = SIZES)]
fn segment_of_noise(bencher: Bencher<'_, '_>, size: usize) {
    bencher
        .counter(BytesCount::new(TOTAL))
        .with_inputs(|| columns(noise(size)))
        .bench_values(segment);
}

#[divan::bench(args = SIZES)]
fn segment_of_json(bencher: Bencher<'_, '_>, size: usize) {
    bencher
        .counter(BytesCount::new(TOTAL))
        .with_inputs(|| columns(json(size)))
        .bench_values(segment);
}

/// A segment to messages, its hash and all that it says of itself checked.
#[divan::bench(args = SIZES)]
fn segment_read(bencher: Bencher<'_, '_>, size: usize) {
    let (segment, file) = segment(columns(json(size)));
    bencher.counter(BytesCount::new(TOTAL)).bench(|| {
        let mut bytes = 0;
        let read = Rows::read::<SegmentError>(&segment, &file, |rows| {
            bytes += rows.messages().map(|message| message.payload.len()).sum::<usize>();
            Ok(())
        });
        read.expect("it was written just now");
        bytes
    });
}

/// What a server sends, to messages.
#[divan::bench(args = SIZES)]
fn protocol(bencher: Bencher<'_, '_>, size: usize) {
    let mut sent = Vec::new();
    for payload in noise(size) {
        let (headers, total) = (HEADERS.len(), HEADERS.len() + payload.len());
        let reply = "$JS.ACK.EVENTS.reader.1.4711.4711.1700000000000000000.12";
        sent.extend(format!("HMSG {SUBJECT} 1 {reply} {headers} {total}\r\n").bytes());
        sent.extend([HEADERS, &payload, b"\r\n"].concat());
    }
    bencher.counter(BytesCount::new(TOTAL)).bench(|| {
        let (mut rest, mut messages) = (&sent[..], 0);
        while let Some((op, used)) = parse(rest).expect("it is the protocol") {
            messages += usize::from(matches!(black_box(op), Op::Msg { .. }));
            rest = &rest[used..];
        }
        assert_eq!(messages, TOTAL / size);
    });
}
