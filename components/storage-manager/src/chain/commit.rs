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

/// How long a chain that was seen is believed to be there still, so that a number is asked for. What is
/// committed is looked at afterwards in any case.
const TRUST: Duration = Duration::from_secs(1);

/// Commits to one chain, one entry after the other.
#[derive(Debug)]
pub struct Committer {
    store: Arc<Store>,
    chain: Chain,
    stream: StreamName,
    writer: Arc<str>,
    state: Option<ArchiveState>,
    seen: Option<Instant>,
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
        Self { store, chain, stream, writer, state, seen: None }
    }

    /// The state after the last commit.
    pub fn state(&self) -> Option<&ArchiveState> {
        self.state.as_ref()
    }

    /// The last entry of the chain; `None` before there is one.
    pub fn head(&self) -> Option<Head> {
        let state = self.state.as_ref()?;
        let (store, stream) = (Arc::clone(&self.store), self.stream.clone());
        let key = self.chain.key(&self.stream, state.number).to_string();
        Some(Head { store, stream, key, number: state.number, hash: state.hash })
    }

    /// Commits. Retries until S3 says what is there, or `cancel` comes. Returns the entry's bytes.
    /// After an error the committer is of no use: what is there has to be read again.
    pub async fn commit(
        &mut self,
        draft: Draft,
        cancel: &CancellationToken,
    ) -> Result<Bytes, CommitError> {
        let head = self.head();
        let (entry, state, object) = draft.entry(self.state.take(), &self.writer);
        let object = Bytes::from(object);
        self.put_entry(entry.number, &object, head, cancel).await?;
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
        self.put_entry(0, &Bytes::from(object), None, cancel).await?;
        self.state = Some(state);
        Ok(())
    }

    /// Writes an entry's bytes under its number, or finds that they are there already.
    async fn put_entry(
        &mut self,
        number: u64,
        object: &Bytes,
        head: Option<Head>,
        cancel: &CancellationToken,
    ) -> Result<(), CommitError> {
        let mut tries = 0;
        loop {
            let failure = match self.try_put_entry(number, object, head.as_ref()).await {
                Ok(done) => return done,
                Err(failure) => failure,
            };
            // Whatever answers next may be another service at the same address.
            self.seen = None;
            tries += 1;
            tracing::warn!(
                stream = %self.stream,
                "commit of manifest entry {number} not answered, trying again: {failure}"
            );
            if !Backoff::default().wait(tries, cancel).await {
                let stream = self.stream.clone();
                return Err(CommitError::Cancelled { stream, number, source: failure });
            }
        }
    }

    async fn try_put_entry(
        &mut self,
        number: u64,
        object: &Bytes,
        head: Option<&Head>,
    ) -> Result<Result<(), CommitError>, S3Error> {
        let key = self.chain.key(&self.stream, number);
        if self.seen.is_none_or(|seen| seen.elapsed() > TRUST)
            && let Some(lost) = self.lost(head, &key, object).await?
        {
            return Ok(Err(lost));
        }
        fail_point!(EntryBefore if self.chain == Chain::Manifest);
        let put = self.store.put_new(&key, object.clone()).await?;
        fail_point!(EntryAfter if self.chain == Chain::Manifest);
        // Ours after all, where an answer was lost after the write had succeeded.
        if put == Put::Exists && self.store.get(&key.to_string()).await? != *object {
            return Ok(Err(CommitError::Conflict { stream: self.stream.clone(), number }));
        }
        // An empty bucket takes any number, and a service can be replaced by another one at any moment, the
        // last one included: only what is looked at afterwards is known to be the one that took this.
        if let Some(lost) = self.lost(head, &key, object).await? {
            return Ok(Err(lost));
        }
        self.seen = Some(Instant::now());
        Ok(Ok(()))
    }

    /// Whether the chain is not there any more. Then an entry of ours that would stand alone is withdrawn:
    /// nobody could read a chain that begins with it.
    async fn lost(
        &self,
        head: Option<&Head>,
        key: &ArchiveKey,
        object: &Bytes,
    ) -> Result<Option<CommitError>, S3Error> {
        let Some(head) = head else { return Ok(None) };
        if head.is_there().await? {
            return Ok(None);
        }
        let key = key.to_string();
        match self.store.get(&key).await {
            Ok(there) if there == *object => self.store.delete(&key).await?,
            Ok(_) | Err(S3Error { kind: Kind::NotFound, .. }) => {}
            Err(error) => return Err(error),
        }
        Ok(Some(head.lost()))
    }
}

/// The last entry of a chain, as its committer knows it.
#[derive(Debug)]
pub struct Head {
    store: Arc<Store>,
    stream: StreamName,
    key: String,
    number: u64,
    hash: Sha256,
}

impl Head {
    /// Whether the tier has this entry, and no other one in its place. A damaged one counts: it tells of
    /// bad disks and not of another bucket, and what follows it is of use.
    pub async fn is_there(&self) -> Result<bool, S3Error> {
        match self.store.get(&self.key).await {
            Ok(object) => {
                Ok(Entry::from_object(&object).map_or(true, |(_, hash)| hash == self.hash))
            }
            Err(S3Error { kind: Kind::NotFound, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// That it has not.
    pub fn lost(&self) -> CommitError {
        CommitError::Lost { stream: self.stream.clone(), number: self.number }
    }
}
