//! Sequences that a reader met no message for.
//!
//! Of deleted ones the stream says so as long as it begins before them. What it had dropped or purged before it could be
//! read, nothing says afterwards: a reader that falls behind a stream with tight limits sees a message, and then a later
//! one. Such sequences are missed, and the archive says that they are.

use cim_core::archive::{SeqRange, SeqRanges};
use serde_json::Value;

/// Takes note of what lies between messages.
#[derive(Debug, Default)]
pub struct Between {
    /// The sequence behind the last message; where there was none yet it is known what the stream begins with.
    next: Option<u64>,
    skipped: SeqRanges,
}

impl Between {
    /// Takes note of a message.
    pub fn pass(&mut self, seq: u64) {
        if let Some(next) = self.next.filter(|next| seq > *next) {
            self.skipped.insert(SeqRange { first: next, last: seq - 1 });
        }
        self.next = Some(seq + 1);
    }

    /// Returns what was skipped since the last call.
    pub fn take(&mut self) -> SeqRanges {
        std::mem::take(&mut self.skipped)
    }
}

/// Skipped sequences of a stream that are not accounted for.
#[derive(Debug, Default)]
pub struct Skipped(SeqRanges);

/// The facts that are known of a stream.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Its configuration.
    pub config: &'a Value,
    /// Its first sequence.
    pub first_seq: u64,
    /// The watermark of its archive.
    pub watermark: u64,
}

impl Skipped {
    /// Returns whether all is accounted for.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes note of what a reader skipped.
    pub fn add(&mut self, skipped: &SeqRanges) {
        skipped.iter().for_each(|range| self.0.insert(range));
    }

    /// Returns what was missed, each sequence once; `known` is what is known to be deleted.
    pub fn missed(&mut self, seen: Seen<'_>, known: &SeqRanges) -> SeqRanges {
        if drops_one_by_one(seen.config) {
            self.0 = SeqRanges::default();
            return SeqRanges::default();
        }
        let open = self.0.difference(known);
        let missed = open.intersect(1, seen.first_seq.saturating_sub(1).min(seen.watermark));
        self.0 = open.difference(&missed);
        missed
    }
}

/// Returns whether a stream drops messages by their subjects, or because they were acknowledged: what is skipped there says
/// nothing.
fn drops_one_by_one(config: &Value) -> bool {
    let by_subject = config["max_msgs_per_subject"].as_i64().is_some_and(|most| most > 0);
    by_subject || config["retention"].as_str().is_some_and(|retention| retention != "limits")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn all(ranges: &SeqRanges) -> BTreeSet<u64> {
        ranges.iter().flat_map(|range| range.first..=range.last).collect()
    }

    fn skipped(ranges: &[SeqRange]) -> Skipped {
        let mut skipped = Skipped::default();
        skipped.add(&ranges.iter().copied().collect());
        skipped
    }

    fn look(
        skipped: &mut Skipped,
        config: &Value,
        first_seq: u64,
        watermark: u64,
    ) -> BTreeSet<u64> {
        all(&skipped.missed(Seen { config, first_seq, watermark }, &SeqRanges::default()))
    }

    #[test]
    fn what_was_deleted_is_not_missed() {
        let (mut skipped, config) =
            (skipped(&[SeqRange { first: 3, last: 3 }, SeqRange { first: 7, last: 9 }]), json!({}));
        let deleted = SeqRanges::from_iter([SeqRange { first: 3, last: 3 }]);
        let begins_before = Seen { config: &config, first_seq: 2, watermark: 20 };
        assert!(skipped.missed(begins_before, &deleted).is_empty());
        assert_eq!(look(&mut skipped, &config, 12, 8), BTreeSet::from([7, 8]));
        assert_eq!(look(&mut skipped, &config, 12, 20), BTreeSet::from([9]));
        assert_eq!(look(&mut skipped, &config, 30, 30), BTreeSet::new());
        assert!(skipped.is_empty());
    }

    #[test]
    fn streams_that_drop_one_by_one_say_nothing() {
        for (config, missed) in [
            (json!({ "max_msgs_per_subject": 1 }), 0),
            (json!({ "retention": "workqueue" }), 0),
            (json!({ "retention": "limits", "max_msgs_per_subject": -1 }), 7),
        ] {
            let mut skipped = skipped(&[SeqRange { first: 3, last: 9 }]);
            assert_eq!(look(&mut skipped, &config, 12, 20).len(), missed, "{config}");
            assert!(skipped.is_empty());
        }
    }

    proptest! {
        /// Whatever the looks, of what was not read each is missed once or deleted, and nothing else is.
        #[test]
        fn nothing_is_missed_twice_or_for_no_reason(
            read in prop::collection::btree_set(1u64..60, 1..30),
            deleted in prop::collection::btree_set(1u64..60, 0..20),
            looks in prop::collection::vec(1u64..80, 1..6),
        ) {
            let (mut between, mut skipped, config) = (Between::default(), skipped(&[]), json!({}));
            for seq in &read {
                between.pass(*seq);
            }
            skipped.add(&between.take());
            let last = *read.last().unwrap();
            let gone: SeqRanges = deleted.difference(&read).map(|seq| SeqRange { first: *seq, last: *seq }).collect();
            let mut missed = BTreeSet::new();
            let mut first = 1;
            for look in looks {
                first = look.max(first);
                let seen = Seen { config: &config, first_seq: first, watermark: last };
                for seq in all(&skipped.missed(seen, &gone)) {
                    prop_assert!(missed.insert(seq), "{seq} twice");
                }
            }
            let expected = (*read.first().unwrap()..first.min(last + 1)).filter(|seq| !read.contains(seq) && !gone.contains(*seq));
            prop_assert_eq!(missed, expected.collect::<BTreeSet<_>>());
        }
    }
}
