//! Reads a v1 snapshot as nats-server's file store does, and insists on all that it takes on trust.

use std::io::Read as _;

use highway::{HighwayHash as _, HighwayHasher, Key};
use serde_json::Value;
use sha2::{Digest as _, Sha256};

use super::{Found, Place, Row, take, uvarint};

/// Reads a snapshot. `last_time` is what the record of a deleted last sequence must say.
pub(super) fn read(bytes: &[u8], stream: &str, last_time: i64) -> Found {
    let mut files = Vec::new();
    for entry in tar::Archive::new(bytes).entries().unwrap() {
        let mut entry = entry.unwrap();
        let name = entry.path().unwrap().to_str().unwrap().to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        files.push((name, content));
    }
    let mut files = files.into_iter().peekable();
    let config = with_sum(&mut files, "", stream);
    assert_eq!(config["name"], stream);
    assert!(config["created"].is_string());

    let (mut rows, mut last, mut index, mut of_nothing) = (Vec::new(), None, 0, None);
    while let Some((name, block)) = files.next_if(|(name, _)| name.starts_with("msgs/")) {
        index += 1;
        if name == format!("msgs/{index}.idx") {
            of_nothing = Some(block);
            index -= 1;
            continue;
        }
        assert_eq!(name, format!("msgs/{index}.blk"));
        let before = rows.len();
        let is_last = !files.peek().is_some_and(|(next, _)| next.starts_with("msgs/"));
        let block = decompressed(block, is_last);
        last = Some(read_block(&block, &format!("{stream}-{index}"), &mut rows, last, last_time));
        assert_eq!(of_nothing.is_some(), rows.len() == before, "old servers want its index");
        assert!(of_nothing.is_none() || is_last, "one without messages is at the end");
    }
    if let (Some(index), Some(last)) = (of_nothing, last) {
        empty(&index, last);
    }
    let last_seq = last.map_or(0, |(seq, _)| seq);

    let mut consumers = Vec::new();
    while let Some((name, _)) = files.peek() {
        let consumer = name.strip_prefix("obs/").unwrap().split('/').next().unwrap().to_owned();
        consumers.push(read_consumer(&mut files, &consumer, stream));
    }
    Found { rows, last_seq, consumers }
}

/// Returns a block as it was before it was compressed, if it was. The server goes on writing to the last one.
fn decompressed(block: Vec<u8>, is_last: bool) -> Vec<u8> {
    let Some(mut rest) = block.strip_prefix(b"cmp\x01") else { return block };
    assert!(!is_last, "the last block is compressed");
    let length = uvarint(&mut rest);
    let (frames, checksum) = rest.split_at(rest.len() - 8);
    let mut plain = Vec::new();
    snap::read::FrameDecoder::new(frames).read_to_end(&mut plain).unwrap();
    plain.extend_from_slice(checksum);
    assert_eq!(plain.len() as u64, length);
    plain
}

/// Returns a `meta.inf` and the checksum behind it.
fn with_sum(files: &mut impl Iterator<Item = (String, Vec<u8>)>, at: &str, name: &str) -> Value {
    let (file, meta) = files.next().unwrap();
    assert_eq!(file, format!("{at}meta.inf"));
    let (file, sum) = files.next().unwrap();
    assert_eq!(file, format!("{at}meta.sum"));
    let expected = format!("{:016x}", u64::from_be_bytes(hash(name, &[&meta])));
    assert_eq!(sum, expected.as_bytes());
    serde_json::from_slice(&meta).unwrap()
}

fn read_consumer(
    files: &mut impl Iterator<Item = (String, Vec<u8>)>,
    consumer: &str,
    stream: &str,
) -> Place {
    let at = format!("obs/{consumer}/");
    let meta = with_sum(files, &at, &format!("{stream}/{consumer}"));
    assert_eq!((&meta["Name"], &meta["durable_name"]), (&consumer.into(), &"kept".into()));
    let (file, state) = files.next().unwrap();
    assert_eq!(file, format!("{at}o.dat"));
    let mut state = &state[..];
    assert_eq!(take(&mut state, 2), [22, 2], "magic and version");
    let numbers: Vec<u64> = (0..5).map(|_| uvarint(&mut state)).collect();
    let [floor_own, floor, delivered_own, delivered, count] = numbers[..] else {
        unreachable!("five were taken")
    };
    let base = if count > 0 { varint(&mut state) } else { 0 };
    let one = |state: &mut &[u8]| {
        let (seq, own) = (uvarint(state), uvarint(state));
        (seq.wrapping_add(floor), own.wrapping_add(floor_own), base - varint(state))
    };
    let pending: Vec<_> = (0..count).map(|_| one(&mut state)).collect();
    let one = |state: &mut &[u8]| {
        let (seq, times) = (uvarint(state), uvarint(state));
        assert!(seq > 0 && times > 0, "the server drops it");
        (seq.wrapping_add(floor), times)
    };
    let count = uvarint(&mut state);
    let again: Vec<_> = (0..count).map(|_| one(&mut state)).collect();
    assert!(state.is_empty());
    let floors = [floor_own, floor];
    (consumer.to_owned(), [delivered_own, delivered], floors, pending, again)
}

fn varint(bytes: &mut &[u8]) -> i64 {
    let number = uvarint(bytes);
    (number >> 1).cast_signed() ^ -(number & 1).cast_signed()
}

/// The end of a block: its last record's sequence and checksum.
type End = (u64, [u8; 8]);

/// Reads the records of a block: all sequences from its first to its last, each a message or erased.
fn read_block(
    mut block: &[u8],
    name: &str,
    rows: &mut Vec<Row>,
    before: Option<End>,
    last_time: i64,
) -> End {
    let (mut last, mut next) = (before, None);
    assert!(!block.is_empty(), "a block without records is none");
    while !block.is_empty() {
        let length = u32::from_le_bytes(take(&mut block, 4).try_into().unwrap());
        let with_headers = length >> 31 == 1;
        let mut record = take(&mut block, usize::try_from(length & 0x7fff_ffff).unwrap() - 4);
        let head = take(&mut record, 16);
        let (seq, time) = head.split_at(8);
        let seq = u64::from_le_bytes(seq.try_into().unwrap());
        let time = i64::from_le_bytes(time.try_into().unwrap());
        let subject = u16::from_le_bytes(take(&mut record, 2).try_into().unwrap());
        let subject = take(&mut record, subject.into());
        let headers = if with_headers {
            let headers = u32::from_le_bytes(take(&mut record, 4).try_into().unwrap());
            take(&mut record, usize::try_from(headers).unwrap())
        } else {
            &[]
        };
        assert!(!with_headers || !headers.is_empty());
        let (payload, stated) = record.split_at(record.len() - 8);
        let sum = hash(name, &[head, subject, headers, payload]);
        assert_eq!(stated, sum, "the checksum of {seq}");

        let (erased, seq) = (seq >> 63 == 1, seq & !(1 << 63));
        assert!(last.is_none_or(|(last, _)| last < seq), "sequences ascend");
        assert!(next.is_none_or(|next| next == seq), "old servers want every sequence of a block");
        if erased {
            assert!(subject.is_empty() && headers.is_empty() && payload.is_empty());
            assert!(time == 0 || (time == last_time && block.is_empty()));
        } else {
            rows.push((seq, time, subject.into(), headers.into(), payload.into()));
        }
        (last, next) = (Some((seq, sum)), Some(seq + 1));
    }
    last.unwrap()
}

/// Reads the index of the only block of a stream without messages.
fn empty(mut index: &[u8], (last_seq, sum): End) {
    assert_eq!(take(&mut index, 2), [22, 1], "magic and version");
    let numbers: Vec<u64> = (0..7).map(|_| uvarint(&mut index)).collect();
    assert_eq!(numbers[..5], [0, 0, last_seq + 1, 0, last_seq]);
    assert_eq!(index, sum, "the last record's checksum");
}

fn hash(name: &str, parts: &[&[u8]]) -> [u8; 8] {
    let name = Sha256::digest(name.as_bytes());
    let word = |at: usize| u64::from_le_bytes(name[at..at + 8].try_into().unwrap());
    let mut hasher = HighwayHasher::new(Key([word(0), word(8), word(16), word(24)]));
    for part in parts {
        hasher.append(part);
    }
    hasher.finalize64().to_le_bytes()
}
