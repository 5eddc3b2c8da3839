//! A numbered log of entries on a tier: putting the next one, and knowing that those before are there.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cim_core::archive::{ArchiveKey, ChainError, Entry, Sha256};
use cim_core::names::StreamName;
use cim_runtime::retry::Backoff;
use tokio_util::sync::CancellationToken;

use super::ReadError;
use crate::hooks::fail_point;
use crate::journal;
use crate::s3::{ErrorKind, PutOutcome, S3Error, Store};

/// A commit that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// An entry of another writer has this number.
    #[error("another writer committed manifest entry {number} of {log}")]
    Conflict {
        /// The stream, or the journal.
        log: Arc<str>,
        /// The entry's number.
        number: u64,
    },
    /// The log that was read is not there any more: the bucket was emptied, or is another one.
    #[error(
        "manifest entry {number} of {log} is gone or another one: the bucket was lost, emptied or replaced"
    )]
    LogMissing {
        /// The stream, or the journal.
        log: Arc<str>,
        /// The entry that was there before.
        number: u64,
    },
    /// The process was told to end before S3 answered.
    #[error(
        "manifest entry {number} of {log} was not committed before the process ended; JetStream keeps its messages"
    )]
    Cancelled {
        /// The stream, or the journal.
        log: Arc<str>,
        /// The entry's number.
        number: u64,
        /// The last failure.
        source: S3Error,
    },
    /// The entry does not follow from what was committed before. It was not written.
    #[error(
        "an entry for stream `{stream}` contradicts its archive and was not written: the archive is read again"
    )]
    Contradiction {
        /// The stream.
        stream: StreamName,
        /// The contradiction.
        source: ChainError,
    },
    /// The state of the log is not known: it was not begun, or its last commit failed.
    #[error(
        "the state of {log} is not known, for its last commit failed: its archive is read again"
    )]
    NotOpen {
        /// The stream.
        log: Arc<str>,
    },
    /// The log's state could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// The time for which a verified log is taken to be there still.
const ANCHOR_TTL: Duration = Duration::from_secs(1);
/// The interval at which a log to which nothing is committed is to be looked at.
const IDLE_CHECK: Duration = Duration::from_secs(10);

/// A log that is being written.
#[derive(Debug, Default)]
pub struct Log {
    /// The entry that is looked for to know whether the log is there: the last one when it was verified.
    anchor: Option<EntryRef>,
    verified_at: Option<Instant>,
    /// The entries that were written since, to the bucket that has the anchor or, unawares, to another one.
    unverified: Vec<EntryRef>,
}

impl Log {
    /// Goes on behind an entry that was just read.
    pub fn resume_after(last: Option<EntryRef>) -> Self {
        Self { anchor: last, verified_at: None, unverified: Vec::new() }
    }

    /// Writes an entry's bytes under its number, or finds that they are there already. Retries until S3 says
    /// which entry has the number, or `cancel` comes.
    ///
    /// # Errors
    /// When another entry has the number, or the log is not there any more.
    pub async fn put(
        &mut self,
        entry: EntryRef,
        object: &Bytes,
        cancel: &CancellationToken,
    ) -> Result<(), CommitError> {
        let mut tries = 0;
        loop {
            let failure = match self.try_put(&entry, object).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => return Err(error),
                Err(failure) => failure,
            };
            // Whatever answers next may be another service at the same address.
            self.verified_at = None;
            tries += 1;
            tracing::warn!(
                "commit of manifest entry {} of {} not answered, trying again: {failure}",
                entry.number,
                entry.log
            );
            if !Backoff::default().wait(tries, cancel).await {
                let (log, number) = (entry.log, entry.number);
                return Err(CommitError::Cancelled { log, number, source: failure });
            }
        }
        if self.anchor.is_none() {
            (self.anchor, self.verified_at) = (Some(entry), Some(Instant::now()));
        } else {
            self.unverified.push(entry);
        }
        Ok(())
    }

    async fn try_put(
        &mut self,
        entry: &EntryRef,
        object: &Bytes,
    ) -> Result<Result<(), CommitError>, S3Error> {
        if self.verified_at.is_none_or(|verified_at| verified_at.elapsed() > ANCHOR_TTL)
            && let Some(lost) = self.verify_anchor(Some(entry)).await?
        {
            return Ok(Err(lost));
        }
        fail_point!(EntryBefore if !matches!(entry.key, ArchiveKey::Tertiary { .. }));
        let put = entry.store.put_if_absent(&entry.key, object.clone()).await?;
        fail_point!(EntryAfter if !matches!(entry.key, ArchiveKey::Tertiary { .. }));
        // Ours after all, where an answer was lost after the write had succeeded.
        let ours = put == PutOutcome::Created
            || entry.store.get_as_is(&entry.key.to_string()).await? == *object;
        Ok(if ours {
            Ok(())
        } else {
            Err(CommitError::Conflict { log: Arc::clone(&entry.log), number: entry.number })
        })
    }

    /// Returns true if the log is to be verified although nothing is committed: else what went to a NAS that had been
    /// replaced by an empty one would stand there alone, and the rest would be missed, until the next message.
    pub fn verification_due(&self) -> bool {
        let patience = if self.unverified.is_empty() { IDLE_CHECK } else { ANCHOR_TTL };
        self.anchor.is_some()
            && self.verified_at.is_none_or(|verified_at| verified_at.elapsed() > patience)
    }

    /// Returns true if something was written since the log was last verified.
    pub fn has_unverified(&self) -> bool {
        !self.unverified.is_empty()
    }

    /// Looks whether the log is there, and with it all that was written to it. An empty bucket takes any
    /// number, and so does one that lost its newest entries. What was written behind something that is not
    /// there is withdrawn, for it could not be read; not where another writer has gone on behind it, who may have
    /// deleted what is not there any more. `trying` is an entry that may have been written although no answer
    /// said so.
    ///
    /// # Errors
    /// When S3 does not answer.
    pub async fn verify_anchor(
        &mut self,
        trying: Option<&EntryRef>,
    ) -> Result<Option<CommitError>, S3Error> {
        let Some(anchor) = self.anchor.clone() else { return Ok(None) };
        if let Some(behind) = self.first_missing(&anchor).await? {
            let (gone, after) = match behind {
                None => (&anchor, &self.unverified[..]),
                Some(index) => (&self.unverified[index], &self.unverified[index + 1..]),
            };
            let last = trying.or(self.unverified.last()).unwrap_or(&anchor);
            if last.has_successor().await? {
                let (log, number) = (Arc::clone(&last.log), last.number + 1);
                return Ok(Some(CommitError::Conflict { log, number }));
            }
            for written in trying.into_iter().chain(after.iter().rev()) {
                written.roll_back(gone).await?;
            }
            return Ok(Some(gone.missing()));
        }
        self.verified_at = Some(Instant::now());
        if let Some(last) = self.unverified.pop() {
            self.unverified.clear();
            self.anchor = Some(last);
        }
        Ok(None)
    }

    /// Finds the first of the anchor (`Some(None)`) and the unverified entries (`Some(Some(index))`) that is missing.
    async fn first_missing(&self, anchor: &EntryRef) -> Result<Option<Option<usize>>, S3Error> {
        if !anchor.exists().await? {
            return Ok(Some(None));
        }
        let folders: BTreeSet<&str> =
            self.unverified.iter().map(|link| link.folder.as_str()).collect();
        let mut listed = BTreeSet::new();
        for folder in folders {
            let objects = anchor.store.list_after(folder, &anchor.key.to_string()).await?;
            listed.extend(objects.into_iter().map(|object| object.key));
        }
        for (index, link) in self.unverified.iter().enumerate() {
            if !listed.contains(&link.key.to_string()) && !link.exists().await? {
                return Ok(Some(Some(index)));
            }
        }
        Ok(None)
    }
}

/// One entry of a log.
#[derive(Debug, Clone)]
pub struct EntryRef {
    /// The store that has it.
    pub store: Arc<Store>,
    /// The log, for messages.
    pub log: Arc<str>,
    /// Its key.
    pub key: ArchiveKey,
    /// The prefix under which it is listed with its neighbours.
    pub folder: String,
    /// Its number.
    pub number: u64,
    /// Its hash.
    pub hash: Sha256,
}

impl EntryRef {
    /// Returns true if the tier has this entry, and no other one in its place. A damaged one counts: it tells of bad
    /// disks and not of another bucket, and the entries behind it are of use.
    ///
    /// # Errors
    /// When S3 does not answer.
    pub async fn exists(&self) -> Result<bool, S3Error> {
        let found = self.find().await?;
        Ok(found.is_some_and(|hash| hash.is_none_or(|hash| hash == self.hash)))
    }

    /// Fetches the hash of the entry under this key, if there is one; `None` within, if that is damaged.
    async fn find(&self) -> Result<Option<Option<Sha256>>, S3Error> {
        let object = match self.store.get(&self.key.to_string()).await {
            Ok(object) => object,
            // What another key has encrypted is another writer's.
            Err(S3Error { kind: ErrorKind::NotFound | ErrorKind::Locked(_), .. }) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        Ok(Some(match self.key {
            ArchiveKey::Journal { .. } => journal::read_entry(&object).ok().map(|(_, hash)| hash),
            _ => Entry::from_object(&object).ok().map(|(_, hash)| hash),
        }))
    }

    /// Returns whether there are entries behind it.
    async fn has_successor(&self) -> Result<bool, S3Error> {
        Ok(!self.store.list_after(&self.folder, &self.key.to_string()).await?.is_empty())
    }

    /// Deletes it, unless the entry that it stands behind is there after all.
    async fn roll_back(&self, gone: &Self) -> Result<(), S3Error> {
        if self.find().await? == Some(Some(self.hash)) && !gone.exists().await? {
            self.store.delete(&self.key.to_string()).await?;
        }
        Ok(())
    }

    fn missing(&self) -> CommitError {
        CommitError::LogMissing { log: Arc::clone(&self.log), number: self.number }
    }
}
