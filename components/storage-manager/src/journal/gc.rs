//! Collecting: deletes what is of no more use, after the grace period, and from Wasabi when it is old enough.
//!
//! A reader that is under way holds a state that is at most as old as the grace period; so what the newest
//! checkpoint of that age does not name, and nothing since has, no reader looks for. What is behind a checkpoint
//! is at least as old as it.

use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::ArchiveKey;
use cim_core::archive::journal::JournalState;
use cim_core::archive::key::JournalOf;
use cim_core::names::JournalName;
use cim_runtime::error::chain;
use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::Instant;

use super::chain_leftovers::{self, Held};
use super::open::{OpenError, read_checkpoint};
use super::{Journal, NotCommitted};
use crate::clock;
use crate::hooks::fail_point;
use crate::s3::{ErrorKind, S3Error, Store};
use crate::tier::Context;

/// The number of objects that are deleted before the journal says so.
const AT_ONCE: usize = 256;
/// The longest and the shortest time between two looks.
const PACE: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(60));

/// Why collecting did not end its work. It is tried again.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(super) enum CollectError {
    S3(#[from] S3Error),
    Journal(#[from] NotCommitted),
}

/// Collects until the journal is closed.
pub async fn run(context: Arc<Context>, journal: Journal) {
    // One that is not taken in time is one that a later checkpoint restates.
    let (old, held) = mpsc::channel(1);
    let closing = journal.closing().clone();
    let chains = chain_leftovers::run(Arc::clone(&context), journal.clone(), held);
    tokio::join!(closing.run_until_cancelled(chains), run_journal(context, journal, old));
}

async fn run_journal(context: Arc<Context>, journal: Journal, old: mpsc::Sender<Held>) {
    let closing = journal.closing().clone();
    let pace = pace(context.config.collect.grace);
    let (mut collector, mut refused) = (Collector::default(), false);
    while closing.run_until_cancelled(tokio::time::sleep(pace)).await.is_some() {
        let work = once(&context, &journal, &mut collector, &old);
        match closing.run_until_cancelled(work).await {
            Some(Ok(())) => {}
            None | Some(Err(CollectError::Journal(NotCommitted::Closed(_)))) => return,
            // An owner who gives out such a key means it. It is tried all the same, for that may change.
            Some(Err(CollectError::S3(error))) if matches!(error.kind, ErrorKind::Denied(_)) => {
                if !std::mem::replace(&mut refused, true) {
                    tracing::warn!("replaced objects stay on the NAS for now: {}", chain(&error));
                }
            }
            Some(Err(error)) => {
                tracing::error!("cannot delete replaced objects, trying again: {}", chain(&error));
            }
        }
    }
}

/// Returns the time between two looks for something that is old enough.
pub(super) fn pace(age: Duration) -> Duration {
    (age / 4).clamp(PACE.0, PACE.1)
}

/// Deletes from the NAS what may go now.
pub(super) async fn once(
    context: &Arc<Context>,
    journal: &Journal,
    collector: &mut Collector,
    old: &mpsc::Sender<Held>,
) -> Result<(), CollectError> {
    let age = context.config.collect.grace;
    loop {
        let keys = journal.with(|state| superseded(state, clock::now(), age));
        if keys.is_empty() {
            break;
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
    let log = journal.with(|state| (state.of, state.journal.clone()));
    let used = |key: &str| journal.with(|state| state.shares(key));
    if let Some(checkpoint) = collector.sweep(&context.nas, &log, age, used).await? {
        old.try_send(chain_leftovers::held(&checkpoint)).unwrap_or_default();
    }
    Ok(())
}

/// Returns the objects that were replaced at least `age` ago, as many as are deleted at once.
pub(super) fn superseded(state: &JournalState, now: Timestamp, age: Duration) -> Vec<String> {
    let old = state.superseded.iter().filter(|s| clock::is_old(now, s.since, age));
    old.take(AT_ONCE).map(|s| s.key.clone()).collect()
}

/// Deletes journal objects and checkpoints that lie behind a checkpoint of some age which is not the newest.
#[derive(Debug, Default)]
pub(super) struct Collector {
    /// The number of the checkpoint up to which that was done.
    swept: Option<u64>,
    /// The first one behind it, and when it was made: it need not be read before it is old enough.
    next: Option<(u64, Timestamp)>,
}

impl Collector {
    /// Deletes objects as [`once`] does, but for objects in which messages lie that are nowhere else: `used`
    /// says so, and the checkpoint itself, which readers under way may go by. Returns the checkpoint, where there is
    /// a newer one than the last time.
    pub(super) async fn sweep(
        &mut self,
        store: &Store,
        (of, name): &(JournalOf, JournalName),
        age: Duration,
        used: impl Fn(&str) -> bool,
    ) -> Result<Option<JournalState>, CollectError> {
        if self.next.is_some_and(|(_, made)| !clock::is_old(clock::now(), made, age)) {
            return Ok(None);
        }
        let numbers = checkpoints(store, *of, name).await?;
        // The newest one is not relied on alone: the one before it and the entries between them say the same.
        let Some((_, relied_on)) = numbers.split_last() else { return Ok(None) };
        let Some(old) = self.newest_old(store, (*of, name), relied_on, age).await? else {
            return Ok(None);
        };
        let Some((number, ..)) = old.last else { return Ok(None) };
        let end = ArchiveKey::Journal { of: *of, journal: name.clone(), number }.to_string();
        for listed in store.list_until(&of.entries(name), &end).await? {
            if is_free(&listed.key, &end, &old, &used) {
                store.delete(&listed.key).await?;
            }
        }
        for earlier in numbers.into_iter().filter(|found| *found < number) {
            let key = ArchiveKey::Checkpoint { of: *of, journal: name.clone(), number: earlier };
            store.delete(&key.to_string()).await?;
        }
        self.swept = Some(number);
        Ok(Some(old))
    }

    /// Returns the newest checkpoint that is old enough, if it is newer than the one that was swept up to. Of those
    /// that are not, one is read.
    async fn newest_old(
        &mut self,
        store: &Store,
        (of, name): (JournalOf, &JournalName),
        numbers: &[u64],
        age: Duration,
    ) -> Result<Option<JournalState>, CollectError> {
        let mut found = None;
        self.next = None;
        for number in numbers.iter().filter(|number| Some(**number) > self.swept) {
            let key = ArchiveKey::Checkpoint { of, journal: name.clone(), number: *number };
            let key = key.to_string();
            let object = match store.get(&key).await {
                // It goes with the others, when a later one is old enough.
                Err(error) if matches!(error.kind, ErrorKind::Locked(_)) => {
                    tracing::debug!("collecting goes on without it: {error}");
                    continue;
                }
                other => other?,
            };
            let read = tokio::task::spawn_blocking(move || read_checkpoint(of, &object));
            let state = match read.await.expect("reading does not panic") {
                Ok(state) => state,
                // It goes with the others, when a later one is old enough.
                Err(source) => {
                    let error = OpenError::Checkpoint { key, source };
                    tracing::error!(
                        "deleting replaced objects goes on without a checkpoint: {}",
                        chain(&error)
                    );
                    continue;
                }
            };
            let Some((.., made)) = state.last else { continue };
            if !clock::is_old(clock::now(), made, age) {
                self.next = Some((*number, made));
                break;
            }
            found = Some(state);
        }
        Ok(found)
    }
}

/// Returns true for a journal object that is of no more use: it lies before the one that a checkpoint is of, whose key is `end`,
/// and its messages are elsewhere, by that checkpoint and now.
pub(super) fn is_free(
    key: &str,
    end: &str,
    checkpoint: &JournalState,
    used: impl Fn(&str) -> bool,
) -> bool {
    key < end && !checkpoint.shares(key) && !used(key)
}

/// Lists the numbers of the checkpoints, ascending.
pub(crate) async fn checkpoints(
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
