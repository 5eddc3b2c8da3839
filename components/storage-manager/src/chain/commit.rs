//! Committing to a chain.

use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::key::{Chain, GROUP};
use cim_core::archive::{ArchiveState, ChainError, Sha256};
use cim_core::names::StreamName;
use tokio_util::sync::CancellationToken;

use super::Draft;
use super::log::{CommitError, EntryRef, Log};
use crate::s3::{S3Error, Store};

/// Commits to one chain, one entry after the other.
#[derive(Debug)]
pub struct Committer {
    store: Arc<Store>,
    chain: Chain,
    stream: StreamName,
    name: Arc<str>,
    writer: Arc<str>,
    state: Option<ArchiveState>,
    log: Log,
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
        let name = format!("stream `{stream}`").into();
        let mut committer =
            Self { store, chain, stream, name, writer, state: None, log: Log::default() };
        let last = state.as_ref().map(|state| committer.link(state.number, state.hash));
        (committer.log, committer.state) = (Log::resume_after(last), state);
        committer
    }

    /// Returns the state after the last commit.
    pub fn state(&self) -> Option<&ArchiveState> {
        self.state.as_ref()
    }

    /// Returns the state after the last commit.
    ///
    /// # Errors
    /// When the chain was not begun, or its last commit failed.
    pub fn opened(&self) -> Result<&ArchiveState, CommitError> {
        self.state.as_ref().ok_or_else(|| CommitError::NotOpen { log: Arc::clone(&self.name) })
    }

    /// Commits a draft. Retries until S3 says which entry has the number, or `cancel` comes. Returns the entry's
    /// bytes. After an error the committer is of no use: the chain has to be read again.
    pub async fn commit(
        &mut self,
        draft: Draft,
        cancel: &CancellationToken,
    ) -> Result<Bytes, CommitError> {
        let made = draft.into_entry(self.state.take(), &self.writer);
        let (entry, state, object) = made.map_err(|source| self.contradiction(source))?;
        let object = Bytes::from(object);
        self.log.put(self.link(entry.number, state.hash), &object, cancel).await?;
        self.state = Some(state);
        Ok(object)
    }

    /// Begins this chain with what another tier's chain says.
    pub async fn bootstrap_from(
        &mut self,
        other: &ArchiveState,
        cancel: &CancellationToken,
    ) -> Result<(), CommitError> {
        let made = super::draft::bootstrap_entry(other, &self.writer);
        let (state, object) = made.map_err(|source| self.contradiction(source))?;
        self.log.put(self.link(0, state.hash), &Bytes::from(object), cancel).await?;
        self.state = Some(state);
        Ok(())
    }

    fn contradiction(&self, source: ChainError) -> CommitError {
        CommitError::Contradiction { stream: self.stream.clone(), source }
    }

    fn link(&self, number: u64, hash: Sha256) -> EntryRef {
        EntryRef {
            store: Arc::clone(&self.store),
            log: Arc::clone(&self.name),
            key: self.chain.key(&self.stream, number),
            folder: self.chain.group_prefix(&self.stream, number / GROUP),
            number,
            hash,
        }
    }

    /// Returns [`Log::verification_due`].
    pub fn verification_due(&self) -> bool {
        self.log.verification_due()
    }

    /// Returns [`Log::has_unverified`].
    pub fn has_unverified(&self) -> bool {
        self.log.has_unverified()
    }

    /// Calls [`Log::verify_anchor`].
    pub async fn verify_anchor(&mut self) -> Result<Option<CommitError>, S3Error> {
        self.log.verify_anchor(None).await
    }
}
