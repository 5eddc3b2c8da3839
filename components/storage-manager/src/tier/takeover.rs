//! A journal that takes over the streams of a manager that writes chains: what goes on in a chain then, no reader
//! looks at.

use std::sync::Arc;
use std::time::Duration;

use cim_runtime::error::chain;
use tokio::time::Instant;

use super::start_error::StartError;
use crate::archive::{Archive, ArchiveError};
use crate::config::StreamMatcher;
use crate::journal;
use crate::journal::journal_of;
use crate::s3::Store;

/// Time between two looks for a journal: one request.
const LOOK: Duration = Duration::from_secs(2);
/// Time for which a journal is read at every look: it takes streams over when it begins. Later it is read as often as
/// this.
const NEW: Duration = Duration::from_secs(60);

/// Refuses to write chains beside a journal that holds the same streams. True where the tier holds no stream.
pub(super) async fn refuse(
    store: &Arc<Store>,
    matcher: &StreamMatcher,
) -> Result<bool, StartError> {
    let archive = Archive::open(Arc::clone(store)).await?;
    held(store, &archive, matcher).map_or(Ok(()), Err)?;
    Ok(archive.streams().await?.is_empty())
}

/// Waits until a journal holds one of the streams.
pub(super) async fn comes(store: &Arc<Store>, matcher: &StreamMatcher) -> StartError {
    let (mut known, mut changed, mut read) = (Vec::new(), Instant::now(), None::<Instant>);
    loop {
        tokio::time::sleep(LOOK).await;
        let looked = async {
            let names = journal::names(store, journal_of(store.tier())).await?;
            if names != known {
                (known, changed) = (names, Instant::now());
            }
            let new = changed.elapsed() < NEW;
            if known.is_empty() || !new && read.is_some_and(|read| read.elapsed() < NEW) {
                return Ok(None);
            }
            // What cannot be read of it does not matter where what can be has a stream.
            let archive = Archive::open_before_damage(Arc::clone(store)).await?;
            read = Some(Instant::now());
            Ok::<_, ArchiveError>(held(store, &archive, matcher))
        };
        match looked.await {
            Ok(Some(taken)) => return taken,
            Ok(None) => {}
            Err(error) => tracing::warn!(
                "cannot find out whether a journal has taken over these streams, trying again: {}",
                chain(&error)
            ),
        }
    }
}

fn held(store: &Store, archive: &Archive, matcher: &StreamMatcher) -> Option<StartError> {
    archive.journals().iter().find_map(|state| {
        let stream = state.streams.keys().find(|stream| matcher.matches(stream.as_str()))?;
        Some(StartError::TakenOver {
            tier: store.tier(),
            stream: stream.clone(),
            journal: state.journal.clone(),
        })
    })
}
