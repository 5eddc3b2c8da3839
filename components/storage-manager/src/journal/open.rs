//! Reading a journal: its newest checkpoint, and the entries behind it.

use std::collections::BTreeMap;

use bytes::Bytes;
use cim_core::archive::journal::{JournalCheckpoint, JournalError, JournalState};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveKey, EntryError};
use cim_core::names::JournalName;
use cim_runtime::error::chain;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::closed::Committed;
use super::object::{ObjectError, read_entry_at_end};
use crate::crypt;
use crate::hooks::sabotage;
use crate::s3::{ErrorKind, Listed, S3Error, Store};
use crate::segment::entry_text;

/// Entries that are fetched at once.
pub(super) const FETCHES: usize = 32;
/// Bytes at an entry's end that say what it decides, of a hundred streams.
const TAIL: u64 = 64 << 10;

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
        /// The reason.
        source: ObjectError,
    },
    /// A checkpoint is damaged.
    #[error("the archive is damaged: checkpoint `{key}` cannot be read")]
    Checkpoint {
        /// Its key.
        key: String,
        /// The reason.
        source: CheckpointError,
    },
    /// An entry does not belong where it stands.
    #[error("the archive is damaged at journal entry `{key}`")]
    Journal {
        /// Its key.
        key: String,
        /// Why.
        source: JournalError,
    },
}

/// A checkpoint that cannot be believed.
#[derive(Debug, thiserror::Error)]
pub enum CheckpointError {
    /// It cannot be decrypted.
    #[error(transparent)]
    Sealed(#[from] crypt::SealError),
    /// It cannot be unpacked.
    #[error("the object cannot be decompressed")]
    Zstd(#[source] std::io::Error),
    /// It is not the one that was written.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// It contradicts itself.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It belongs elsewhere.
    #[error("the object is of another journal, or has another number")]
    Misplaced,
}

/// Lists the names of the journals that a tier holds.
///
/// # Errors
/// When S3 does not answer.
pub async fn names(store: &Store, of: JournalOf) -> Result<Vec<JournalName>, S3Error> {
    let folders = store.list(of.prefix(), true).await?;
    Ok(folders.iter().filter_map(|folder| of.of_prefix(&folder.key)).collect())
}

/// Reads a journal's state from its newest checkpoint that can be read, and counts the entries behind that.
///
/// # Errors
/// When the entries behind it cannot be read, or do not hold together.
pub async fn open(
    store: &Store,
    of: JournalOf,
    journal: &JournalName,
) -> Result<(JournalState, Committed), OpenError> {
    let Read { state, behind, damage, .. } = read(store, of, journal).await?;
    damage.map_or(Ok((state, behind)), Err)
}

/// A journal as far as it can be read.
#[derive(Debug)]
pub struct Opened {
    /// Its state as [`open`] gives it, or, where an entry is damaged, as it was before that entry.
    pub state: JournalState,
    /// The damage before which it ends.
    pub damage: Option<OpenError>,
    /// A checkpoint that is damaged, where what is before it says the same.
    pub without: Option<OpenError>,
}

/// Reads a journal up to what is damaged in it.
///
/// # Errors
/// When S3 does not answer, or nothing is before the damage.
pub async fn open_before_damage(
    store: &Store,
    of: JournalOf,
    journal: &JournalName,
) -> Result<Opened, OpenError> {
    let Read { state, damage, without, .. } = read(store, of, journal).await?;
    match damage {
        Some(error) if state.last.is_none() => Err(error),
        damage => Ok(Opened { state, damage, without }),
    }
}

/// The part of a journal that was read.
struct Read {
    state: JournalState,
    behind: Committed,
    /// The damage that ended it before its end.
    damage: Option<OpenError>,
    /// A checkpoint that it was read without.
    without: Option<OpenError>,
}

async fn read(store: &Store, of: JournalOf, journal: &JournalName) -> Result<Read, OpenError> {
    let Newest { mut state, mut damaged } = newest_checkpoint(store, of, journal).await?;
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
    let listed = listed.into_iter().filter(|listed| {
        is_own(&listed.key, |key| {
            matches!(key, ArchiveKey::Journal { of: its, journal: other, .. } if (*its, other) == (of, journal))
        })
    });
    // Some services list in an order of their own.
    let sizes: BTreeMap<String, u64> = listed.map(|o| (o.key, o.size)).collect();
    let keys: Vec<String> = sabotage!(listed, sizes.keys().cloned().collect());
    let mut objects = stream::iter(keys)
        .map(|key| {
            let size = sizes.get(&key).copied().unwrap_or_default();
            fetch_end(store, key, size)
        })
        .buffered(FETCHES);
    loop {
        let End { key, size, tail } = match objects.try_next().await {
            Ok(Some(end)) => end,
            Ok(None) => break,
            // A disk has damaged it.
            Err(error @ S3Error { kind: ErrorKind::Withheld(_), .. }) => {
                return Ok(Read { state, behind, damage: Some(error.into()), without: None });
            }
            Err(error) => return Err(error.into()),
        };
        let applied = match read_entry_at_end(&tail, size) {
            Ok((entry, hash)) => {
                state.apply(&entry, hash).map_err(|source| OpenError::Journal { key, source })
            }
            Err(source) => Err(OpenError::Entry { key, source }),
        };
        if let Err(error) = applied {
            // Without the checkpoints the first entry that is there is out of place: they are the damage.
            let damaged = damaged.filter(|_| state.last.is_none());
            let damage = Some(damaged.unwrap_or(error));
            return Ok(Read { state, behind, damage, without: None });
        }
        behind.entries += 1;
        behind.bytes += size;
    }
    let without = damaged.take_if(|_| state.last.is_some());
    if let Some(error) = &without {
        tracing::error!("reading the journal without this checkpoint: {}", chain(error));
    }
    Ok(Read { state, behind, damage: damaged, without })
}

/// Returns whether a key is one that this program gives; says so where it is not, for people put things into buckets. An
/// entry that is missing shows in the numbers of the others.
fn is_own(key: &str, wanted: impl Fn(&ArchiveKey) -> bool) -> bool {
    let own = ArchiveKey::parse(key).is_ok_and(|key| wanted(&key));
    if !own {
        tracing::warn!("`{key}` is not an object of this program: it is left alone");
    }
    own
}

/// The end of an entry's object.
pub(super) struct End {
    pub(super) key: String,
    pub(super) size: u64,
    pub(super) tail: Bytes,
}

/// Fetches as much of the end of an object as it takes to read its entry: messages may be a thousand times as much.
pub(super) async fn fetch_end(store: &Store, key: String, size: u64) -> Result<End, S3Error> {
    match try_fetch_end(store, key, size).await {
        Err(error) => Err(store.judged(error).await),
        end => end,
    }
}

async fn try_fetch_end(store: &Store, key: String, size: u64) -> Result<End, S3Error> {
    let mut wanted = TAIL;
    while wanted < size {
        let tail = store.get_range(&key, size - wanted..size).await?;
        match entry_text(&tail, size) {
            Err(needed) if needed > wanted => wanted = needed,
            _ => return Ok(End { key, size, tail }),
        }
    }
    let tail = store.get(&key).await?;
    Ok(End { key, size: tail.len() as u64, tail })
}

/// The beginning of reading a journal.
struct Newest {
    /// The state in its newest readable checkpoint; empty where there is none.
    state: JournalState,
    /// A newer one that cannot.
    damaged: Option<OpenError>,
}

async fn newest_checkpoint(
    store: &Store,
    of: JournalOf,
    journal: &JournalName,
) -> Result<Newest, OpenError> {
    let listed = store.list(&of.checkpoints(journal), false).await?;
    let mut damaged = None;
    for Listed { key, .. } in listed.into_iter().rev() {
        let own = is_own(
            &key,
            |key| matches!(key, ArchiveKey::Checkpoint { of: its, journal: other, .. } if (*its, other) == (of, journal)),
        );
        if !own {
            continue;
        }
        let object = store.get(&key).await?;
        let read = read_checkpoint(of, &object).and_then(|state| {
            let number = state.last.map_or(0, |(number, ..)| number);
            let own = ArchiveKey::Checkpoint { of, journal: journal.clone(), number };
            let here = state.journal == *journal && own.to_string() == key;
            if here { Ok(state) } else { Err(CheckpointError::Misplaced) }
        });
        match read {
            Ok(state) => return Ok(Newest { state, damaged }),
            Err(source) => damaged = damaged.or(Some(OpenError::Checkpoint { key, source })),
        }
    }
    // Entry 0 may still be there.
    Ok(Newest { state: JournalState::empty(of, journal.clone()), damaged })
}

/// Reads the state that a checkpoint's object restates.
///
/// # Errors
/// When it is damaged.
pub fn read_checkpoint(of: JournalOf, object: &[u8]) -> Result<JournalState, CheckpointError> {
    Ok(JournalState::open(of, &JournalCheckpoint::from_bytes(&unpack(object)?)?)?)
}

/// Returns the JSON in a checkpoint's object.
pub(super) fn unpack(object: &[u8]) -> Result<Vec<u8>, CheckpointError> {
    let object = crypt::open(object)?;
    zstd::stream::decode_all(&object[..]).map_err(CheckpointError::Zstd)
}
