//! A consumer's knowledge of single messages: which were delivered and not acknowledged, and how often.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ConsumerRecord, Position};

/// A consumer's knowledge of single messages, and its positions at that moment. Since journal format 7.
///
/// It may be older than the positions in the [`ConsumerRecord`], and holds all the same: what was acknowledged stays so,
/// and counts only grow.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Deliveries {
    /// The last message that was delivered.
    pub delivered: Position,
    /// The last message up to which none was pending.
    pub ack_floor: Position,
    /// Delivered and not yet acknowledged, ascending. Others between `ack_floor` and `delivered` were acknowledged,
    /// are not for this consumer, or were given up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<PendingRun>,
    /// Delivered more than once and not acknowledged, ascending. One that is not pending was given up.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub redelivered: Vec<RedeliveredRun>,
}

/// Consecutive messages that are pending: the stream's sequence of the first one, how many there are, the consumer's
/// sequence with which the first one was delivered at first, those behind it counting on, and when they were delivered
/// last, in seconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PendingRun(pub u64, pub u64, pub u64, pub i64);

/// Consecutive messages that were delivered more than once: the stream's sequence of the first one, how many there are,
/// and how often they were delivered again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RedeliveredRun(pub u64, pub u64, pub u64);

/// A message that is pending.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Pending {
    /// The stream's sequence.
    pub stream_seq: u64,
    /// The consumer's sequence with which it was delivered at first.
    pub consumer_seq: u64,
    /// The time of its last delivery, in seconds since 1970.
    pub time: i64,
}

/// A message that was delivered more than once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Redelivered {
    /// The stream's sequence.
    pub stream_seq: u64,
    /// The number of further deliveries.
    pub times: u64,
}

impl Deliveries {
    /// Builds the record from messages in any order.
    pub fn of(
        delivered: Position,
        ack_floor: Position,
        mut pending: Vec<Pending>,
        mut redelivered: Vec<Redelivered>,
    ) -> Self {
        pending.sort_unstable();
        redelivered.sort_unstable();
        let mut found = Self { delivered, ack_floor, ..Self::default() };
        for Pending { stream_seq, consumer_seq, time } in pending {
            match found.pending.last_mut() {
                Some(PendingRun(first, count, own, at))
                    if *first + *count == stream_seq
                        && own.checked_add(*count) == Some(consumer_seq)
                        && *at == time =>
                {
                    *count += 1;
                }
                _ => found.pending.push(PendingRun(stream_seq, 1, consumer_seq, time)),
            }
        }
        for Redelivered { stream_seq, times } in redelivered {
            match found.redelivered.last_mut() {
                Some(RedeliveredRun(first, count, as_often))
                    if *first + *count == stream_seq && *as_often == times =>
                {
                    *count += 1;
                }
                _ => found.redelivered.push(RedeliveredRun(stream_seq, 1, times)),
            }
        }
        found
    }

    /// Returns each message that was pending after `floor` and up to `last`, ascending.
    pub fn pending(&self, floor: u64, last: u64) -> impl Iterator<Item = Pending> {
        self.pending.iter().flat_map(move |PendingRun(first, count, own, time)| {
            within(*first, *count, floor, last).map(move |stream_seq| Pending {
                stream_seq,
                consumer_seq: own.saturating_add(stream_seq - first),
                time: *time,
            })
        })
    }

    /// Returns each message up to `last` that was delivered more than once, ascending.
    pub fn redelivered(&self, last: u64) -> impl Iterator<Item = Redelivered> {
        self.redelivered.iter().flat_map(move |RedeliveredRun(first, count, times)| {
            within(*first, *count, 0, last)
                .map(move |stream_seq| Redelivered { stream_seq, times: *times })
        })
    }

    /// Reports whether the message was pending.
    pub fn has_pending(&self, seq: u64) -> bool {
        let has = |PendingRun(first, count, ..): &PendingRun| seq >= *first && seq - first < *count;
        self.pending.iter().any(has)
    }

    /// Returns the number of runs to store.
    pub fn runs(&self) -> usize {
        self.pending.len() + self.redelivered.len()
    }

    /// Reports whether this is still true of a consumer that was seen later: it was not set back since.
    pub fn holds_for(&self, later: &ConsumerRecord) -> bool {
        later.delivered.consumer_seq >= self.delivered.consumer_seq
            && later.ack_floor.stream_seq >= self.ack_floor.stream_seq
    }
}

/// Returns the sequences of a run that are above `floor` and not above `last`.
fn within(first: u64, count: u64, floor: u64, last: u64) -> std::ops::Range<u64> {
    let end = first.saturating_add(count).min(last.saturating_add(1));
    first.max(floor.saturating_add(1))..end
}

#[cfg(test)]
mod tests {
    use super::*;

    fn deliveries() -> Deliveries {
        let position = |seq| Position { consumer_seq: seq, stream_seq: seq };
        let pending = [(7, 9, 5), (3, 3, 5), (4, 4, 5), (5, 5, 6), (9, 6, 6)];
        let pending = pending.map(|(stream_seq, consumer_seq, time)| Pending {
            stream_seq,
            consumer_seq,
            time,
        });
        let redelivered = [(4, 2), (1, 3), (3, 2), (2, 3)];
        let redelivered = redelivered.map(|(stream_seq, times)| Redelivered { stream_seq, times });
        Deliveries::of(position(9), position(2), pending.to_vec(), redelivered.to_vec())
    }

    #[test]
    fn what_is_alike_is_a_run() {
        let found = serde_json::to_value(deliveries()).unwrap();
        let wanted = serde_json::json!({
            "delivered": { "consumer_seq": 9, "stream_seq": 9 },
            "ack_floor": { "consumer_seq": 2, "stream_seq": 2 },
            "pending": [[3, 2, 3, 5], [5, 1, 5, 6], [7, 1, 9, 5], [9, 1, 6, 6]],
            "redelivered": [[1, 2, 3], [3, 2, 2]],
        });
        assert_eq!(found, wanted);
        assert_eq!(serde_json::from_value::<Deliveries>(found).unwrap(), deliveries());
        assert_eq!(deliveries().runs(), 6);
    }

    #[test]
    fn runs_are_cut_where_they_do_not_count() {
        let found = deliveries();
        let pending: Vec<_> =
            found.pending(3, 7).map(|p| (p.stream_seq, p.consumer_seq, p.time)).collect();
        assert_eq!(pending, [(4, 4, 5), (5, 5, 6), (7, 9, 5)]);
        let again: Vec<_> = found.redelivered(3).map(|r| (r.stream_seq, r.times)).collect();
        assert_eq!(again, [(1, 3), (2, 3), (3, 2)]);
        assert_eq!(
            [2, 3, 4, 6, 9].map(|seq| found.has_pending(seq)),
            [false, true, true, false, true]
        );
        assert_eq!(found.pending(u64::MAX, u64::MAX).count(), 0);
    }
}
