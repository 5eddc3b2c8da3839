//! Committing to a chain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cim_core::archive::key::Chain;
use cim_core::archive::{ArchiveKey, ArchiveState, Entry, Sha256};
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
    /// What is there could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
}

/// How long a chain that was seen is believed to be there still.
const TRUST: Duration = Duration::from_secs(1);

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

    /// An entry that is there as long as the chain is; `None` before the chain has begun.
    pub fn anchor(&self) -> Option<&Link> {
        self.anchor.as_ref()
    }

    /// Commits. Retries until S3 says what is there, or `cancel` comes. Returns the entry's bytes.
    /// After an error the committer is of no use: what is there has to be read again.
    pub async fn commit(
        &mut self,
        draft: Draft,
        cancel: &CancellationToken,
    ) -> Result<Bytes, CommitError> {
        let (entry, state, object) = draft.entry(self.state.take(), &self.writer);
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
        let (state, object) = super::draft::adopted(other, &self.writer);
        self.put_entry(self.link(0, state.hash), &Bytes::from(object), cancel).await?;
        self.state = Some(state);
        Ok(())
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

    /// Looks whether the chain is there, and with it all that was written to it. An empty bucket takes any
    /// number, so when it is not there, what was written since it was last seen may stand alone somewhere:
    /// that is withdrawn, for nobody could read a chain that begins with it. `trying` is an entry that may
    /// have been written although no answer said so.
    pub async fn look(&mut self, trying: Option<&Link>) -> Result<Option<CommitError>, S3Error> {
        let Some(anchor) = &self.anchor else { return Ok(None) };
        if anchor.is_there().await? {
            self.seen = Some(Instant::now());
            if let Some(last) = self.unseen.pop() {
                self.unseen.clear();
                self.anchor = Some(last);
            }
            return Ok(None);
        }
        for written in trying.into_iter().chain(self.unseen.iter().rev()) {
            written.withdraw().await?;
        }
        Ok(Some(anchor.lost()))
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

    async fn withdraw(&self) -> Result<(), S3Error> {
        if self.find().await? == Some(Some(self.hash)) {
            self.store.delete(&self.key.to_string()).await?;
        }
        Ok(())
    }

    fn lost(&self) -> CommitError {
        CommitError::Lost { stream: self.stream.clone(), number: self.number }
    }
}
