//! Where a restored consumer begins.

use std::time::Duration;

use cim_core::archive::{ConsumerRecord, Position};
use tokio::time::Instant;

use super::plan::Plan;
use crate::jetstream::JetStream;

/// How long a cluster may take to hand out the consumers of a restored stream, and how often it is asked.
const IN_PLACE: Duration = Duration::from_secs(30);
const ASKED_EVERY: Duration = Duration::from_millis(100);

use crate::hooks::sabotage;

/// A restored consumer's position.
///
/// Which messages were pending is not in the archive, so where some were, delivery goes back to the
/// acknowledgement floor: what was acknowledged out of order is delivered again, and nothing that was
/// not acknowledged is skipped. A floor beyond the restored stream's end is brought back to it: what
/// came after it is not there any more.
pub(super) fn position(consumer: &ConsumerRecord, last_seq: u64) -> (Position, Position) {
    let clip =
        |position: Position| Position { stream_seq: position.stream_seq.min(last_seq), ..position };
    let floor = clip(consumer.ack_floor);
    let delivered = if consumer.ack_pending > 0 { floor } else { clip(consumer.delivered) };
    sabotage!(position, (delivered, floor))
}

/// A consumer's state as `o.dat` holds it (nats-server `server/store.go`, `encodeConsumerState`,
/// version 2): magic 22, version, four uvarints, no pending, no redelivered.
pub(super) fn encode(delivered: Position, floor: Position) -> Vec<u8> {
    let mut bytes = vec![22, 2];
    for number in
        [floor.consumer_seq, floor.stream_seq, delivered.consumer_seq, delivered.stream_seq, 0, 0]
    {
        super::v2::uvarint(&mut bytes, number);
    }
    bytes
}

/// Returns whether the server lets a consumer begin anew: it takes the position of one in memory from a v2 snapshot
/// alone.
fn begins_anew(plan: &Plan, consumer: &ConsumerRecord) -> bool {
    !plan.in_memory() && consumer.config.value()["mem_storage"] == true
}

/// Waits until every consumer is where it was restored to. A cluster hands them out after the stream is
/// there, and until it has, a client would begin at the first message.
pub(super) async fn in_place(jetstream: &JetStream, plan: &Plan) {
    let (anew, wanted): (Vec<_>, Vec<_>) =
        plan.consumers.iter().partition(|consumer| begins_anew(plan, consumer));
    if !anew.is_empty() {
        let names: Vec<_> = anew.iter().map(|consumer| consumer.name.as_str()).collect();
        tracing::warn!(
            "stream `{}`: consumers with `mem_storage` begin anew, for the server does not take their positions: {}",
            plan.target,
            names.join(", ")
        );
    }
    if wanted.is_empty() {
        return;
    }
    let deadline = Instant::now() + IN_PLACE;
    loop {
        let there = jetstream.lasting_consumers(plan.target.as_str()).await.unwrap_or_default();
        let late = wanted.iter().filter(|consumer| {
            let (_, floor) = position(consumer, plan.last_seq);
            let found = there.known.iter().find(|c| c.name == consumer.name);
            found.is_none_or(|c| c.ack_floor.stream_seq < floor.stream_seq)
        });
        let late: Vec<_> = late.map(|consumer| consumer.name.as_str()).collect();
        if late.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            tracing::warn!(
                "stream `{}`: not at their positions {} s after the restore: {}",
                plan.target,
                IN_PLACE.as_secs(),
                late.join(", ")
            );
            return;
        }
        tokio::time::sleep(ASKED_EVERY).await;
    }
}
