//! Collecting: deletes what is of no more use, after the grace period.
//!
//! A reader that is under way holds a state that is at most as old as the grace period; so what the newest
//! checkpoint of that age does not name, and nothing since has, no reader looks for.

use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::ArchiveKey;
use cim_core::archive::journal::JournalState;
use cim_core::archive::key::JournalOf;
use cim_core::names::JournalName;
use cim_runtime::error::chain;
use jiff::Timestamp;
use tokio::time::Instant;

use super::open::{OpenError, read_checkpoint};
use super::{Journal, JournalClosed};
use crate::hooks::fail_point;
use crate::s3::{S3Error, Store};
use crate::tier::Context;

/// How many objects are deleted before the journal says so.
const AT_ONCE: usize = 256;
/// The longest and the shortest time between two looks.
const PACE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// Why collecting did not end its work. It is tried again.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
enum CollectError {
    S3(#[from] S3Error),
    Open(#[from] OpenError),
    Journal(#[from] JournalClosed),
}

/// Collects until the journal is closed.
pub async fn run(context: Arc<Context>, journal: Journal) {
    let closing = journal.closing().clone();
    let pace = (context.config.collect.grace / 4).clamp(PACE.0, PACE.1);
    let mut swept = None;
    while closing.run_until_cancelled(tokio::time::sleep(pace)).await.is_some() {
        let work = async {
            superseded(&context, &journal).await?;
            sweep(&context, &journal, &mut swept).await
        };
        match closing.run_until_cancelled(work).await {
            Some(Ok(())) => {}
            None | Some(Err(CollectError::Journal(_))) => return,
            Some(Err(error)) => {
                tracing::error!("collecting failed, trying again: {}", chain(&error));
            }
        }
    }
}

fn is_old(since: Timestamp, grace: Duration) -> bool {
    // A clock that was set back makes ages negative: then nothing is old.
    (Timestamp::now().as_duration() - since.as_duration()).as_secs_f64() >= grace.as_secs_f64()
}

/// Deletes replaced objects whose grace period has passed.
async fn superseded(context: &Arc<Context>, journal: &Journal) -> Result<(), CollectError> {
    let grace = context.config.collect.grace;
    loop {
        let keys: Vec<String> = journal.with(|state| {
            let old = state.superseded.iter().filter(|s| is_old(s.since, grace));
            old.take(AT_ONCE).map(|s| s.key.clone()).collect()
        });
        if keys.is_empty() {
            return Ok(());
        }
        fail_point!(CollectBefore);
        for key in &keys {
            context.nas.delete(key).await?;
            fail_point!(CollectMidway);
        }
        fail_point!(CollectAfter);
        let due = Instant::now() + context.config.segment.flush_age;
        journal.commit(Vec::new(), keys, due).await?;
    }
}

/// Deletes journal objects and checkpoints that lie behind a checkpoint of some age, unless one of its messages
/// is still nowhere else. `swept` is the number of the checkpoint up to which that was done.
async fn sweep(
    context: &Arc<Context>,
    journal: &Journal,
    swept: &mut Option<u64>,
) -> Result<(), CollectError> {
    let (of, name) = journal.with(|state| (state.of, state.journal.clone()));
    let numbers = checkpoints(&context.nas, of, &name).await?;
    let Some(old) = newest_old(context, of, &name, &numbers, *swept).await? else { return Ok(()) };
    let Some((number, ..)) = old.last else { return Ok(()) };
    let entry = |number| ArchiveKey::Journal { of, journal: name.clone(), number }.to_string();
    let end = entry(number);
    let folder = of.entries(&name);
    for listed in context.nas.list_until(&folder, &end).await? {
        let used = old.shares(&listed.key) || journal.with(|state| state.shares(&listed.key));
        if !used && listed.key < end {
            context.nas.delete(&listed.key).await?;
        }
    }
    for earlier in numbers.into_iter().filter(|found| *found < number) {
        let key = ArchiveKey::Checkpoint { of, journal: name.clone(), number: earlier };
        context.nas.delete(&key.to_string()).await?;
    }
    *swept = Some(number);
    Ok(())
}

/// The numbers of the checkpoints that are there, ascending.
async fn checkpoints(
    store: &Store,
    of: JournalOf,
    name: &JournalName,
) -> Result<Vec<u64>, S3Error> {
    let listed = store.list(&of.checkpoints(name), false).await?;
    let number = |key: &str| match ArchiveKey::parse(key) {
        Ok(ArchiveKey::Checkpoint { number, .. }) => Some(number),
        _ => None,
    };
    let mut numbers: Vec<u64> = listed.iter().filter_map(|object| number(&object.key)).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// The newest checkpoint that is as old as the grace period, if it is newer than the one that was swept up to.
async fn newest_old(
    context: &Arc<Context>,
    of: JournalOf,
    name: &JournalName,
    numbers: &[u64],
    swept: Option<u64>,
) -> Result<Option<JournalState>, CollectError> {
    let new = numbers.iter().rev().take_while(|number| Some(**number) > swept);
    for number in new {
        let key = ArchiveKey::Checkpoint { of, journal: name.clone(), number: *number };
        let key = key.to_string();
        let object = context.nas.get(&key).await?;
        let read = tokio::task::spawn_blocking(move || read_checkpoint(of, &object));
        let state = read.await.expect("reading does not panic");
        let state = state.map_err(|source| OpenError::Checkpoint { key, source })?;
        if state.last.is_some_and(|(.., at)| is_old(at, context.config.collect.grace)) {
            return Ok(Some(state));
        }
    }
    Ok(None)
}
