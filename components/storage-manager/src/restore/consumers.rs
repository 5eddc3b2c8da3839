//! Where a restored consumer begins.

use cim_core::archive::{ConsumerRecord, Position};

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
