//! A journal: one numbered log for all streams of a tier, with checkpoints that restate it.

use std::collections::{BTreeMap, BTreeSet};

use cim_core::archive::ArchiveKey;
use cim_core::archive::journal::{Change, JOURNAL_FORMAT, JournalCheckpoint, JournalEntry};
use cim_core::archive::key::JournalOf;
use cim_core::names::{JournalName, StreamName};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Archived;
use super::fold::Said;
use super::shared::Shared;
use super::store::Store;
use super::stored::stored;
use crate::error::{Error, Result};

/// The number of entries fetched at once.
const PARALLEL: usize = 8;
/// The attempts to read a journal whose objects vanish because they are merged and collected
/// meanwhile.
const ATTEMPTS: u32 = 5;

/// The content of a journal, up to the last entry that was read.
#[derive(Debug)]
pub(super) struct Journal {
    of: JournalOf,
    pub(super) name: JournalName,
    pub(super) streams: BTreeMap<StreamName, Archived>,
    /// The last entry's number and hash.
    last: Option<(u64, String)>,
    /// The last entry that a checkpoint restates.
    checkpoint: Option<u64>,
    /// The problem of the entry after the last one, if there is any.
    broken: Option<String>,
}

/// An entry and its hash.
type Link = (JournalEntry, String);

/// Reads an entry from its object.
pub(super) fn entry_of(object: &Shared) -> Result<Link, String> {
    stored(object.entry()?.as_bytes(), "a journal's entry")
}

impl Journal {
    fn empty(of: JournalOf, name: JournalName) -> Self {
        let streams = BTreeMap::new();
        Self { of, name, streams, last: None, checkpoint: None, broken: None }
    }

    /// Reads a journal from the oldest entry, or the oldest checkpoint, after which all entries are
    /// there. Later checkpoints are compared with the sum of the entries.
    pub(super) async fn open(store: &Store, of: JournalOf, name: JournalName) -> Result<Self> {
        for _ in 0..ATTEMPTS {
            if let Some(journal) = Self::attempt(store, of, &name).await? {
                return Ok(journal);
            }
        }
        Err(Error::step(format!("journal `{name}` changes faster than it can be read")))
    }

    /// Reads a journal once; returns `None` if an object vanished meanwhile.
    async fn attempt(store: &Store, of: JournalOf, name: &JournalName) -> Result<Option<Self>> {
        let mut journal = Self::empty(of, name.clone());
        // The checkpoints first: entries that are collected afterwards are in a later one.
        let checkpoints = journal.numbers(store, &of.checkpoints(name)).await?;
        let entries = journal.numbers(store, &of.entries(name)).await?;
        let start = start(&entries, &checkpoints).map_err(|missing| {
            journal.damaged(&format!("`{}` is missing", journal.key(missing)))
        })?;
        if let Some(number) = start
            && !journal.restate(store, number).await?
        {
            return Ok(None);
        }
        let wanted: Vec<u64> = entries.range(journal.next()..).copied().collect();
        let (of, own) = (journal.of, journal.name.clone());
        let mut read =
            stream::iter(wanted).map(|number| read(store, of, &own, number)).buffered(PARALLEL);
        while let Some(link) = read.try_next().await? {
            let Some(link) = link else { return Ok(None) };
            journal.take(&link)?;
            let number = link.0.number;
            if checkpoints.contains(&number) {
                journal.compare(store, number).await?;
            }
        }
        Ok(Some(journal))
    }

    async fn numbers(&self, store: &Store, folder: &str) -> Result<BTreeSet<u64>> {
        let keys = store.list(folder, false).await?;
        let numbers = keys.iter().filter_map(|key| match ArchiveKey::parse(key) {
            Ok(ArchiveKey::Journal { number, .. } | ArchiveKey::Checkpoint { number, .. }) => {
                Some(number)
            }
            _ => None,
        });
        Ok(numbers.collect())
    }

    fn next(&self) -> u64 {
        self.last.as_ref().map_or(0, |(number, _)| number.saturating_add(1))
    }

    fn key(&self, number: u64) -> String {
        key(self.of, &self.name, number)
    }

    fn damaged(&self, what: &str) -> Error {
        Error::step(format!("journal `{}` is damaged: {what}", self.name))
    }

    /// Returns the keys of the entries that no checkpoint restates.
    pub(super) fn behind_checkpoint(&self) -> impl Iterator<Item = String> {
        let first = self.checkpoint.map_or(0, |number| number + 1);
        (first..self.next()).map(|number| self.key(number))
    }

    /// Reads on to the last entry.
    pub(super) async fn advance(&mut self, store: &Store) -> Result<()> {
        loop {
            if let Some(what) = &self.broken {
                return Err(self.damaged(what));
            }
            let Some(link) = read(store, self.of, &self.name, self.next()).await? else {
                return Ok(());
            };
            self.take(&link)?;
        }
    }

    /// Reads on to the last entry, even if unread entries may have been collected.
    pub(super) async fn advance_past_checkpoint(&mut self, store: &Store) -> Result<()> {
        self.advance(store).await?;
        let newest = self.numbers(store, &self.of.checkpoints(&self.name)).await?.pop_last();
        if newest.is_some_and(|number| number >= self.next()) {
            *self = Self::open(store, self.of, self.name.clone()).await?;
        } else if newest > self.checkpoint {
            self.checkpoint = newest;
        }
        Ok(())
    }

    fn take(&mut self, link: &Link) -> Result<()> {
        let key = self.key(self.next());
        self.apply(&key, link).map_err(|what| {
            let what = format!("`{key}` {what}");
            let error = self.damaged(&what);
            self.broken = Some(what);
            error
        })
    }

    fn apply(&mut self, key: &str, (entry, hash): &Link) -> Result<(), String> {
        let (number, at) = (entry.number, entry.committed_at);
        if entry.format > JOURNAL_FORMAT {
            return Err(format!("has format {}", entry.format));
        }
        if entry.journal != self.name {
            return Err(format!("says that it is of journal `{}`", entry.journal));
        }
        if number != self.next() {
            return Err(format!("says that it is entry {number}"));
        }
        let previous = entry.previous.map(|hash| hash.to_string());
        if previous.as_deref() != self.last.as_ref().map(|(_, hash)| hash.as_str()) {
            return Err("does not continue the one before it".into());
        }
        for (stream, change) in &entry.streams {
            let said = Said { stream, key, number, at };
            let of = |what| format!("{what} (stream `{stream}`)");
            match (self.streams.get_mut(stream), &change.begin) {
                (Some(_), Some(_)) => {
                    return Err(of("begins a stream that exists already".to_owned()));
                }
                (None, None) => {
                    return Err(of("continues a stream that does not exist".to_owned()));
                }
                (Some(archived), None) => archived.change(change, &said).map_err(of)?,
                (None, Some(_)) if !begins_only(change) => {
                    return Err(of("begins a stream and changes it at once".to_owned()));
                }
                (None, Some(restated)) => {
                    let archived = Archived::restated(restated, &said).map_err(of)?;
                    self.streams.insert(stream.clone(), archived);
                }
            }
        }
        self.last = Some((number, hash.clone()));
        Ok(())
    }

    /// Begins with a checkpoint; returns false if it vanished.
    async fn restate(&mut self, store: &Store, number: u64) -> Result<bool> {
        let Some(checkpoint) = self.read_checkpoint(store, number).await? else { return Ok(false) };
        *self = checkpoint;
        Ok(true)
    }

    /// Compares a checkpoint with the sum of the entries up to it.
    async fn compare(&mut self, store: &Store, number: u64) -> Result<()> {
        let Some(restated) = self.read_checkpoint(store, number).await? else { return Ok(()) };
        let about = if self.last != restated.last {
            Some("its last entry".to_owned())
        } else if let Some(stream) =
            self.streams.keys().chain(restated.streams.keys()).find(|stream| {
                !self.streams.contains_key(*stream) || !restated.streams.contains_key(*stream)
            })
        {
            Some(format!("whether there is a stream `{stream}`"))
        } else {
            let both = self.streams.iter().zip(restated.streams.values());
            let mut different = both.filter_map(|((stream, archived), restated)| {
                Some(format!("{} (stream `{stream}`)", archived.differs(restated)?))
            });
            different.next()
        };
        if let Some(about) = about {
            return Err(self.damaged(&format!(
                "the checkpoint after entry {number} disagrees with the entries before it about {about}"
            )));
        }
        self.checkpoint = Some(number);
        Ok(())
    }

    async fn read_checkpoint(&self, store: &Store, number: u64) -> Result<Option<Self>> {
        let (of, journal) = (self.of, self.name.clone());
        let key = ArchiveKey::Checkpoint { of, journal, number }.to_string();
        let Some(bytes) = store.get(&key).await? else { return Ok(None) };
        let journal = Self::of_checkpoint(of, &self.name, number, &bytes);
        journal.map(Some).map_err(|what| self.damaged(&format!("`{key}` {what}")))
    }

    fn of_checkpoint(
        of: JournalOf,
        name: &JournalName,
        number: u64,
        bytes: &[u8],
    ) -> Result<Self, String> {
        let text =
            zstd::stream::decode_all(bytes).map_err(|e| format!("cannot be unpacked: {e}"))?;
        let (checkpoint, _): (JournalCheckpoint, _) = stored(&text, "a checkpoint")?;
        if checkpoint.format > JOURNAL_FORMAT {
            return Err(format!("has format {}", checkpoint.format));
        }
        if (&checkpoint.journal, checkpoint.number) != (name, number) {
            let JournalCheckpoint { journal, number, .. } = &checkpoint;
            return Err(format!("says that it is of journal `{journal}` after entry {number}"));
        }
        let mut journal = Self::empty(of, name.clone());
        for (stream, restated) in &checkpoint.streams {
            // A checkpoint holds no messages: all its segments have keys.
            let said = Said { stream, key: "", number: restated.number, at: restated.committed_at };
            let archived = Archived::restated(restated, &said);
            let archived = archived.map_err(|what| format!("{what} (stream `{stream}`)"))?;
            journal.streams.insert(stream.clone(), archived);
        }
        journal.last = Some((number, checkpoint.hash.to_string()));
        journal.checkpoint = Some(number);
        Ok(journal)
    }
}

fn key(of: JournalOf, name: &JournalName, number: u64) -> String {
    ArchiveKey::Journal { of, journal: name.clone(), number }.to_string()
}

fn begins_only(change: &Change) -> bool {
    *change == Change { begin: change.begin.clone(), ..Change::default() }
}

/// Reads an entry; returns `None` if it does not exist.
async fn read(
    store: &Store,
    of: JournalOf,
    name: &JournalName,
    number: u64,
) -> Result<Option<Link>> {
    let key = key(of, name, number);
    let Some(object) = store.shared(&key).await? else { return Ok(None) };
    let link = object
        .and_then(|object| entry_of(&object))
        .map_err(|what| Error::step(format!("journal `{name}` is damaged: `{key}` {what}")))?;
    Ok(Some(link))
}

/// Returns the checkpoint to begin with, or `None` for a journal whose entries are all there.
///
/// # Errors
/// Returns the number of the missing entry.
fn start(entries: &BTreeSet<u64>, checkpoints: &BTreeSet<u64>) -> Result<Option<u64>, u64> {
    let newest = checkpoints.last().copied();
    let Some(last) = entries.last().copied().filter(|last| newest.is_none_or(|at| at <= *last))
    else {
        return Ok(newest);
    };
    let mut first = last;
    while first > 0 && entries.contains(&(first - 1)) {
        first -= 1;
    }
    if first == 0 {
        return Ok(None);
    }
    // Entries that a checkpoint restates may be gone.
    checkpoints.range(first - 1..).next().copied().map_or(Err(first - 1), |number| Ok(Some(number)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_read_from_where_all_entries_are_there() {
        let start = |entries: &[u64], checkpoints: &[u64]| {
            start(&entries.iter().copied().collect(), &checkpoints.iter().copied().collect())
        };
        assert_eq!(start(&[], &[]), Ok(None));
        assert_eq!(start(&[0, 1, 2], &[]), Ok(None));
        assert_eq!(start(&[0, 1, 2], &[1]), Ok(None));
        assert_eq!(start(&[2, 3], &[1]), Ok(Some(1)));
        assert_eq!(start(&[2, 3], &[0, 2, 3]), Ok(Some(2)));
        assert_eq!(start(&[0, 1, 3], &[2]), Ok(Some(2)));
        // All that a checkpoint restates may be gone, and some of it may be left.
        assert_eq!(start(&[], &[5]), Ok(Some(5)));
        assert_eq!(start(&[0, 1], &[5]), Ok(Some(5)));
        // But nothing behind it.
        assert_eq!(start(&[2, 3], &[]), Err(1));
        assert_eq!(start(&[0, 1, 3], &[1]), Err(2));
        assert_eq!(start(&[7], &[5]), Err(6));
    }
}
