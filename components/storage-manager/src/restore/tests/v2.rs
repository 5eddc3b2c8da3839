//! Reads a v2 snapshot.

use serde_json::Value;

use super::{Found, take, uvarint};

struct Entry<'a> {
    name: &'a [u8],
    time: i64,
    seq: u64,
    headers: &'a [u8],
    payload: &'a [u8],
}

fn entry<'a>(bytes: &mut &'a [u8]) -> Entry<'a> {
    let name = uvarint(bytes);
    let time = uvarint(bytes);
    let time = (time >> 1).cast_signed() ^ -(time & 1).cast_signed();
    let [seq, headers, payload] = [(); 3].map(|()| uvarint(bytes));
    let [name, headers, payload] =
        [name, headers, payload].map(|length| take(bytes, usize::try_from(length).unwrap()));
    Entry { name, time, seq, headers, payload }
}

pub(super) fn read(mut bytes: &[u8]) -> Found {
    assert_eq!(take(&mut bytes, 8), b"NATSARC1");
    let state = entry(&mut bytes);
    assert_eq!((state.name, state.seq, state.headers), (&b"state.json"[..], 0, &b""[..]));
    let state: Value = serde_json::from_slice(state.payload).unwrap();
    let last_seq = state["last_seq"].as_u64().unwrap();

    let mut consumers = Vec::new();
    for _ in 0..state["consumer_count"].as_u64().unwrap() {
        let Entry { name, payload, .. } = entry(&mut bytes);
        let name = std::str::from_utf8(name).unwrap().strip_prefix("consumers/").unwrap();
        let consumer: Value = serde_json::from_slice(payload).unwrap();
        assert_eq!(consumer["config"]["durable_name"], "kept");
        let place = |of: &str| {
            ["consumer_seq", "stream_seq"].map(|seq| consumer["state"][of][seq].as_u64().unwrap())
        };
        let each = |of: &str| consumer["state"][of].as_object().unwrap().clone();
        let number = |of: &Value, name: &str| of[name].as_u64().unwrap();
        let pending = each("pending").into_iter().map(|(seq, of)| {
            let time = of["Timestamp"].as_i64().unwrap() / 1_000_000_000;
            (seq.parse().unwrap(), number(&of, "Sequence"), time)
        });
        let again = each("redelivered").into_iter();
        let again = again.map(|(seq, times)| (seq.parse().unwrap(), times.as_u64().unwrap()));
        let (mut pending, mut again): (Vec<_>, Vec<_>) = (pending.collect(), again.collect());
        pending.sort_unstable();
        again.sort_unstable();
        let (delivered, floor) = (place("delivered"), place("ack_floor"));
        consumers.push((name.to_owned(), delivered, floor, pending, again));
    }

    let mut rows = Vec::new();
    loop {
        let Entry { name, time, seq, headers, payload } = entry(&mut bytes);
        if name.is_empty() {
            assert_eq!((time, seq, headers.len(), payload.len()), (0, 0, 0, 0), "the end is zeros");
            break;
        }
        rows.push((seq, time, name.to_vec(), headers.to_vec(), payload.to_vec()));
    }
    assert!(bytes.is_empty(), "nothing comes after the end");
    // The state sets the leading gap and the trailing one.
    let first_seq = rows.first().map_or(last_seq + 1, |row| row.0);
    assert_eq!(state["first_seq"], first_seq);
    Found { rows, last_seq, consumers }
}
