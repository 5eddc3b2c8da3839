//! Looks at what a reader of a journal does not need today: what says the same as the newest checkpoint, should that be
//! lost, and what is still there of what was before.
//!
//! The two newest checkpoints and the entries between them have to be there: two ways to the same state. What is older
//! goes when its time has come, and may be gone. Where there is one checkpoint, all entries say the same as long as they
//! are there; a writer that could not read one of them has made the checkpoint in its place.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use bytes::Bytes;
use cim_core::archive::journal::{CheckpointHead, JournalCheckpoint};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveKey, Sha256};
use cim_core::names::JournalName;
use cim_runtime::error::chain;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::gc::checkpoints;
use super::object::read_entry_at_end;
use super::open::{CheckpointError, FETCHES, OpenError, fetch_end, unpack};
use crate::s3::{ErrorKind, S3Error, Store};

/// The problems of a journal that can be read.
#[derive(Debug, Default)]
pub struct Audit {
    /// Objects without which there is no second way.
    pub problems: Vec<Problem>,
    /// Damaged objects that are no longer of use.
    pub warnings: Vec<String>,
    /// Objects without a key: their damage cannot be known.
    pub locked: Vec<String>,
}

/// One thing that is wrong.
#[derive(Debug)]
pub struct Problem {
    /// In words.
    pub what: String,
    /// The key of a newest checkpoint, which is to be deleted. Anything else the next one makes up for.
    pub delete: Option<String>,
}

/// Audits a journal; with `all` what is of no use any more too.
///
/// # Errors
/// When S3 does not answer.
pub async fn audit(
    store: &Store,
    of: JournalOf,
    journal: &JournalName,
    all: bool,
) -> Result<Audit, S3Error> {
    let log = Log { store, of, journal };
    loop {
        let numbers = checkpoints(store, of, journal).await?;
        let audit = log.audit(&numbers, all).await?;
        // What goes when there is a new checkpoint was looked for with the old ones in mind.
        if audit.problems.is_empty() || checkpoints(store, of, journal).await? == numbers {
            return Ok(audit);
        }
    }
}

#[derive(Clone, Copy)]
struct Log<'a> {
    store: &'a Store,
    of: JournalOf,
    journal: &'a JournalName,
}

/// The place that an entry states: the hash of the one before it, and its own.
type Link = (Option<Sha256>, Sha256);

/// Why an entry does not say it, in words.
enum Silent {
    Damaged(String),
    Locked(String),
}

impl Log<'_> {
    async fn audit(self, numbers: &[u64], all: bool) -> Result<Audit, S3Error> {
        let mut audit = Audit::default();
        // Where there is no checkpoint all entries are read when the journal is opened.
        let Some((&newest, earlier)) = numbers.split_last() else { return Ok(audit) };
        let before = earlier.last().copied();
        let mut heads = BTreeMap::new();
        for number in numbers.iter().copied() {
            let needed = number == newest || Some(number) == before;
            if !needed && !all {
                continue;
            }
            match self.head(number).await? {
                Some(Ok(head)) => drop(heads.insert(number, head.hash)),
                Some(Err(OpenError::S3(locked))) => audit.locked.push(chain(&locked)),
                Some(Err(error)) if needed => {
                    let delete = (number == newest).then(|| self.checkpoint(number));
                    audit.problems.push(Problem { what: chain(&error), delete });
                }
                Some(Err(error)) => audit.warnings.push(chain(&error)),
                // A problem only if it is of the same two the next time.
                None if needed => {
                    audit.missing(&format!("checkpoint `{}`", self.checkpoint(number)));
                }
                None => {}
            }
        }
        if !heads.contains_key(&newest) {
            // The journal was opened with the entries before it.
            return Ok(audit);
        }
        let behind = before.filter(|_| !all);
        let entries = self.entries(behind, newest).await?;
        if before.is_none() && (entries.len() as u64) <= newest {
            audit.warnings.push(format!(
                "checkpoint `{}` is relied on alone, for entries before it are gone: the storage manager's next one makes up for it",
                self.checkpoint(newest)
            ));
        }
        let needed = before.map_or(RangeInclusive::new(1, 0), |before| before + 1..=newest);
        self.compare(&entries, &heads, needed, &mut audit);
        Ok(audit)
    }

    /// Looks whether entries follow from each other, and whether checkpoints are of them.
    fn compare(
        self,
        entries: &BTreeMap<u64, Result<Link, Silent>>,
        heads: &BTreeMap<u64, Sha256>,
        needed: RangeInclusive<u64>,
        audit: &mut Audit,
    ) {
        let hash = |number: u64| match entries.get(&number) {
            Some(Ok((_, hash))) => Some(*hash),
            _ => heads.get(&number).copied(),
        };
        for (number, entry) in entries {
            let (key, head) = (self.entry(*number), heads.get(number));
            let what = match entry {
                Err(Silent::Locked(what)) => {
                    audit.locked.push(what.clone());
                    continue;
                }
                Err(Silent::Damaged(what)) => what.clone(),
                Ok((_, hash)) if head.is_some_and(|head| head != hash) => {
                    format!("journal entry `{key}` is not the one that a checkpoint was made of")
                }
                Ok((previous, _)) => {
                    let before = number.checked_sub(1).map(hash);
                    if before.is_none_or(|hash| hash.is_none() || hash == *previous) {
                        continue;
                    }
                    format!("journal entry `{key}` does not continue the one before it")
                }
            };
            if needed.contains(number) {
                audit.problems.push(Problem { what, delete: None });
            } else {
                audit.warnings.push(what);
            }
        }
        let mut next = *needed.start();
        let there = entries.keys().copied().filter(|number| needed.contains(number));
        for number in there.chain(needed.end().checked_add(1)) {
            match number.saturating_sub(next) {
                0 => {}
                1 => audit.missing(&format!("journal entry `{}`", self.entry(next))),
                more => {
                    let first = self.entry(next);
                    audit.missing(&format!(
                        "journal entry `{first}`, with the {} behind it,",
                        more - 1
                    ));
                }
            }
            next = number.saturating_add(1);
        }
    }

    fn checkpoint(self, number: u64) -> String {
        ArchiveKey::Checkpoint { of: self.of, journal: self.journal.clone(), number }.to_string()
    }

    fn entry(self, number: u64) -> String {
        ArchiveKey::Journal { of: self.of, journal: self.journal.clone(), number }.to_string()
    }

    /// Reads which entry a checkpoint is of; `None` where it is gone. What S3 says within is that there is no key of it.
    async fn head(self, number: u64) -> Result<Option<Result<CheckpointHead, OpenError>>, S3Error> {
        let key = self.checkpoint(number);
        let object = match self.store.get(&key).await {
            Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
            Err(error) if matches!(error.kind, ErrorKind::Locked(_)) => {
                return Ok(Some(Err(error.into())));
            }
            other => other?,
        };
        let read = tokio::task::spawn_blocking(move || head(&object));
        let read = read.await.expect("reading does not panic").and_then(|head| {
            let here = head.number == number && head.journal == *self.journal;
            if here { Ok(head) } else { Err(CheckpointError::Misplaced) }
        });
        Ok(Some(read.map_err(|source| OpenError::Checkpoint { key, source })))
    }

    /// Reads the entries up to a number, by number; those behind another one, or all that are there.
    async fn entries(
        self,
        behind: Option<u64>,
        until: u64,
    ) -> Result<BTreeMap<u64, Result<Link, Silent>>, S3Error> {
        let (folder, end) = (self.of.entries(self.journal), self.entry(until));
        let listed = match behind {
            Some(number) => self.store.list_after(&folder, &self.entry(number)).await?,
            None => self.store.list_until(&folder, &end).await?,
        };
        let wanted = listed.into_iter().filter_map(|object| match ArchiveKey::parse(&object.key) {
            Ok(ArchiveKey::Journal { number, .. }) if number <= until => {
                Some((number, object.key, object.size))
            }
            _ => None,
        });
        let read = stream::iter(wanted).map(|(number, key, size)| async move {
            match fetch_end(self.store, key.clone(), size).await {
                // It was collected meanwhile.
                Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
                Err(error) if matches!(error.kind, ErrorKind::Locked(_)) => {
                    Ok(Some((number, Err(Silent::Locked(chain(&error))))))
                }
                Err(error) => Err(error),
                Ok(end) => Ok(Some((number, self.link(number, key, &end.tail, end.size)))),
            }
        });
        read.buffer_unordered(FETCHES).try_filter_map(async |read| Ok(read)).try_collect().await
    }

    fn link(self, number: u64, key: String, tail: &Bytes, size: u64) -> Result<Link, Silent> {
        match read_entry_at_end(tail, size) {
            Ok((entry, hash)) if entry.number == number && entry.journal == *self.journal => {
                Ok((entry.previous, hash))
            }
            Ok(_) => {
                let what = format!("journal entry `{key}` is not of this journal and this number");
                Err(Silent::Damaged(what))
            }
            Err(source) => Err(Silent::Damaged(chain(&OpenError::Entry { key, source }))),
        }
    }
}

impl Audit {
    fn missing(&mut self, what: &str) {
        self.problems.push(Problem { what: format!("{what} is missing"), delete: None });
    }
}

fn head(object: &[u8]) -> Result<CheckpointHead, CheckpointError> {
    Ok(JournalCheckpoint::head(&unpack(object)?)?)
}
