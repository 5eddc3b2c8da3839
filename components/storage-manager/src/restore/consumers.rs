//! Where a restored consumer begins.

use std::time::Duration;

use cim_core::archive::{ConsumerRecord, Pending, Position, Redelivered};
use tokio::time::Instant;

use super::plan::Plan;
use super::varint::uvarint;
use crate::jetstream::JetStream;

/// The time that a cluster may take to hand out the consumers of a restored stream, and the pause between questions.
const IN_PLACE: Duration = Duration::from_secs(30);
const ASKED_EVERY: Duration = Duration::from_millis(100);

use crate::hooks::sabotage;

/// Where a restored consumer goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Resume {
    pub(super) delivered: Position,
    pub(super) floor: Position,
    /// Delivered and not acknowledged, ascending.
    pub(super) pending: Vec<Pending>,
    /// Delivered more than once and not acknowledged, ascending: pending, or given up.
    pub(super) redelivered: Vec<Redelivered>,
}

/// Works out where a restored consumer goes on.
///
/// Where the archive does not know which messages were pending, delivery goes back to the acknowledgement floor: what
/// was acknowledged out of order is delivered again, and nothing that was not acknowledged is skipped. Where it knows,
/// that is so of what was delivered since. A floor beyond the restored stream's end is brought back to it: what came
/// after it is not there any more.
pub(super) fn resume(plan: &Plan, consumer: &ConsumerRecord) -> Resume {
    let last = plan.last_seq;
    let clip =
        |position: Position| Position { stream_seq: position.stream_seq.min(last), ..position };
    let farther = |a: Position, b: Position| if a.stream_seq >= b.stream_seq { a } else { b };
    let known = plan.deliveries.get(&consumer.name);
    let floor =
        known.map_or(consumer.ack_floor, |known| farther(consumer.ack_floor, known.ack_floor));
    // What was known may be newer, and the other way round.
    let through = consumer.ack_pending == 0
        && known
            .is_none_or(|known| consumer.delivered.consumer_seq >= known.delivered.consumer_seq);
    let delivered = match known {
        _ if through => consumer.delivered,
        None => floor,
        Some(known) => {
            let delivered = farther(known.delivered, floor);
            let consumer_seq = delivered.consumer_seq.max(floor.consumer_seq);
            Position { consumer_seq, ..delivered }
        }
    };
    let (delivered, floor) = sabotage!(position, (clip(delivered), clip(floor)));
    let mut resume = Resume { delivered, floor, pending: Vec::new(), redelivered: Vec::new() };
    let Some(known) = known else { return resume };
    let is_there = |seq: u64| seq >= plan.first_seq && !plan.removed.contains(seq);
    if !through {
        let pending = known.pending(floor.stream_seq, delivered.stream_seq);
        resume.pending.extend(pending.filter(|pending| is_there(pending.stream_seq)));
    }
    // One that was pending and is not any more was acknowledged; or given up, where that is done.
    let gives_up = consumer.config.value()["max_deliver"].as_i64().is_some_and(|most| most > 0);
    let is_open = |seq: u64| {
        let pending = !through && seq > floor.stream_seq;
        pending || gives_up || !known.has_pending(seq)
    };
    let redelivered = known.redelivered(delivered.stream_seq);
    let redelivered = redelivered.filter(|of| is_there(of.stream_seq) && is_open(of.stream_seq));
    resume.redelivered.extend(redelivered);
    resume
}

impl Resume {
    /// Returns the stream's sequence of the floor as the server's file has it, which counts all sequences from there and
    /// drops a message that was delivered more than once where that is 0: it is one less then.
    fn least_floor(&self) -> u64 {
        let floor = self.floor.stream_seq;
        floor - u64::from(floor > 0 && self.redelivered.iter().any(|of| of.stream_seq == floor))
    }

    /// Returns a consumer's state as `o.dat` holds it (nats-server `server/store.go`, `encodeConsumerState`, version 2):
    /// magic 22, version, the positions, what is pending, what was delivered again.
    pub(super) fn encode(&self) -> Vec<u8> {
        let Self { delivered, floor, pending, redelivered } = self;
        let least = self.least_floor();
        let mut bytes = vec![22, 2];
        for number in [floor.consumer_seq, least, delivered.consumer_seq, delivered.stream_seq] {
            uvarint(&mut bytes, number);
        }
        uvarint(&mut bytes, pending.len() as u64);
        let base = pending.first().map_or(0, |pending| pending.time);
        if !pending.is_empty() {
            varint(&mut bytes, base);
        }
        // The server's numbers wrap around too.
        for Pending { stream_seq, consumer_seq, time } in pending {
            uvarint(&mut bytes, stream_seq.wrapping_sub(least));
            uvarint(&mut bytes, consumer_seq.wrapping_sub(floor.consumer_seq));
            varint(&mut bytes, base.wrapping_sub(*time));
        }
        uvarint(&mut bytes, redelivered.len() as u64);
        for Redelivered { stream_seq, times } in redelivered {
            uvarint(&mut bytes, stream_seq.wrapping_sub(least));
            uvarint(&mut bytes, *times);
        }
        bytes
    }
}

/// Writes a zigzag number, as Go's `binary.PutVarint`.
fn varint(bytes: &mut Vec<u8>, number: i64) {
    uvarint(bytes, ((number << 1) ^ (number >> 63)).cast_unsigned());
}

/// Returns whether the server lets a consumer begin anew: it takes the position of one in memory from a v2 snapshot
/// alone.
fn begins_anew(plan: &Plan, consumer: &ConsumerRecord) -> bool {
    !plan.in_memory() && consumer.config.value()["mem_storage"] == true
}

/// Waits until every consumer is where it was restored to. A cluster hands them out after the stream is
/// there, and until it has, a client would begin at the first message.
pub(super) async fn wait_for_consumers(jetstream: &JetStream, plan: &Plan) {
    let (anew, wanted): (Vec<_>, Vec<_>) =
        plan.consumers.iter().partition(|consumer| begins_anew(plan, consumer));
    if !anew.is_empty() {
        let names: Vec<_> = anew.iter().map(|consumer| consumer.name.as_str()).collect();
        tracing::warn!(
            "stream `{}`: consumers with `mem_storage` start over and deliver messages again, because the server cannot restore their positions: {}",
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
            let floor = resume(plan, consumer).least_floor();
            let found = there.reported.iter().find(|c| c.name == consumer.name);
            found.is_none_or(|c| c.ack_floor.stream_seq < floor)
        });
        let late: Vec<_> = late.map(|consumer| consumer.name.as_str()).collect();
        if late.is_empty() {
            return;
        }
        if Instant::now() > deadline {
            tracing::warn!(
                "stream `{}`: {} s after the restore these consumers are not yet at their restored positions, and may deliver messages again: {}",
                plan.target,
                IN_PLACE.as_secs(),
                late.join(", ")
            );
            return;
        }
        tokio::time::sleep(ASKED_EVERY).await;
    }
}

#[cfg(test)]
mod tests {
    use cim_core::archive::{Deliveries, RawJson, SeqRange};
    use serde_json::json;

    use super::super::tests::plan_of;
    use super::*;

    fn at(consumer_seq: u64, stream_seq: u64) -> Position {
        Position { consumer_seq, stream_seq }
    }

    /// Returns deliveries: 3, 5 and 6 of 1 to 6 are pending, the last one for the third time; 1 was given up.
    fn known() -> Deliveries {
        let pending = [(3, 3), (5, 5), (6, 6)].map(|(stream_seq, consumer_seq)| Pending {
            stream_seq,
            consumer_seq,
            time: 100,
        });
        let redelivered =
            [(1, 1), (6, 2)].map(|(stream_seq, times)| Redelivered { stream_seq, times });
        Deliveries::of(at(9, 6), at(2, 2), pending.to_vec(), redelivered.to_vec())
    }

    fn resumed(
        record: (Position, Position, u64),
        most: i64,
        change: impl FnOnce(&mut Plan),
    ) -> Resume {
        let (delivered, ack_floor, ack_pending) = record;
        let consumer = ConsumerRecord {
            name: "c".parse().unwrap(),
            created: "2026-01-01T00:00:00Z".parse().unwrap(),
            config: RawJson::new(json!({ "max_deliver": most }).to_string()).unwrap(),
            delivered,
            ack_floor,
            ack_pending,
        };
        let mut plan = plan_of(json!({}));
        plan.last_seq = 20;
        plan.deliveries.insert("c".parse().unwrap(), known());
        change(&mut plan);
        resume(&plan, &consumer)
    }

    fn shown(resume: &Resume) -> (u64, u64, Vec<u64>, Vec<(u64, u64)>) {
        let pending = resume.pending.iter().map(|pending| pending.stream_seq).collect();
        let again = resume.redelivered.iter().map(|of| (of.stream_seq, of.times)).collect();
        (resume.floor.stream_seq, resume.delivered.stream_seq, pending, again)
    }

    #[test]
    fn what_is_known_of_single_messages_is_gone_on_with() {
        let same = (at(9, 6), at(2, 2), 3);
        let as_known = (2, 6, vec![3, 5, 6], vec![(1, 1), (6, 2)]);
        assert_eq!(shown(&resumed(same, 3, |_| ())), as_known);
        // It was seen a moment before.
        assert_eq!(shown(&resumed((at(4, 4), at(1, 1), 0), 3, |_| ())), as_known);
        // It went on: what was delivered since is delivered again, what was acknowledged before is not.
        let later = resumed((at(14, 11), at(5, 4), 7), -1, |_| ());
        assert_eq!(shown(&later), (4, 6, vec![5, 6], vec![(1, 1), (6, 2)]));
        assert_eq!(later.delivered, at(9, 6));
        let far = resumed((at(14, 11), at(10, 8), 2), -1, |_| ());
        assert_eq!(shown(&far), (8, 8, vec![], vec![(1, 1)]));
        // It is through: 6 was acknowledged, or given up where that can be.
        let through = (at(14, 11), at(14, 11), 0);
        assert_eq!(shown(&resumed(through, -1, |_| ())), (11, 11, vec![], vec![(1, 1)]));
        assert_eq!(shown(&resumed(through, 3, |_| ())), (11, 11, vec![], vec![(1, 1), (6, 2)]));
    }

    #[test]
    fn what_does_not_come_back_is_not_pending() {
        let same = (at(9, 6), at(2, 2), 3);
        let early = resumed(same, 3, |plan| plan.last_seq = 5);
        assert_eq!(shown(&early), (2, 5, vec![3, 5], vec![(1, 1)]));
        let gone = resumed(same, 3, |plan| plan.removed.insert(SeqRange { first: 5, last: 5 }));
        assert_eq!(shown(&gone), (2, 6, vec![3, 6], vec![(1, 1), (6, 2)]));
        let dropped = resumed(same, 3, |plan| plan.first_seq = 4);
        assert_eq!(shown(&dropped), (2, 6, vec![5, 6], vec![(6, 2)]));
    }

    #[test]
    fn a_message_given_up_at_the_floor_is_not_lost() {
        let resume = Resume {
            delivered: at(9, 6),
            floor: at(4, 3),
            pending: vec![Pending { stream_seq: 5, consumer_seq: 6, time: -3 }],
            redelivered: vec![
                Redelivered { stream_seq: 2, times: 1 },
                Redelivered { stream_seq: 3, times: 7 },
            ],
        };
        // The server reads what stands for 2 as what it is above 2: a number that wraps around is none here.
        let wanted = [22, 2, 4, 2, 9, 6, 1, 5, 3, 2, 0, 2, 0, 1, 1, 7];
        assert_eq!(resume.encode(), wanted);
        let below = Resume { redelivered: vec![Redelivered { stream_seq: 1, times: 1 }], ..resume };
        let wrapped = [0xfe, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1];
        assert_eq!(below.encode()[11..], [&[1][..], &wrapped, &[1]].concat());
    }
}
