//! Limits of a stream: which messages a server may drop by itself.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::{Add, Range};

use serde_json::Value;

use super::fingerprint::Fingerprint;

/// Blocks and indices make the server's count of bytes a little coarser than a sum over messages.
const SLACK: u64 = 64 * 1024;

/// The limits in a stream's configuration.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// The most messages that the stream holds.
    messages: Option<u64>,
    /// The most bytes that it holds.
    bytes: Option<u64>,
    /// The greatest age of a message, in nanoseconds.
    age: Option<u64>,
}

impl Limits {
    /// Reads the limits from a configuration as a server fingerprints it.
    pub fn of(config: &Value) -> Self {
        let limit = |key: &str| config[key].as_u64().filter(|limit| *limit > 0);
        Self { messages: limit("max_msgs"), bytes: limit("max_bytes"), age: limit("max_age") }
    }

    /// Reports whether the stream drops anything by itself.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Reports whether a limit asked to drop the newest dropped message while the stream held
    /// `kept`. Times are in nanoseconds since 1970.
    pub fn asked_for(&self, dropped_time: i64, kept: Held, now: i128) -> bool {
        self.messages.is_some_and(|limit| kept.messages >= limit)
            || self.bytes.is_some_and(|limit| kept.bytes + SLACK >= limit)
            || self.age.is_some_and(|limit| i128::from(dropped_time) + i128::from(limit) <= now)
    }
}

/// The size of a stream's content.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Messages.
    pub messages: u64,
    /// Bytes, as a server counts them.
    pub bytes: u64,
}

impl Held {
    /// Returns the size in the server's description of a stream.
    pub fn live(info: &Value) -> Self {
        let count = |key: &str| info["state"][key].as_u64().unwrap_or_default();
        Self { messages: count("messages"), bytes: count("bytes") }
    }

    /// Returns the size of the messages of these sequences. A message that was never read counts as
    /// the largest of those that were.
    pub fn of(
        sequences: impl IntoIterator<Item = u64>,
        known: &BTreeMap<u64, Fingerprint>,
    ) -> Self {
        let largest =
            known.values().map(|fingerprint| fingerprint.stored).max().unwrap_or_default();
        sequences.into_iter().fold(Self::default(), |held, seq| {
            let stored = known.get(&seq).map_or(largest, |fingerprint| fingerprint.stored);
            held + Self { messages: 1, bytes: stored.into() }
        })
    }
}

impl Add for Held {
    type Output = Self;

    fn add(self, more: Self) -> Self {
        Self { messages: self.messages + more.messages, bytes: self.bytes + more.bytes }
    }
}

/// The dropped messages of a stream, and the facts to judge them by.
#[derive(Debug)]
pub struct Dropped<'a> {
    /// The messages read from the stream, by sequence.
    pub known: &'a BTreeMap<u64, Fingerprint>,
    /// The sequences that were removed on purpose, or may have been.
    pub removed: &'a BTreeSet<u64>,
    /// The sequences that are gone; the last is the one before the stream's first.
    pub gone: Range<u64>,
    /// The size of the stream's content now.
    pub held: Held,
    /// Now, in nanoseconds since 1970.
    pub now: i128,
}

impl Dropped<'_> {
    /// Returns the newest message that the stream has dropped, if none of the limits asked for
    /// that.
    pub fn early(&self, limits: &[Limits]) -> Option<u64> {
        if self.gone.is_empty() {
            return None;
        }
        let gone = self.known.range(self.gone.clone()).rev();
        let (seq, newest) = gone.into_iter().find(|(seq, _)| !self.removed.contains(seq))?;
        // A limit drops a message when the stream is too large. It also counted messages removed
        // since then.
        let since = self.removed.range(seq + 1..).copied();
        let counted = self.held + Held::of(since, self.known);
        let asked = limits.iter().any(|limits| limits.asked_for(newest.time, counted, self.now));
        (!asked).then_some(*seq)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oracle::fingerprint::Parts;

    /// Returns messages 1 to `count`, of 1,031 bytes each for the server, stored at 1,000.
    fn known(count: u64) -> BTreeMap<u64, Fingerprint> {
        let payload = vec![b'x'; 1000];
        let parts = Parts { subject: b"s", headers: b"", payload: &payload };
        (1..=count).map(|seq| (seq, Fingerprint::of(1, seq, 1_000, &parts))).collect()
    }

    fn limits(config: &Value) -> Limits {
        Limits::of(config)
    }

    /// Judges 200 messages of which those before `first` are gone, and those that are `removed`.
    fn early(first: u64, removed: &[u64], now: i128, config: &Value) -> Option<u64> {
        let (known, removed) = (known(200), removed.iter().copied().collect::<BTreeSet<_>>());
        let held = Held::of((first..=200).filter(|seq| !removed.contains(seq)), &known);
        let dropped = Dropped { known: &known, removed: &removed, gone: 0..first, held, now };
        dropped.early(&[Limits::default(), limits(config)])
    }

    #[test]
    fn a_message_that_no_limit_asked_for_was_dropped_early() {
        let ten = &json!({ "max_msgs": 10, "max_bytes": -1, "max_age": 0 });
        assert!(limits(ten).any() && !limits(&json!({ "max_msgs": -1 })).any());
        assert_eq!(early(191, &[], 2_000, ten), None);
        assert_eq!(early(192, &[], 2_000, ten), Some(191));
        assert_eq!(early(0, &[], 2_000, ten), None);
        let bytes = &json!({ "max_bytes": 150_000 });
        assert_eq!(early(61, &[], 2_000, bytes), None);
        assert_eq!(early(151, &[], 2_000, bytes), Some(150));
        let age = &json!({ "max_age": 500 });
        assert_eq!(early(2, &[], 1_500, age), None);
        assert_eq!(early(2, &[], 1_499, age), Some(1));
    }

    #[test]
    fn a_limit_has_counted_what_was_removed_after_it_dropped() {
        let ten = &json!({ "max_msgs": 10 });
        assert_eq!(early(191, &[195], 2_000, ten), None);
        assert_eq!(early(192, &[195], 2_000, ten), Some(191));
        // Removed before it could be dropped: it is no message that was dropped.
        assert_eq!(early(192, &[191], 2_000, ten), None);
        let many: Vec<u64> = (101..=180).collect();
        assert_eq!(early(61, &many, 2_000, &json!({ "max_bytes": 150_000 })), None);
    }

    #[test]
    fn an_unread_message_counts_as_the_largest() {
        let known = known(2);
        assert_eq!(Held::of([1, 2, 9], &known), Held { messages: 3, bytes: 3 * 1_031 });
    }
}
