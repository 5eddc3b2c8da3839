//! What a tier holds, whatever the layout: journals, and chains of streams that no journal has taken over.

use std::collections::BTreeSet;
use std::sync::Arc;

use cim_core::archive::ArchiveState;
use cim_core::archive::journal::JournalState;
use cim_core::archive::key::Chain;
use cim_core::names::{JournalName, StreamName};

use crate::chain::{self, ReadError};
use crate::journal::{self, OpenError, journal_of};
use crate::s3::{ErrorKind, S3Error, Store};

/// An archive that could not be read.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum ArchiveError {
    /// A chain.
    Chain(#[from] ReadError),
    /// A journal.
    Journal(#[from] OpenError),
    /// S3 does not answer.
    S3(#[from] S3Error),
}

impl ArchiveError {
    /// Reports whether an encryption key is missing.
    pub fn is_locked(&self) -> bool {
        self.s3().is_some_and(|error| matches!(error.kind, ErrorKind::Locked(_)))
    }

    /// Returns the error of S3, where that is the cause.
    pub fn s3(&self) -> Option<&S3Error> {
        match self {
            Self::S3(error)
            | Self::Chain(ReadError::S3(error))
            | Self::Journal(OpenError::S3(error)) => Some(error),
            Self::Chain(_) | Self::Journal(_) => None,
        }
    }
}

/// The archive on one tier. Its journals were read when it was opened; chains are read when they are asked for.
#[derive(Debug)]
pub struct Archive {
    store: Arc<Store>,
    journals: Vec<JournalState>,
    damage: Vec<OpenError>,
    without: Vec<(JournalName, OpenError)>,
}

impl Archive {
    /// Reads the journals of a tier.
    ///
    /// # Errors
    /// When one cannot be read.
    pub async fn open(store: Arc<Store>) -> Result<Self, ArchiveError> {
        let of = journal_of(store.tier());
        let mut journals = Vec::new();
        for name in journal::names(&store, of).await? {
            journals.push(journal::open(&store, of, &name).await?.0);
        }
        Ok(Self { store, journals, damage: Vec::new(), without: Vec::new() })
    }

    /// Reads the journals of a tier, a damaged one as it was before the damage.
    ///
    /// # Errors
    /// When S3 does not answer, or a journal is damaged from its beginning.
    pub async fn open_before_damage(store: Arc<Store>) -> Result<Self, ArchiveError> {
        let of = journal_of(store.tier());
        let (mut journals, mut damage, mut without) = (Vec::new(), Vec::new(), Vec::new());
        for name in journal::names(&store, of).await? {
            let opened = journal::open_before_damage(&store, of, &name).await?;
            journals.push(opened.state);
            damage.extend(opened.damage);
            without.extend(opened.without.map(|error| (name, error)));
        }
        Ok(Self { store, journals, damage, without })
    }

    /// Returns the damage that journals were read up to.
    pub fn damage(&self) -> Option<&OpenError> {
        self.damage.first()
    }

    /// Checkpoints that a journal was read without, for they are damaged.
    pub fn without(&self) -> &[(JournalName, OpenError)] {
        &self.without
    }

    /// Returns the journals.
    pub fn journals(&self) -> &[JournalState] {
        &self.journals
    }

    /// Lists the streams that the tier holds, by name.
    ///
    /// # Errors
    /// When S3 does not answer.
    pub async fn streams(&self) -> Result<Vec<StreamName>, ArchiveError> {
        let mut streams: BTreeSet<StreamName> =
            chain::streams(&self.store).await?.into_iter().collect();
        let journals = self.journals.iter().flat_map(|journal| journal.streams.keys());
        streams.extend(journals.cloned());
        Ok(streams.into_iter().collect())
    }

    /// Reads the tier's archive of a stream; `None` when it has nothing of it. Where two journals have it, the one
    /// that spoke of it last counts.
    ///
    /// # Errors
    /// When its chain cannot be read.
    pub async fn stream(&self, stream: &StreamName) -> Result<Option<ArchiveState>, ArchiveError> {
        if let Some(state) = self.in_journal(stream) {
            return Ok(Some(state.clone()));
        }
        Ok(chain::load(&self.store, Chain::Manifest, stream).await?)
    }

    /// Returns a journal's archive of a stream.
    pub fn in_journal(&self, stream: &StreamName) -> Option<&ArchiveState> {
        let states = self.journals.iter().filter_map(|journal| journal.streams.get(stream));
        states.max_by_key(|state| state.committed_at)
    }
}
