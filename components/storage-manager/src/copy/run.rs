//! Passes over two buckets.

use std::collections::BTreeSet;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};

use bytes::Bytes;
use cim_core::archive::ArchiveKey;
use cim_core::archive::key::{JournalOf, STREAMS};
use cim_runtime::retry::{self, Backoff, Class};
use futures_util::{StreamExt as _, stream};
use tokio_util::sync::CancellationToken;

use super::plan::{self, Clash, Listing, Pass, Work};
use super::sound::{Sound, examine};
use crate::s3::{ErrorKind, PutOutcome, S3Error, Store};

/// Objects that are copied at once.
const AT_ONCE: usize = 4;
/// An archive that grows by fewer objects than this in the time of a pass is one that is written to: its end would never be
/// reached.
const FEW: u64 = 200;
/// Tries of a put that fails in a way that may pass.
const TRIES: u32 = 6;

/// The progress: bytes and objects of the pass that is under way.
#[derive(Debug, Default)]
pub struct Progress {
    /// The pass, from 1 on.
    pub pass: AtomicU64,
    /// Bytes that it has to copy.
    pub bytes: AtomicU64,
    /// Bytes that it has copied.
    pub done: AtomicU64,
}

/// The work that was done.
#[derive(Debug, Default)]
pub struct Copied {
    /// Objects that were copied, and their bytes.
    pub objects: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Objects that were there before.
    pub there: u64,
    /// Objects that the old bucket lost meanwhile and that were deleted from the new one.
    pub collected: u64,
    /// Objects that were not copied.
    pub damaged: Vec<Damaged>,
    /// Objects that were copied and not checked: there is no key of them here, and they name no hash.
    pub unchecked: u64,
    /// True if the old bucket was being written to: then what is newest there may not be in the new one.
    pub behind: bool,
}

/// An object that is not what it says.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Damaged {
    /// Its key.
    pub key: String,
    /// The fault, in words.
    pub what: String,
}

/// Why an archive was not copied to its end. What was copied stays, and need not be copied again.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The old bucket does not answer.
    #[error("the bucket that is copied cannot be read")]
    From(#[source] S3Error),
    /// The new one does not.
    #[error("the new bucket cannot be used")]
    To(#[source] S3Error),
    /// The new one is no place for it.
    #[error("the new bucket holds another archive: {0}; copy into an empty bucket")]
    Clash(#[from] Clash),
    /// A signal came.
    #[error("interrupted: what was copied stays, and the same command goes on with it")]
    Interrupted,
}

/// Compares the buckets.
///
/// # Errors
/// One does not answer, or the new one holds something else.
pub async fn work(from: &Store, to: &Store) -> Result<Pass, CopyError> {
    look(from, to, &mut BTreeSet::new()).await
}

/// Copies until the new bucket has what the old one has, or is as close behind as one that is written to lets it be.
///
/// # Errors
/// One of them does not answer, the new one holds something else, or `stop` came.
pub async fn copy(
    from: &Store,
    to: &Store,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<Copied, CopyError> {
    let copying = passes(from, to, progress, stop);
    stop.run_until_cancelled(copying).await.unwrap_or(Err(CopyError::Interrupted))
}

async fn passes(
    from: &Store,
    to: &Store,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<Copied, CopyError> {
    let (mut copied, mut seen) = (Copied::default(), BTreeSet::new());
    for number in 1.. {
        let todo = look(from, to, &mut seen).await?;
        let (objects, bytes) = todo.size();
        progress.pass.store(number, Ordering::Relaxed);
        progress.done.store(0, Ordering::Relaxed);
        progress.bytes.store(bytes, Ordering::Relaxed);
        if number == 1 {
            copied.there = todo.there;
        }
        let mut damaged = Vec::new();
        let before = copied.objects;
        for step in todo.steps {
            let copies = step.into_iter().map(|work| one(from, to, work, progress, stop));
            let mut copies = stream::iter(copies).buffered(AT_ONCE);
            while let Some(done) = copies.next().await {
                match done? {
                    One::Copied { bytes, checked } => {
                        copied.objects += 1;
                        copied.bytes += bytes;
                        copied.unchecked += u64::from(!checked);
                    }
                    One::Gone => {}
                    One::Damaged(object) => damaged.push(object),
                }
            }
        }
        for key in &todo.collected {
            to.delete(key).await.map_err(CopyError::To)?;
            copied.collected += 1;
        }
        // What is damaged in every pass is all that is left.
        let rest = objects - damaged.len() as u64;
        copied.damaged = damaged;
        copied.behind = rest > 0;
        if rest == 0 && todo.collected.is_empty() || number > 1 && copied.objects - before < FEW {
            break;
        }
    }
    Ok(copied)
}

/// Lists both and compares them.
async fn look(from: &Store, to: &Store, seen: &mut BTreeSet<String>) -> Result<Pass, CopyError> {
    let old = listing(from).await.map_err(CopyError::From)?;
    let new = listing(to).await.map_err(CopyError::To)?;
    let pass = plan::pass(&old, &new, seen)?;
    for key in &pass.common {
        // One of them may be collected just now.
        let there = absent_is_none(from.get_as_is(key).await).map_err(CopyError::From)?;
        let here = absent_is_none(to.get_as_is(key).await).map_err(CopyError::To)?;
        if there.zip(here).is_some_and(|(there, here)| there != here) {
            return Err(Clash::Differs(key.clone()).into());
        }
    }
    seen.extend(old.into_keys());
    Ok(pass)
}

/// Lists the archive: what decides before what it decides on, for that was there before.
async fn listing(store: &Store) -> Result<Listing, S3Error> {
    let mut all = Listing::new();
    for prefix in [JournalOf::Tertiary.prefix(), JournalOf::Secondary.prefix(), STREAMS] {
        all.extend(store.list(prefix, false).await?.into_iter().map(|o| (o.key, o.size)));
    }
    Ok(all)
}

fn absent_is_none(found: Result<Bytes, S3Error>) -> Result<Option<Bytes>, S3Error> {
    match found {
        Err(error) if error.kind == ErrorKind::NotFound => Ok(None),
        found => found.map(Some),
    }
}

/// The outcome of an object.
enum One {
    Copied {
        bytes: u64,
        checked: bool,
    },
    /// It was collected before it was read.
    Gone,
    Damaged(Damaged),
}

async fn one(
    from: &Store,
    to: &Store,
    work: Work,
    progress: &Progress,
    stop: &CancellationToken,
) -> Result<One, CopyError> {
    let text = work.key.to_string();
    let object = match from.get_at_most_as_is(&text, work.size).await {
        Ok(object) => object,
        Err(error) if error.kind == ErrorKind::NotFound => return Ok(One::Gone),
        Err(error) => {
            let error = from.judged(error).await;
            if !error.kind.is_damage() {
                return Err(CopyError::From(error));
            }
            return Ok(One::Damaged(Damaged { key: text, what: error.kind.to_string() }));
        }
    };
    let (key, bytes) = (work.key.clone(), object.clone());
    let examined = tokio::task::spawn_blocking(move || examine(&key, &bytes));
    let checked = match examined.await.expect("examining does not panic") {
        Sound::Damaged(what) => return Ok(One::Damaged(Damaged { key: text, what })),
        Sound::Whole => true,
        Sound::Unknown => false,
    };
    put(to, &work.key, object, stop).await?;
    progress.done.fetch_add(work.size, Ordering::Relaxed);
    Ok(One::Copied { bytes: work.size, checked })
}

/// Writes an object that is not there yet. One that is there after all has to be the same: an answer may have been lost.
async fn put(
    to: &Store,
    key: &ArchiveKey,
    object: Bytes,
    stop: &CancellationToken,
) -> Result<(), CopyError> {
    let (text, tried) = (key.to_string(), AtomicU32::new(0));
    let class = |error: &S3Error| {
        let again = tried.fetch_add(1, Ordering::Relaxed) + 1 < TRIES;
        if again && error.kind.is_transient() { Class::Transient } else { Class::Permanent }
    };
    let what = format!("copying `{text}`");
    let attempt = || to.put_if_absent(key, object.clone());
    let put = retry::retry(&what, Backoff::default(), stop, class, attempt).await;
    match put.map_err(CopyError::To)? {
        PutOutcome::Created => Ok(()),
        PutOutcome::AlreadyExists => {
            let there = to.get_as_is(&text).await.map_err(CopyError::To)?;
            if there == object { Ok(()) } else { Err(Clash::Differs(text).into()) }
        }
    }
}
