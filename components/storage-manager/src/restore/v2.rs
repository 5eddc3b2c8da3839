//! The v2 snapshot of nats-server 2.15 and later: a sequence of named entries.
//!
//! Source: nats-server `server/archive/archive.go`, `server/stream_backup.go`.

use std::io::{self, Write};

use cim_core::archive::{ConsumerRecord, Position};
use serde_json::{Map, Value, json};

use super::consumers::{Resume, resume};
use super::plan::Plan;
use super::varint::uvarint;
use crate::segment::Message;

/// Writes a snapshot.
pub(super) struct Snapshot<W: Write> {
    writer: W,
    head: Vec<u8>,
    begun: bool,
}

impl<W: Write> Snapshot<W> {
    pub(super) fn new(writer: W) -> Self {
        Self { writer, head: Vec::new(), begun: false }
    }

    /// Writes what comes before the messages: magic, the stream's state, the consumers. The state
    /// says where the stream begins, so this waits for the first message.
    fn begin(&mut self, plan: &Plan, first_seq: u64) -> io::Result<()> {
        self.begun = true;
        self.writer.write_all(b"NATSARC1")?;
        let last_seq = plan.end();
        let state = json!({
            "messages": plan.messages().min((last_seq + 1).saturating_sub(first_seq)),
            "bytes": plan.bytes(),
            "first_seq": first_seq,
            "first_ts": "1970-01-01T00:00:00Z",
            "last_seq": last_seq,
            "last_ts": "1970-01-01T00:00:00Z",
            "consumer_count": plan.consumers.len(),
        });
        self.entry(b"state.json", 0, 0, b"", state.to_string().as_bytes())?;
        for consumer in &plan.consumers {
            let name = format!("consumers/{}", consumer.name);
            let state = consumer_state(plan, consumer).to_string();
            self.entry(name.as_bytes(), 0, 0, b"", state.as_bytes())?;
        }
        Ok(())
    }

    /// Adds a message; sequences ascend.
    pub(super) fn push(&mut self, plan: &Plan, message: &Message<'_>) -> io::Result<()> {
        if !self.begun {
            self.begin(plan, message.seq)?;
        }
        self.entry(message.subject, message.time, message.seq, message.headers, message.payload)
    }

    /// Ends with an entry of zeros.
    pub(super) fn finish(mut self, plan: &Plan) -> io::Result<W> {
        if !self.begun {
            self.begin(plan, plan.end() + 1)?;
        }
        self.entry(b"", 0, 0, b"", b"")?;
        Ok(self.writer)
    }

    fn entry(
        &mut self,
        name: &[u8],
        time: i64,
        seq: u64,
        headers: &[u8],
        payload: &[u8],
    ) -> io::Result<()> {
        let head = &mut self.head;
        head.clear();
        uvarint(head, name.len() as u64);
        uvarint(head, ((time << 1) ^ (time >> 63)).cast_unsigned());
        uvarint(head, seq);
        uvarint(head, headers.len() as u64);
        uvarint(head, payload.len() as u64);
        head.extend_from_slice(name);
        self.writer.write_all(head)?;
        self.writer.write_all(headers)?;
        self.writer.write_all(payload)
    }
}

fn consumer_state(plan: &Plan, consumer: &ConsumerRecord) -> Value {
    let Resume { delivered, floor, pending, redelivered } = resume(plan, consumer);
    let pair = |p: Position| json!({ "consumer_seq": p.consumer_seq, "stream_seq": p.stream_seq });
    let pending = pending.iter().map(|of| {
        let time = of.time.saturating_mul(1_000_000_000);
        let state = json!({ "Sequence": of.consumer_seq, "Timestamp": time });
        (of.stream_seq.to_string(), state)
    });
    let redelivered = redelivered.iter().map(|of| (of.stream_seq.to_string(), json!(of.times)));
    json!({
        "config": consumer.config.value(),
        "state": {
            "delivered": pair(delivered),
            "ack_floor": pair(floor),
            "pending": pending.collect::<Map<_, _>>(),
            "redelivered": redelivered.collect::<Map<_, _>>(),
        },
    })
}
