//! A NAS that was lost: the new one takes over what Wasabi's journal says, and gets its objects back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cim_core::archive::Segment;
use cim_core::archive::journal::{Change, JournalError, StreamCheckpoint};
use cim_core::archive::key::JournalOf;
use cim_core::names::StreamName;
use cim_runtime::error::chain;
use futures_util::{StreamExt as _, stream};
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::integrity;
use crate::hooks::fail_point;
use crate::journal::open::open;
use crate::journal::{Commit, Journal, NotCommitted, OpenError};
use crate::s3::{ErrorKind, S3Error, Store};
use crate::tier::Context;
use crate::tier::context::checked;
use crate::tier::segment_key::segment_key;

/// Objects that are brought back at once: most are small, and Wasabi is far away.
const AT_ONCE: usize = 8;
/// Bytes of them.
const ROOM: usize = 32 << 20;

/// Begins a journal that has no entry with what Wasabi's says, in one entry.
///
/// # Errors
/// When Wasabi's journal is damaged, or the NAS's was closed.
pub async fn bootstrap(
    context: &Arc<Context>,
    wasabi: &Store,
    journal: &Journal,
) -> Result<(), BootstrapError> {
    let name = journal.with(|state| state.journal.clone());
    // Not to know is not to have nothing: a journal begun beside the one that Wasabi holds would hide it.
    let what = format!("looking for journal `{name}` at Wasabi");
    let folder = JournalOf::Tertiary.entries(&name);
    context.retry_until_cancelled(&what, || wasabi.list(&folder, false)).await?;
    let (there, _) = open(wasabi, JournalOf::Tertiary, &name).await?;
    if there.streams.is_empty() {
        return Ok(());
    }
    tracing::warn!(
        "the NAS has no journal `{name}` but Wasabi has one: taking over {} streams",
        there.streams.len()
    );
    let mut commits = Vec::new();
    for (stream, state) in &there.streams {
        let change = Change { begin: Some(StreamCheckpoint::of(state)), ..Change::default() };
        // All of it or nothing: a stream that is left out here would be begun anew beside what Wasabi has of it.
        journal.with(|state| state.check_change(stream, &change))?;
        commits.push((stream.clone(), Commit { change, ..Commit::default() }));
    }
    journal.commit(commits, Vec::new(), Instant::now()).await?;
    fail_point!(AdoptAfter);
    Ok(())
}

/// Why a NAS could not take over what Wasabi has.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub enum BootstrapError {
    /// Wasabi does not answer.
    S3(#[from] S3Error),
    /// Its journal cannot be read.
    Open(#[from] OpenError),
    /// The NAS's journal was closed.
    Journal(#[from] NotCommitted),
    /// It would not take what Wasabi says of some stream.
    Refused(#[from] JournalError),
}

/// Brings back the objects that the NAS's journal names and the NAS does not have, newest first: they are what
/// the next restore needs most. Streams that the journal takes over later have their turn then.
pub async fn backfill(context: Arc<Context>, wasabi: Arc<Store>, journal: Journal) {
    let closing = journal.closing().clone();
    let mut looked = BTreeSet::new();
    loop {
        let round = fill(&context, &wasabi, &journal, &mut looked);
        if closing.run_until_cancelled(round).await.is_none()
            || closing.run_until_cancelled(context.begun.notified()).await.is_none()
        {
            return;
        }
    }
}

/// Fills the NAS once, for the streams whose objects were not looked for yet.
async fn fill(
    context: &Arc<Context>,
    wasabi: &Store,
    journal: &Journal,
    looked: &mut BTreeSet<StreamName>,
) {
    let what = "bringing objects back to the NAS";
    let segments = named(journal, looked);
    let missing =
        match context.retry_until_cancelled(what, || missing(context, segments.clone())).await {
            Ok(missing) => missing,
            Err(error) => return tracing::error!("{what} failed: {}", chain(&error)),
        };
    let sizes = match context.retry_until_cancelled(what, || sizes(wasabi, &missing)).await {
        Ok(sizes) => sizes,
        Err(error) => return tracing::error!("{what} failed: {}", chain(&error)),
    };
    let room = Semaphore::new(ROOM);
    let back = stream::iter(missing).map(|segment| {
        let size = sizes.get(&segment.key).copied().unwrap_or(segment.size);
        let room = &room;
        async move {
            let size = usize::try_from(size).unwrap_or(ROOM).clamp(1, ROOM);
            let size = u32::try_from(size).expect("it is no more than all the room");
            let _room = room.acquire_many(size).await.expect("it is never closed");
            context
                .retry_until_cancelled(what, || bring_back(context, wasabi, journal, &segment))
                .await
        }
    });
    let mut back = std::pin::pin!(back.buffered(AT_ONCE));
    let mut brought = 0;
    while let Some(outcome) = back.next().await {
        match outcome {
            Ok(true) => {
                brought += 1;
                fail_point!(BackfillMidway);
            }
            Ok(false) => {}
            Err(error) => tracing::error!("{what} failed: {}", chain(&error)),
        }
    }
    if brought > 0 {
        tracing::info!("copied {brought} objects from Wasabi back to the NAS");
    }
}

/// Returns a segment of each object that Wasabi may have, of the streams that were not looked at yet.
fn named(journal: &Journal, looked: &mut BTreeSet<StreamName>) -> BTreeMap<String, Segment> {
    let mut segments = BTreeMap::new();
    journal.with(|state| {
        for (stream, archive) in &state.streams {
            if looked.insert(stream.clone()) {
                for segment in archive.segments.values().filter(|s| may_be_at_wasabi(s)) {
                    segments.entry(segment.key.clone()).or_insert_with(|| segment.clone());
                }
            }
        }
    });
    segments
}

/// Returns the segments whose objects the NAS does not have.
async fn missing(
    context: &Context,
    mut segments: BTreeMap<String, Segment>,
) -> Result<Vec<Segment>, S3Error> {
    let folders: BTreeSet<String> = segments.keys().map(|key| folder(key).to_owned()).collect();
    for folder in folders {
        for object in context.nas.list(&folder, false).await? {
            segments.remove(&object.key);
        }
    }
    let mut missing: Vec<Segment> = segments.into_values().collect();
    missing.sort_by_key(|segment| std::cmp::Reverse(segment.last_time));
    Ok(missing)
}

/// Sizes of the objects that several streams share: their journal does not say.
async fn sizes(wasabi: &Store, missing: &[Segment]) -> Result<BTreeMap<String, u64>, S3Error> {
    let shared = missing.iter().filter(|segment| segment.part.is_some());
    let keys: BTreeSet<&str> = shared.map(|segment| segment.key.as_str()).collect();
    let folders: BTreeSet<&str> = keys.iter().map(|key| folder(key)).collect();
    let mut sizes = BTreeMap::new();
    for folder in folders {
        let listed = wasabi.list(folder, false).await?.into_iter();
        sizes.extend(listed.filter(|o| keys.contains(o.key.as_str())).map(|o| (o.key, o.size)));
    }
    Ok(sizes)
}

fn folder(key: &str) -> &str {
    &key[..key.rfind('/').map_or(0, |end| end + 1)]
}

fn may_be_at_wasabi(segment: &Segment) -> bool {
    segment.part.is_none() || segment.key.starts_with(JournalOf::Tertiary.prefix())
}

/// Copies one object from Wasabi to the NAS. Returns false when Wasabi's copy is not what it was.
async fn bring_back(
    context: &Arc<Context>,
    wasabi: &Store,
    journal: &Journal,
    segment: &Segment,
) -> Result<bool, S3Error> {
    let key = match segment_key(segment) {
        Ok(key) => key,
        // The other segments are as good as they were.
        Err(error) => {
            tracing::error!("cannot copy a segment from Wasabi back to the NAS: {error}");
            return Ok(false);
        }
    };
    // The hash of a file of its own is over what lies there, whether there is a key of it or not.
    let got = if segment.part.is_none() {
        wasabi.get_as_is(&segment.key).await
    } else {
        wasabi.get(&segment.key).await
    };
    let file = match got {
        Ok(file) => file,
        Err(error) if context.locked.note(&error) => return Ok(false),
        Err(error) if error.kind == ErrorKind::NotFound => {
            tracing::error!("the NAS lacks an object, and so does Wasabi: {error}");
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    let sound = if segment.part.is_some() {
        integrity::check(context, journal, &segment.key, file).await.map_err(|error| chain(&error))
    } else {
        checked(segment, file).await.map(Some).map_err(|error| chain(&error))
    };
    match sound {
        Ok(Some(file)) => context.nas.put(&key, file).await.map(|()| true),
        // It was merged meanwhile.
        Ok(None) => Ok(false),
        // The other objects are as good as they were.
        Err(error) => {
            tracing::error!(
                "the NAS lacks an object, and the copy at Wasabi is damaged: `{}`: {error}",
                segment.key
            );
            Ok(false)
        }
    }
}
