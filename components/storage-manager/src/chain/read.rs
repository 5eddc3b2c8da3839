//! Reading a chain.

use cim_core::archive::key::{Chain, GROUP, STREAMS, stream_of_prefix};
use cim_core::archive::{ArchiveKey, ArchiveState, ChainError, Entry, EntryError};
use cim_core::names::StreamName;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use crate::hooks::sabotage;
use crate::s3::{ErrorKind, S3Error, Store};

/// A chain that could not be read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// S3 did not answer as it should.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// An entry is damaged.
    #[error("the archive of stream `{stream}` is damaged at `{key}`")]
    Entry {
        /// The stream.
        stream: StreamName,
        /// The entry's key.
        key: String,
        /// The reason.
        source: EntryError,
    },
    /// An entry is missing, or the entries do not belong together.
    #[error("the archive of stream `{stream}` is damaged")]
    Chain {
        /// The stream.
        stream: StreamName,
        /// The reason.
        source: ChainError,
    },
}

/// The number of entries that are fetched at once.
const FETCHES: usize = 16;

/// Lists the streams that a tier holds, by name.
pub async fn streams(store: &Store) -> Result<Vec<StreamName>, S3Error> {
    let folders = store.list(STREAMS, true).await?;
    Ok(folders.iter().filter_map(|folder| stream_of_prefix(&folder.key)).collect())
}

/// Loads the state at the head of a chain, from its last checkpoint; `None` when there is no chain.
pub async fn load(
    store: &Store,
    chain: Chain,
    stream: &StreamName,
) -> Result<Option<ArchiveState>, ReadError> {
    // A service may list the folder of an entry that it is just about to store. What is before it is the
    // head until it has.
    for group in groups(store, chain, stream).await?.iter().rev() {
        if let Some(state) = fold(store, chain, stream, &[*group]).await? {
            return Ok(Some(state));
        }
    }
    Ok(None)
}

/// Loads the state from entry 0, so that every entry is checked.
pub async fn load_full(
    store: &Store,
    chain: Chain,
    stream: &StreamName,
) -> Result<Option<ArchiveState>, ReadError> {
    let groups = groups(store, chain, stream).await?;
    fold(store, chain, stream, &groups).await
}

/// Returns the number of the first entry that a tier has of a chain; `None` when there is no chain.
pub async fn first(
    store: &Store,
    chain: Chain,
    stream: &StreamName,
) -> Result<Option<u64>, ReadError> {
    for group in groups(store, chain, stream).await? {
        if let Some(first) = numbers(store, chain, stream, group).await?.first() {
            return Ok(Some(*first));
        }
    }
    Ok(None)
}

/// Lists the groups that a tier has of a chain, ascending.
pub async fn groups(store: &Store, chain: Chain, stream: &StreamName) -> Result<Vec<u64>, S3Error> {
    let prefix = chain.prefix(stream);
    let folders = store.list(&prefix, true).await?;
    let number = |key: &str| key.strip_prefix(&prefix)?.trim_end_matches('/').parse().ok();
    Ok(folders.iter().filter_map(|folder| number(&folder.key)).collect())
}

/// Folds the entries of these groups; `None` where they have none.
async fn fold(
    store: &Store,
    chain: Chain,
    stream: &StreamName,
    groups: &[u64],
) -> Result<Option<ArchiveState>, ReadError> {
    let damaged = |source| ReadError::Chain { stream: stream.clone(), source };
    let mut state: Option<ArchiveState> = None;
    for group in groups {
        let numbers = numbers(store, chain, stream, *group).await?;
        let expected = state.as_ref().map_or(group * GROUP, |s| s.number + 1);
        if let Some((found, expected)) = numbers.iter().zip(expected..).find(|(n, e)| *n != e) {
            return Err(damaged(ChainError::Number { expected, found: *found }));
        }
        let mut entries = stream::iter(numbers)
            .map(|number| entry(store, chain, stream, number))
            .buffered(FETCHES);
        while let Some((entry, hash)) = entries.try_next().await? {
            match &mut state {
                Some(state) => state.apply(&entry, hash).map_err(damaged)?,
                None => state = Some(ArchiveState::open(&entry, hash).map_err(damaged)?),
            }
        }
    }
    Ok(state)
}

async fn numbers(
    store: &Store,
    chain: Chain,
    stream: &StreamName,
    group: u64,
) -> Result<Vec<u64>, S3Error> {
    let listed = store.list(&chain.group_prefix(stream, group), false).await?;
    let number = |key: &str| match ArchiveKey::parse(key).ok()? {
        ArchiveKey::Manifest { number, .. } | ArchiveKey::Tertiary { number, .. } => Some(number),
        _ => None,
    };
    Ok(sabotage!(listed, listed.iter().filter_map(|object| number(&object.key)).collect()))
}

/// Fetches one entry, checked on its own.
pub async fn entry(
    store: &Store,
    chain: Chain,
    stream: &StreamName,
    number: u64,
) -> Result<(Entry, cim_core::archive::Sha256), ReadError> {
    let key = chain.key(stream, number).to_string();
    let object = match store.get(&key).await {
        Ok(object) => object,
        Err(S3Error { kind: ErrorKind::NotFound, .. }) => {
            let source = ChainError::Number { expected: number, found: number + 1 };
            return Err(ReadError::Chain { stream: stream.clone(), source });
        }
        Err(error) => return Err(error.into()),
    };
    let read = Entry::from_object(&object);
    read.map_err(|source| ReadError::Entry { stream: stream.clone(), key, source })
}
