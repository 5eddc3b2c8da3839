//! One entry on its way to the tier.

use std::collections::BTreeMap;
use std::sync::Arc;

use cim_core::archive::Sha256;
use cim_core::archive::journal::JournalError;
use cim_core::names::StreamName;
use parquet::errors::ParquetError;
use tokio_util::sync::CancellationToken;

use super::gathered::{Gathered, Waiter};
use super::object::{Commit, Made, Place, make};
use super::shared_state::Shared;
use super::validate::{Refused, reject_invalid};
use crate::chain::{CommitError, EntryRef, Log};
use crate::crypt::is_encrypted;
use crate::s3::Store;

/// An entry that did not come about.
#[derive(Debug, thiserror::Error)]
pub(super) enum WriteError {
    #[error(transparent)]
    Commit(#[from] CommitError),
    #[error(transparent)]
    Journal(#[from] JournalError),
    #[error("cannot encode a journal entry")]
    Encode(#[from] ParquetError),
}

/// An entry on its way, and who waits for it.
pub(super) struct Put {
    pub(super) log: Log,
    pub(super) replies: Vec<Waiter>,
    /// The shares that were not taken into it.
    pub(super) refused: BTreeMap<StreamName, Refused>,
    /// The size of its object; `None` where nothing was left to be said.
    pub(super) outcome: Result<Option<u64>, WriteError>,
}

/// The means to commit one entry.
pub(super) struct EntryTask {
    pub(super) shared: Arc<Shared>,
    pub(super) store: Arc<Store>,
    pub(super) name: Arc<str>,
    pub(super) writer: Arc<str>,
    pub(super) abort: CancellationToken,
}

impl EntryTask {
    pub(super) async fn run(self, mut log: Log, gathered: Gathered) -> Put {
        let mut commits = gathered.commits();
        let Gathered { collected, replies, .. } = gathered;
        let refused = reject_invalid(&self.shared.state(), &mut commits);
        let outcome = if commits.is_empty() && collected.is_empty() && !refused.is_empty() {
            Ok(None)
        } else {
            self.commit(&mut log, commits, collected).await.map(Some)
        };
        Put { log, replies, refused, outcome }
    }

    /// Makes an entry, puts it, and takes it in; the size of its object.
    async fn commit(
        &self,
        log: &mut Log,
        commits: BTreeMap<StreamName, Commit>,
        collected: Vec<String>,
    ) -> Result<u64, WriteError> {
        let (link, made) = self.make(commits, collected).await?;
        log.put(link, &made.object, &self.abort).await?;
        if is_encrypted(&made.object) {
            *self.shared.last() = Some((made.entry.number, Sha256::of(&made.object)));
        }
        self.shared.state().apply(&made.entry, made.hash)?;
        Ok(made.object.len() as u64)
    }

    async fn make(
        &self,
        commits: BTreeMap<StreamName, Commit>,
        collected: Vec<String>,
    ) -> Result<(EntryRef, Made), WriteError> {
        let (place, last) = (Place::after(&self.shared.state()), *self.shared.last());
        let place = place.behind(&self.store, last).await;
        let (writer, to_make) = (Arc::clone(&self.writer), place.clone());
        let made = tokio::task::spawn_blocking(move || make(to_make, commits, collected, &writer));
        let made = made.await.expect("encoding does not panic")?;
        // No reader would take an entry that contradicts the journal.
        self.shared.state().check(&made.entry)?;
        let link = EntryRef {
            store: Arc::clone(&self.store),
            log: Arc::clone(&self.name),
            key: place.key(),
            folder: place.of.entries(&place.journal),
            number: place.number,
            hash: made.hash,
        };
        Ok((link, made))
    }
}
