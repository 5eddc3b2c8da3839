//! What one pass has to do, from what the two buckets list.

use std::collections::{BTreeMap, BTreeSet};

use cim_core::archive::ArchiveKey;
use cim_core::archive::key::{Chain, JournalOf};

/// Sizes in bytes, by key.
pub(super) type Listing = BTreeMap<String, u64>;

/// An object that has to be copied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Work {
    /// Its key.
    pub key: ArchiveKey,
    /// Its size in bytes.
    pub size: u64,
}

/// The work of a pass.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Pass {
    /// The objects to copy, one step after the other: messages, entries, and what entries begin with.
    pub steps: [Vec<Work>; 3],
    /// Objects that are in both.
    pub there: u64,
    /// Keys that the old bucket had and has no more.
    pub collected: Vec<String>,
    /// Of each log that both have, the newest entry of both, which has to be the same.
    pub common: Vec<String>,
}

impl Pass {
    /// Returns how many objects there are to copy, and their bytes.
    #[must_use]
    pub fn size(&self) -> (u64, u64) {
        let all = || self.steps.iter().flatten();
        (all().count() as u64, all().map(|work| work.size).sum())
    }
}

/// Why the new bucket is not one for this archive.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Clash {
    /// An object differs.
    #[error("its `{0}` is not the one that is copied")]
    Differs(String),
    /// It has been written to.
    #[error(
        "it has `{0}`, which is newer than all there is to copy: a storage manager has gone on with it"
    )]
    Ahead(String),
    /// A journal of its own.
    #[error("it has `{0}`, of a journal that there is nothing to copy of")]
    Foreign(String),
}

/// The prefix that entries are numbered in: a journal's, or a chain's.
type Log = String;

/// Returns the log that an object belongs to, and its number in it, if it is an entry.
fn entry(key: &ArchiveKey) -> Option<(Log, u64)> {
    match key {
        ArchiveKey::Journal { of, journal, number } => Some((of.entries(journal), *number)),
        ArchiveKey::Manifest { stream, number } => Some((Chain::Manifest.prefix(stream), *number)),
        ArchiveKey::Tertiary { stream, number } => Some((Chain::Tertiary.prefix(stream), *number)),
        ArchiveKey::Segment { .. }
        | ArchiveKey::Checkpoint { .. }
        | ArchiveKey::Shared { .. }
        | ArchiveKey::Probe { .. } => None,
    }
}

/// Returns what an entry or a checkpoint says was decided: the log, and up to which number.
fn decided(key: &ArchiveKey) -> Option<(Log, u64)> {
    match key {
        ArchiveKey::Checkpoint { of, journal, number } => Some((of.entries(journal), *number)),
        other => entry(other),
    }
}

/// Compares an old bucket, a new one, and what this run has `seen` in the old one before.
///
/// # Errors
/// When the new one holds something else.
pub(super) fn pass(from: &Listing, to: &Listing, seen: &BTreeSet<String>) -> Result<Pass, Clash> {
    let (mut newest, mut lowest) = (BTreeMap::new(), BTreeMap::new());
    for key in from.keys().filter_map(|key| ArchiveKey::parse(key).ok()) {
        if let Some((log, number)) = decided(&key) {
            let last = newest.entry(log).or_insert(number);
            *last = number.max(*last);
        }
        if let (Some((log, number)), false) = (entry(&key), to.contains_key(&key.to_string())) {
            let first = lowest.entry(log).or_insert(number);
            *first = number.min(*first);
        }
    }
    let mut pass = Pass::default();
    let mut common = BTreeMap::new();
    for (text, size) in to {
        let Ok(key) = ArchiveKey::parse(text) else { continue };
        match from.get(text) {
            Some(there) if there != size => return Err(Clash::Differs(text.clone())),
            Some(_) => {
                pass.there += 1;
                if let Some((log, number)) = entry(&key) {
                    common.insert(log, (number, text.clone()));
                }
            }
            None if seen.contains(text) => pass.collected.push(text.clone()),
            None => stranger(&key, text, &newest)?,
        }
    }
    pass.common = common.into_values().map(|(_, key)| key).collect();
    for (text, size) in from.iter().filter(|(text, _)| !to.contains_key(*text)) {
        let Ok(key) = ArchiveKey::parse(text) else { continue };
        let step = match &key {
            ArchiveKey::Segment { .. } | ArchiveKey::Shared { .. } => 0,
            ArchiveKey::Probe { .. } => continue,
            ArchiveKey::Checkpoint { .. } => 2,
            key => {
                let first = entry(key).is_some_and(|(log, n)| lowest.get(&log) == Some(&n));
                if first { 2 } else { 1 }
            }
        };
        pass.steps[step].push(Work { key, size: *size });
    }
    Ok(pass)
}

/// Refuses what the new bucket has and the old one has not, where that was not collected.
fn stranger(key: &ArchiveKey, text: &str, newest: &BTreeMap<Log, u64>) -> Result<(), Clash> {
    let Some((log, number)) = decided(key) else { return Ok(()) };
    match newest.get(&log) {
        Some(last) if number > *last => Err(Clash::Ahead(text.to_owned())),
        None if is_of_a_journal(&log) => Err(Clash::Foreign(text.to_owned())),
        // A chain goes when a journal has taken its stream over.
        Some(_) | None => Ok(()),
    }
}

fn is_of_a_journal(log: &str) -> bool {
    [JournalOf::Secondary, JournalOf::Tertiary].iter().any(|of| log.starts_with(of.prefix()))
}

#[cfg(test)]
mod tests {
    use cim_core::archive::Sha256;
    use proptest::prelude::*;

    use super::*;

    fn journal(name: &str, number: u64) -> String {
        let of = JournalOf::Secondary;
        ArchiveKey::Journal { of, journal: name.parse().unwrap(), number }.to_string()
    }

    fn checkpoint(number: u64) -> String {
        let of = JournalOf::Secondary;
        ArchiveKey::Checkpoint { of, journal: "main".parse().unwrap(), number }.to_string()
    }

    fn segment(first: u64) -> String {
        let stream = "S".parse().unwrap();
        ArchiveKey::segment(&stream, 1, first, first + 9, &Sha256::of(b"x")).to_string()
    }

    fn manifest(number: u64) -> String {
        Chain::Manifest.key(&"S".parse().unwrap(), number).to_string()
    }

    fn listing(keys: &[String]) -> Listing {
        keys.iter().map(|key| (key.clone(), 7)).collect()
    }

    fn steps(pass: &Pass) -> [Vec<String>; 3] {
        pass.steps.clone().map(|step| step.iter().map(|work| work.key.to_string()).collect())
    }

    fn none() -> BTreeSet<String> {
        BTreeSet::new()
    }

    #[test]
    fn messages_come_first_and_what_entries_begin_with_last() {
        let from = [journal("main", 3), journal("main", 4), journal("main", 5), checkpoint(3)];
        let from = listing(&[&from[..], &[segment(1), manifest(0), manifest(1)]].concat());
        let pass = pass(&from, &Listing::new(), &none()).unwrap();
        let expected = [
            vec![segment(1)],
            vec![manifest(1), journal("main", 4), journal("main", 5)],
            vec![manifest(0), checkpoint(3), journal("main", 3)],
        ];
        assert_eq!(steps(&pass), expected);
        assert_eq!(pass.size(), (7, 49));
    }

    #[test]
    fn what_is_there_is_not_copied_again() {
        let from = listing(&[journal("main", 0), journal("main", 1), journal("main", 2)]);
        let to = listing(&[journal("main", 0), "v1/probe/x".into(), "other/file".into()]);
        let pass = pass(&from, &to, &none()).unwrap();
        assert_eq!(steps(&pass), [vec![], vec![journal("main", 2)], vec![journal("main", 1)]]);
        assert_eq!((pass.there, pass.common), (1, vec![journal("main", 0)]));
    }

    #[test]
    fn another_archive_is_refused() {
        let from = listing(&[journal("main", 0), journal("main", 1)]);
        let clash = |to: &Listing| pass(&from, to, &none()).unwrap_err();
        let ahead = listing(&[journal("main", 0), journal("main", 2)]);
        assert_eq!(clash(&ahead), Clash::Ahead(journal("main", 2)));
        assert_eq!(clash(&listing(&[checkpoint(2)])), Clash::Ahead(checkpoint(2)));
        let foreign = listing(&[journal("other", 0)]);
        assert_eq!(clash(&foreign), Clash::Foreign(journal("other", 0)));
        let differs = Listing::from([(journal("main", 0), 8)]);
        assert_eq!(clash(&differs), Clash::Differs(journal("main", 0)));
    }

    #[test]
    fn what_was_collected_meanwhile_goes_and_what_was_never_seen_stays() {
        let from = listing(&[checkpoint(3), journal("main", 3)]);
        let to = listing(&[journal("main", 0), segment(1), checkpoint(3), journal("main", 3)]);
        let seen = BTreeSet::from([journal("main", 0)]);
        assert_eq!(pass(&from, &to, &seen).unwrap().collected, [journal("main", 0)]);
    }

    proptest! {
        /// Interrupted anywhere, as often as you like, it comes to an end, and the bucket is the same then.
        #[test]
        fn passes_come_to_an_end(
            numbers in prop::collection::btree_set(0u64..30, 1..12),
            cuts in prop::collection::vec(0usize..6, 0..6),
        ) {
            let keys: Vec<_> = numbers.iter().flat_map(|n| [journal("main", *n), segment(*n)]).collect();
            let (from, mut to) = (listing(&keys), Listing::new());
            for cut in cuts.into_iter().chain([usize::MAX]) {
                let todo = pass(&from, &to, &none()).unwrap();
                to.extend(todo.steps.into_iter().flatten().take(cut).map(|w| (w.key.to_string(), w.size)));
                let begins = to.contains_key(&journal("main", *numbers.first().unwrap()));
                prop_assert!(!begins || to == from, "its beginning is there before its end");
            }
            prop_assert_eq!(&to, &from);
            prop_assert_eq!(pass(&from, &to, &none()).unwrap().size(), (0, 0));
        }
    }
}
