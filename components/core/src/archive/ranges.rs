//! Sets of sequences as sorted ranges.

use std::borrow::Cow;
use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// The sequences from `first` to `last`, both included; stored as `[first, last]`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u64, u64)", into = "(u64, u64)")]
pub struct SeqRange {
    /// The first sequence.
    pub first: u64,
    /// The last sequence.
    pub last: u64,
}

impl From<(u64, u64)> for SeqRange {
    fn from((first, last): (u64, u64)) -> Self {
        Self { first, last }
    }
}

impl From<SeqRange> for (u64, u64) {
    fn from(SeqRange { first, last }: SeqRange) -> Self {
        (first, last)
    }
}

impl JsonSchema for SeqRange {
    fn schema_name() -> Cow<'static, str> {
        "SeqRange".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let mut schema = <(u64, u64)>::json_schema(generator);
        let description =
            "The sequences from `first` to `last`, both included; stored as `[first, last]`.";
        schema.insert("description".into(), description.into());
        schema
    }
}

/// A set of sequences. Neighbours are merged, so its size is the number of runs, not of sequences.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SeqRanges(BTreeMap<u64, u64>);

impl SeqRanges {
    /// Adds a range; an empty one (`from > to`) changes nothing.
    pub fn insert(&mut self, SeqRange { first: mut from, last: mut to }: SeqRange) {
        if from > to {
            return;
        }
        // The run that starts at or before the range may reach it or touch it.
        if let Some((&start, &end)) = self.0.range(..=from).next_back()
            && end.saturating_add(1) >= from
        {
            from = start;
            to = to.max(end);
        }
        while let Some((&start, &end)) = self.0.range(from..=to.saturating_add(1)).next() {
            to = to.max(end);
            self.0.remove(&start);
        }
        self.0.insert(from, to);
    }

    /// Reports whether `seq` is in the set.
    pub fn contains(&self, seq: u64) -> bool {
        self.0.range(..=seq).next_back().is_some_and(|(_, &to)| to >= seq)
    }

    /// Returns the runs, ascending.
    pub fn iter(&self) -> impl Iterator<Item = SeqRange> + '_ {
        self.0.iter().map(|(&from, &to)| SeqRange { first: from, last: to })
    }

    /// Reports whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the number of sequences, at most `u64::MAX`.
    pub fn count(&self) -> u64 {
        self.0
            .iter()
            .fold(0, |sum: u64, (from, to)| sum.saturating_add(to - from).saturating_add(1))
    }

    /// Returns the sequences that are in `self` and not in `other`.
    #[must_use]
    pub fn difference(&self, other: &Self) -> Self {
        let mut rest = Self::default();
        'runs: for SeqRange { first: mut from, last: to } in self.iter() {
            let before = other.0.range(..=from).next_back().map_or(from, |(&f, _)| f);
            for (&cut_from, &cut_to) in other.0.range(before..=to) {
                if cut_to < from {
                    continue;
                }
                if cut_from > from {
                    rest.insert(SeqRange { first: from, last: cut_from - 1 });
                }
                let Some(next) = cut_to.checked_add(1) else { continue 'runs };
                from = next;
            }
            rest.insert(SeqRange { first: from, last: to });
        }
        rest
    }

    /// Returns the part of the set between `from` and `to`, both included.
    #[must_use]
    pub fn intersect(&self, from: u64, to: u64) -> Self {
        Self(self.within(from, to).map(|SeqRange { first: from, last: to }| (from, to)).collect())
    }

    /// Returns the runs between `from` and `to`, both included, cut off there, without visiting the others.
    pub fn within(&self, from: u64, to: u64) -> impl Iterator<Item = SeqRange> + '_ {
        // No run before this one ends behind `from`.
        let begin = self.0.range(..=from).next_back().map_or(from, |(&start, _)| start);
        let runs = (from <= to).then(|| self.0.range(begin..=to));
        let cut = move |(&start, &end): (&u64, &u64)| SeqRange {
            first: start.max(from),
            last: end.min(to),
        };
        runs.into_iter().flatten().map(cut).filter(|SeqRange { first: from, last: to }| from <= to)
    }
}

impl FromIterator<SeqRange> for SeqRanges {
    fn from_iter<I: IntoIterator<Item = SeqRange>>(ranges: I) -> Self {
        let mut set = Self::default();
        for range in ranges {
            set.insert(range);
        }
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn expand(set: &SeqRanges) -> BTreeSet<u64> {
        set.iter().flat_map(|SeqRange { first: from, last: to }| from..=to).collect()
    }

    #[test]
    fn the_last_sequence_of_all_is_one_like_others() {
        let all = SeqRanges::from_iter([SeqRange { first: 0, last: u64::MAX }]);
        let end = SeqRanges::from_iter([SeqRange { first: 7, last: u64::MAX }]);
        assert!(end.difference(&all).is_empty());
        assert_eq!(all.difference(&end), SeqRanges::from_iter([SeqRange { first: 0, last: 6 }]));
        assert_eq!(all.count(), u64::MAX, "one more does not fit");
    }

    /// Checks the cost: a restore asks for a part of a large set once for each of its segments.
    #[test]
    fn a_part_of_many_runs_is_found_without_going_over_all() {
        let begun = std::time::Instant::now();
        let odd: SeqRanges =
            (0..200_000).map(|n| SeqRange { first: 2 * n + 1, last: 2 * n + 1 }).collect();
        let found: u64 = (0..100_000).map(|n| odd.intersect(4 * n, 4 * n + 3).count()).sum();
        assert_eq!(found, odd.count());
        assert!(begun.elapsed().as_secs() < 10, "it took {:?}", begun.elapsed());
    }

    proptest! {
        #[test]
        fn agrees_with_a_plain_set(
            a in prop::collection::vec((0u64..60, 0u64..8), 0..12),
            b in prop::collection::vec((0u64..60, 0u64..8), 0..12),
        ) {
            let to_ranges = |v: &[(u64, u64)]| v.iter().map(|&(f, n)| SeqRange { first: f, last: f + n }).collect::<SeqRanges>();
            let (left, right) = (to_ranges(&a), to_ranges(&b));
            let plain = |v: &[(u64, u64)]| v.iter().flat_map(|&(f, n)| f..=f + n).collect::<BTreeSet<_>>();
            let (plain_left, plain_right) = (plain(&a), plain(&b));
            prop_assert_eq!(expand(&left), plain_left.clone());
            prop_assert_eq!(left.count(), plain_left.len() as u64);
            let wanted: BTreeSet<_> = plain_left.difference(&plain_right).copied().collect();
            prop_assert_eq!(expand(&left.difference(&right)), wanted);
            for seq in 0..70 {
                prop_assert_eq!(left.contains(seq), plain_left.contains(&seq));
            }
            for (from, more) in &b {
                let to = from + more;
                let part = plain_left.range(from..=&to).copied().collect::<BTreeSet<_>>();
                prop_assert_eq!(expand(&left.intersect(*from, to)), part);
                let runs: Vec<_> = left.within(*from, to).collect();
                prop_assert_eq!(left.intersect(*from, to).iter().collect::<Vec<_>>(), runs);
                prop_assert!(left.intersect(to + 1, *from).is_empty());
            }
            // Runs never touch: otherwise the set grows with every commit.
            let runs: Vec<_> = left.iter().collect();
            prop_assert!(runs.windows(2).all(|w| w[0].last + 1 < w[1].first));
        }
    }
}
