//! Reading a journal: its newest checkpoint, and the entries behind it.

use bytes::Bytes;
use cim_core::archive::journal::{JournalCheckpoint, JournalError, JournalState};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveKey, EntryError};
use cim_core::names::JournalName;
use cim_runtime::error::chain;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::object::{ObjectError, read_entry};
use super::writer::Committed;
use crate::hooks::sabotage;
use crate::s3::{Listed, S3Error, Store};

/// Entries that are fetched at once.
const FETCHES: usize = 32;

/// A journal that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// S3 did not answer as it should.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// An entry is damaged.
    #[error("the archive is damaged: journal entry `{key}` cannot be read")]
    Entry {
        /// Its key.
        key: String,
        /// How.
        source: ObjectError,
    },
    /// A checkpoint is damaged.
    #[error("the archive is damaged: checkpoint `{key}` cannot be read")]
    Checkpoint {
        /// Its key.
        key: String,
        /// How.
        source: CheckpointError,
    },
    /// Entries do not belong together.
    #[error("the archive is damaged")]
    Journal(#[from] JournalError),
}

/// A checkpoint that cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be unpacked.
    #[error("it cannot be unpacked")]
    Zstd(#[source] std::io::Error),
    /// It is not the one that was written.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// It contradicts itself.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// The names of the journals that a tier holds.
///
/// # Errors
/// When S3 does not answer.
pub async fn names(store: &Store, of: JournalOf) -> Result<Vec<JournalName>, S3Error> {
    let folders = store.list(of.prefix(), true).await?;
    Ok(folders.iter().filter_map(|folder| of.of_prefix(&folder.key)).collect())
}

/// A journal's state, read from its newest checkpoint that can be read, and how much is behind that.
///
/// # Errors
/// When the entries behind it cannot be read, or do not hold together.
pub async fn open(
    store: &Store,
    of: JournalOf,
    journal: &JournalName,
) -> Result<(JournalState, Committed), OpenError> {
    let mut state = newest_checkpoint(store, of, journal).await?;
    let mut behind = Committed::default();
    // What was committed while it was read is read too.
    let folder = of.entries(journal);
    let listed = match state.next().checked_sub(1) {
        None => store.list(&folder, false).await?,
        Some(number) => {
            let key = ArchiveKey::Journal { of, journal: journal.clone(), number }.to_string();
            store.list_after(&folder, &key).await?
        }
    };
    let mut keys: Vec<String> = listed.into_iter().map(|object| object.key).collect();
    // Some services list in an order of their own.
    keys.sort();
    let keys = sabotage!(listed, keys);
    let mut objects = stream::iter(keys).map(|key| fetch(store, key)).buffered(FETCHES);
    while let Some((key, object)) = objects.try_next().await? {
        let (entry, hash) =
            read_entry(&object).map_err(|source| OpenError::Entry { key, source })?;
        state.apply(&entry, hash)?;
        behind.entries += 1;
        behind.bytes += object.len() as u64;
    }
    Ok((state, behind))
}

async fn fetch(store: &Store, key: String) -> Result<(String, Bytes), S3Error> {
    let object = store.get(&key).await?;
    Ok((key, object))
}

async fn newest_checkpoint(
    store: &Store,
    of: JournalOf,
    journal: &JournalName,
) -> Result<JournalState, OpenError> {
    let listed = store.list(&of.checkpoints(journal), false).await?;
    let mut damaged = None;
    for Listed { key, .. } in listed.into_iter().rev() {
        let object = store.get(&key).await?;
        match read_checkpoint(of, &object) {
            Ok(state) => {
                if let Some(error) = damaged {
                    tracing::error!("going on from an earlier one: {}", chain(&error));
                }
                return Ok(state);
            }
            Err(source) => damaged = damaged.or(Some(OpenError::Checkpoint { key, source })),
        }
    }
    match damaged {
        Some(error) => Err(error),
        None => Ok(JournalState::empty(of, journal.clone())),
    }
}

/// The state that a checkpoint's object restates.
///
/// # Errors
/// When it is damaged.
pub fn read_checkpoint(of: JournalOf, object: &[u8]) -> Result<JournalState, CheckpointError> {
    let bytes = zstd::stream::decode_all(object).map_err(CheckpointError::Zstd)?;
    Ok(JournalState::open(of, &JournalCheckpoint::from_bytes(&bytes)?)?)
}
