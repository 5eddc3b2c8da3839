//! Committing to a chain.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cim_core::archive::key::{Chain, GROUP};
use cim_core::archive::{ArchiveKey, ArchiveState, ChainError, Entry, Sha256};
use cim_core::names::StreamName;
use cim_runtime::retry::Backoff;
use tokio_util::sync::CancellationToken;

use super::{Draft, ReadError};
use crate::hooks::fail_point;
use crate::s3::{Kind, Put, S3Error, Store};

/// A commit that did not happen.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Somebody else committed under this number.
    #[error("another writer committed manifest entry {number} of stream `{stream}`")]
    Conflict {
        /// The stream.
        stream: StreamName,
        /// The entry's number.
        number: u64,
    },
    /// The chain that was read is not there any more: the bucket was emptied, or is another one.
    #[error(
        "manifest entry {number} of stream `{stream}` is gone or another one: the bucket was lost, emptied \
         or replaced"
    )]
    Lost {
        /// The stream.
        stream: StreamName,
        /// The entry that was there before.
        number: u64,
    },
    /// The process was told to end before S3 answered.
    #[error("manifest entry {number} of stream `{stream}` was not committed before the end")]
    Cancelled {
        /// The stream.
        stream: StreamName,
        /// The entry's number.
        number: u64,
        /// The last failure.
        source: S3Error,
    },
    /// The entry does not follow from what was committed before. It was not written.
    #[error(
        "an entry for stream `{stream}` was not written, for no reader would take it: what is there is read anew"
    )]
    Contradiction {
        /// The stream.
        stream: StreamName,
        /// What is wrong with it.
        source: ChainError,
    },
    /// What is there could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// How long a chain that was seen is believed to be there still.
const TRUST: Duration = Duration::from_secs(1);
/// How often somebody should look at a chain to which nothing is committed.
const REST: Duration = Duration::from_secs(10);

/// Commits to one chain, one entry after the other.
#[derive(Debug)]
pub struct Committer {
    store: Arc<Store>,
    chain: Chain,
    stream: StreamName,
    writer: Arc<str>,
    state: Option<ArchiveState>,
    /// The entry that is looked for to know whether the chain is there: the last one when it was seen.
    anchor: Option<Link>,
    seen: Option<Instant>,
    /// What was written since, to the bucket that has the anchor or, unawares, to another one.
    unseen: Vec<Link>,
}

impl Committer {
    /// Goes on from `state`, which was just read.
    pub fn new(
        store: Arc<Store>,
        chain: Chain,
        stream: StreamName,
        writer: Arc<str>,
        state: Option<ArchiveState>,
    ) -> Self {
        let mut committer = Self {
            store,
            chain,
            stream,
            writer,
            state: None,
            anchor: None,
            seen: None,
            unseen: Vec::new(),
        };
        committer.anchor = state.as_ref().map(|state| committer.link(state.number, state.hash));
        committer.state = state;
        committer
    }

    /// The state after the last commit.
    pub fn state(&self) -> Option<&ArchiveState> {
        self.state.as_ref()
    }

    /// Commits. Retries until S3 says what is there, or `cancel` comes. Returns the entry's bytes.
    /// After an error the committer is of no use: what is there has to be read again.
    pub async fn commit(
        &mut self,
        draft: Draft,
        cancel: &CancellationToken,
    ) -> Result<Bytes, CommitError> {
        let made = draft.entry(self.state.take(), &self.writer);
        let (entry, state, object) = made.map_err(|source| self.contradiction(source))?;
        let object = Bytes::from(object);
        self.put_entry(self.link(entry.number, state.hash), &object, cancel).await?;
        self.state = Some(state);
        Ok(object)
    }

    /// Begins this chain with what another tier's chain says.
    pub async fn adopt(
        &mut self,
        other: &ArchiveState,
        cancel: &CancellationToken,
    ) -> Result<(), CommitError> {
        let made = super::draft::adopted(other, &self.writer);
        let (state, object) = made.map_err(|source| self.contradiction(source))?;
        self.put_entry(self.link(0, state.hash), &Bytes::from(object), cancel).await?;
        self.state = Some(state);
        Ok(())
    }

    fn contradiction(&self, source: ChainError) -> CommitError {
        CommitError::Contradiction { stream: self.stream.clone(), source }
    }

    fn link(&self, number: u64, hash: Sha256) -> Link {
        let (store, stream) = (Arc::clone(&self.store), self.stream.clone());
        Link { store, stream, key: self.chain.key(&self.stream, number), number, hash }
    }

    /// Writes an entry's bytes under its number, or finds that they are there already.
    async fn put_entry(
        &mut self,
        entry: Link,
        object: &Bytes,
        cancel: &CancellationToken,
    ) -> Result<(), CommitError> {
        let mut tries = 0;
        loop {
            let failure = match self.try_put_entry(&entry, object).await {
                Ok(Ok(())) => break,
                Ok(Err(error)) => return Err(error),
                Err(failure) => failure,
            };
            // Whatever answers next may be another service at the same address.
            self.seen = None;
            tries += 1;
            tracing::warn!(
                stream = %self.stream,
                "commit of manifest entry {} not answered, trying again: {failure}",
                entry.number
            );
            if !Backoff::default().wait(tries, cancel).await {
                let stream = self.stream.clone();
                return Err(CommitError::Cancelled {
                    stream,
                    number: entry.number,
                    source: failure,
                });
            }
        }
        if self.anchor.is_none() {
            (self.anchor, self.seen) = (Some(entry), Some(Instant::now()));
        } else {
            self.unseen.push(entry);
        }
        Ok(())
    }

    async fn try_put_entry(
        &mut self,
        entry: &Link,
        object: &Bytes,
    ) -> Result<Result<(), CommitError>, S3Error> {
        if self.seen.is_none_or(|seen| seen.elapsed() > TRUST)
            && let Some(lost) = self.look(Some(entry)).await?
        {
            return Ok(Err(lost));
        }
        fail_point!(EntryBefore if self.chain == Chain::Manifest);
        let put = self.store.put_new(&entry.key, object.clone()).await?;
        fail_point!(EntryAfter if self.chain == Chain::Manifest);
        // Ours after all, where an answer was lost after the write had succeeded.
        let ours = put == Put::Created || self.store.get(&entry.key.to_string()).await? == *object;
        Ok(if ours {
            Ok(())
        } else {
            let stream = self.stream.clone();
            Err(CommitError::Conflict { stream, number: entry.number })
        })
    }

    /// Whether somebody should look, for no commit does: else what went to a NAS that had been replaced by an
    /// empty one would stand there alone, and the rest would be missed, until the stream's next message.
    pub fn look_is_due(&self) -> bool {
        let patience = if self.unseen.is_empty() { REST } else { TRUST };
        self.anchor.is_some() && self.seen.is_none_or(|seen| seen.elapsed() > patience)
    }

    /// Whether something was written since the chain was last seen.
    pub fn has_unseen(&self) -> bool {
        !self.unseen.is_empty()
    }

    /// Looks whether the chain is there, and with it all that was written to it. An empty bucket takes any
    /// number, and so does one that lost its newest entries. What was written behind something that is not
    /// there is withdrawn, for nobody could read it. `trying` is an entry that may have been written although
    /// no answer said so.
    pub async fn look(&mut self, trying: Option<&Link>) -> Result<Option<CommitError>, S3Error> {
        let Some(anchor) = self.anchor.clone() else { return Ok(None) };
        if let Some(behind) = self.first_missing(&anchor).await? {
            let (gone, after) = match behind {
                None => (&anchor, &self.unseen[..]),
                Some(index) => (&self.unseen[index], &self.unseen[index + 1..]),
            };
            for written in trying.into_iter().chain(after.iter().rev()) {
                written.withdraw(gone).await?;
            }
            return Ok(Some(gone.lost()));
        }
        self.seen = Some(Instant::now());
        if let Some(last) = self.unseen.pop() {
            self.unseen.clear();
            self.anchor = Some(last);
        }
        Ok(None)
    }

    /// The first of anchor (`Some(None)`) and unseen ones (`Some(Some(index))`) that is not there.
    async fn first_missing(&self, anchor: &Link) -> Result<Option<Option<usize>>, S3Error> {
        if !anchor.is_there().await? {
            return Ok(Some(None));
        }
        let groups: BTreeSet<u64> = self.unseen.iter().map(|link| link.number / GROUP).collect();
        let mut listed = BTreeSet::new();
        for group in groups {
            let prefix = self.chain.group_prefix(&self.stream, group);
            let objects = self.store.list(&prefix, false).await?;
            listed.extend(objects.into_iter().map(|object| object.key));
        }
        for (index, link) in self.unseen.iter().enumerate() {
            if !listed.contains(&link.key.to_string()) && !link.is_there().await? {
                return Ok(Some(Some(index)));
            }
        }
        Ok(None)
    }
}

/// One entry of a chain.
#[derive(Debug, Clone)]
pub struct Link {
    store: Arc<Store>,
    stream: StreamName,
    key: ArchiveKey,
    number: u64,
    hash: Sha256,
}

impl Link {
    /// Whether the tier has this entry, and no other one in its place. A damaged one counts: it tells of
    /// bad disks and not of another bucket, and what follows it is of use.
    pub async fn is_there(&self) -> Result<bool, S3Error> {
        let found = self.find().await?;
        Ok(found.is_some_and(|hash| hash.is_none_or(|hash| hash == self.hash)))
    }

    /// The hash of what is there, if something is; `None` within, if that is damaged.
    async fn find(&self) -> Result<Option<Option<Sha256>>, S3Error> {
        match self.store.get(&self.key.to_string()).await {
            Ok(object) => Ok(Some(Entry::from_object(&object).ok().map(|(_, hash)| hash))),
            Err(S3Error { kind: Kind::NotFound, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Deletes it, unless what it stands behind is there after all.
    async fn withdraw(&self, gone: &Self) -> Result<(), S3Error> {
        if self.find().await? == Some(Some(self.hash)) && !gone.is_there().await? {
            self.store.delete(&self.key.to_string()).await?;
        }
        Ok(())
    }

    fn lost(&self) -> CommitError {
        CommitError::Lost { stream: self.stream.clone(), number: self.number }
    }
}
