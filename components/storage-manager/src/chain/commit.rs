//! Committing to a chain.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use cim_core::archive::ArchiveState;
use cim_core::archive::key::Chain;
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
        "manifest entry {number} of stream `{stream}` is gone: the bucket was lost or emptied, \
         the archive begins anew"
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

/// How long a chain that was seen is believed to be there still. A service that is replaced by an
/// empty one takes longer than this to come up, and a chain must not be continued in an empty bucket.
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

    /// Commits. Retries until S3 says what is there, or `cancel` comes. Returns the entry's bytes.
    /// After an error the committer is of no use: what is there has to be read again.
    pub async fn commit(
        &mut self,
        draft: Draft,
        cancel: &CancellationToken,
    ) -> Result<Bytes, CommitError> {
        let (entry, state, object) = draft.entry(self.state.take(), &self.writer);
        let object = Bytes::from(object);
        self.put_entry(entry.number, &object, cancel).await?;
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
        self.put_entry(0, &Bytes::from(object), cancel).await?;
        self.state = Some(state);
        Ok(())
    }

    /// Writes an entry's bytes under its number, or finds that they are there already.
    async fn put_entry(
        &mut self,
        number: u64,
        object: &Bytes,
        cancel: &CancellationToken,
    ) -> Result<(), CommitError> {
        let mut tries = 0;
        loop {
            let failure = match self.try_put_entry(number, object).await {
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
    ) -> Result<Result<(), CommitError>, S3Error> {
        if number > 0 && self.seen.is_none_or(|seen| seen.elapsed() > TRUST) {
            let previous = self.chain.key(&self.stream, number - 1).to_string();
            match self.store.get(&previous).await {
                Ok(_) => {}
                Err(S3Error { kind: Kind::NotFound, .. }) => {
                    let stream = self.stream.clone();
                    return Ok(Err(CommitError::Lost { stream, number: number - 1 }));
                }
                Err(error) => return Err(error),
            }
        }
        let key = self.chain.key(&self.stream, number);
        fail_point!(EntryBefore if self.chain == Chain::Manifest);
        let put = self.store.put_new(&key, object.clone()).await?;
        fail_point!(EntryAfter if self.chain == Chain::Manifest);
        // Ours after all, where an answer was lost after the write had succeeded.
        let ours = put == Put::Created || self.store.get(&key.to_string()).await? == *object;
        self.seen = Some(Instant::now());
        Ok(if ours {
            Ok(())
        } else {
            Err(CommitError::Conflict { stream: self.stream.clone(), number })
        })
    }
}
