//! From the NAS to Wasabi: sealed segments, then the entry that names them.
//!
//! Wasabi is not known to honour conditional writes, so its chain is decided on the NAS: an entry is
//! committed under `tertiary/` there, and its bytes are then copied to Wasabi's `manifest/`. Two
//! writers that race copy the same bytes. What is decided and not yet copied is copied first.
//!
//! A NAS may forget: it was replaced by an empty one, or an S3 service that answers before it has synced
//! lost its last writes in a power cut. Then Wasabi, which has a copy, is what tells it; deciding those
//! numbers anew would leave two halves of different chains at Wasabi.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use bytes::Bytes;
use cim_core::archive::key::{Chain, GROUP};
use cim_core::archive::{ArchiveKey, ArchiveState, Segment, SeqRanges, Watermark};
use cim_core::names::StreamName;
use cim_runtime::retry::{self, Backoff, Class};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::context::{Context, checked};
use super::error::FetchError;
use super::merge::SealError;
use super::seal;
use crate::chain::{self, CommitError, Committer, Draft, ReadError};
use crate::hooks::fail_point;
use crate::s3::{ErrorKind, PutOutcome, S3Error, Store};

/// That nobody else writes entries of this stream to Wasabi.
type Alone = Arc<tokio::sync::OwnedMutexGuard<()>>;

/// Something did not get to Wasabi. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// A chain could not be read.
    #[error(transparent)]
    Read(#[from] ReadError),
    /// The entry was not committed on the NAS.
    #[error(transparent)]
    Commit(#[from] CommitError),
    /// A segment could not be read from the NAS.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// A part of a segment could not be made.
    #[error(transparent)]
    Seal(#[from] SealError),
    /// Wasabi did not take it.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// What is at Wasabi is not what the NAS decided.
    #[error(
        "wasabi holds another `{0}` than the nas decided: two archives share this bucket; \
         give each its own"
    )]
    Diverged(String),
    /// Wasabi holds entries that the NAS has forgotten, with segments that it does not know either.
    #[error(
        "wasabi holds entry {wasabi} of stream `{stream}` and the nas remembers {nas}: the nas lost what it \
         had confirmed, segments too, so nothing more is copied; give the nas an empty bucket, and it \
         takes over wasabi's archive"
    )]
    Forgotten {
        /// The stream.
        stream: StreamName,
        /// The last entry at Wasabi.
        wasabi: u64,
        /// The last entry that the NAS has decided.
        nas: u64,
    },
}

/// How often a segment is sent before that is an error. With the waits in between it is about half a minute.
const TRIES: u32 = 12;

impl ShipError {
    /// Whether sending a segment once more may do, after so many tries.
    fn class(&self, tries: u32) -> Class {
        let (Self::S3(error) | Self::Fetch(FetchError::S3(error))) = self else {
            return Class::Permanent;
        };
        if error.kind.is_transient() && tries < TRIES { Class::Transient } else { Class::Permanent }
    }
}

/// Ships what each new state has sealed, until the sender of states is gone; then once more. When the session
/// has `ended` otherwise, its successor ships.
pub async fn run(
    context: Arc<Context>,
    wasabi: Arc<Store>,
    stream: StreamName,
    states: watch::Receiver<Arc<ArchiveState>>,
    ended: CancellationToken,
) {
    let shipping = run_until_ended(&context, &wasabi, &stream, states, &ended);
    context.abort.run_until_cancelled(shipping).await;
}

async fn run_until_ended(
    context: &Arc<Context>,
    wasabi: &Arc<Store>,
    stream: &StreamName,
    mut states: watch::Receiver<Arc<ArchiveState>>,
    ended: &CancellationToken,
) {
    let mut tries = 0;
    // The one before may have been ended with a request under way.
    let Some(alone) = ended.run_until_cancelled(context.ship_alone(stream)).await else { return };
    let alone = Arc::new(alone);
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        match ship(context, wasabi, stream, &state, &alone, ended).await {
            Ok(()) => {
                tries = 0;
                if states.changed().await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tries += 1;
                let error = cim_runtime::error::chain(&error);
                tracing::warn!(stream = %stream, "copying to wasabi failed, trying again: {error}");
                if !Backoff::default().wait(tries, ended).await {
                    return;
                }
            }
        }
    }
}

async fn ship(
    context: &Arc<Context>,
    wasabi: &Arc<Store>,
    stream: &StreamName,
    nas: &ArchiveState,
    alone: &Alone,
    ended: &CancellationToken,
) -> Result<(), ShipError> {
    let there = next_at(wasabi, stream).await?;
    let mut decided = match chain::load(&context.nas, Chain::Tertiary, stream).await {
        // What was decided for a NAS that was replaced just then stands alone on the new one.
        Err(ReadError::Chain { .. }) if there > 0 => None,
        other => other?,
    };
    let known = decided.as_ref().map_or(0, |decided| decided.number + 1);
    if known < there {
        recover_decided(context, wasabi, stream, nas, decided.as_ref(), there).await?;
        decided = chain::load(&context.nas, Chain::Tertiary, stream).await?;
    }
    // After that too: what stood alone may be one further.
    if let Some(decided) = decided.as_ref().filter(|decided| there <= decided.number) {
        let segments = missing_at(wasabi, stream, decided).await?;
        if !send_all(context, wasabi, segments, ended).await? {
            return Ok(());
        }
        copy_decided(context, wasabi, stream, decided, there, alone).await?;
    }
    let (nas_store, writer) = (Arc::clone(&context.nas), Arc::clone(&context.writer));
    let mut committer = Committer::new(nas_store, Chain::Tertiary, stream.clone(), writer, decided);
    if let Some(there) = committer.state().map(ArchiveState::timeline)
        && !nas.timelines.contains_key(&there)
    {
        tracing::warn!(
            stream = %stream,
            "wasabi has timeline {there}, which the nas does not know any more: nothing is copied until it does"
        );
    }
    let mut said: Option<Draft> = None;
    // One entry a timeline: each is complete at Wasabi before the next one begins there.
    loop {
        let step = match begun(nas, committer.state()) {
            Some((there, segment)) => Some(rest(context, stream, nas, there, segment).await?),
            None => next_step(nas, committer.state()),
        };
        let Some(step) = step else { return Ok(()) };
        // Each step leads on, or there is no end to them and to what they cost.
        if said.as_ref() == Some(&step) {
            tracing::error!(
                stream = %stream,
                "an entry at wasabi did not lead on, so no more is copied before there is news: this is a bug"
            );
            return Ok(());
        }
        if !send_all(context, wasabi, step.add.iter(), ended).await? {
            return Ok(());
        }
        said = Some(step.clone());
        let number = committer.state().map_or(0, |s| s.number + 1);
        let object = committer.commit(step, &context.abort).await?;
        fail_point!(ShipDecided);
        put_decided(wasabi, stream, number, object, alone).await?;
        fail_point!(ShipCopied);
    }
}

/// Sends segments; false when the session has ended meanwhile.
async fn send_all<'a>(
    context: &Context,
    wasabi: &Store,
    segments: impl IntoIterator<Item = &'a Segment>,
    ended: &CancellationToken,
) -> Result<bool, ShipError> {
    for segment in segments {
        match ended.run_until_cancelled(send(context, wasabi, segment)).await {
            None => return Ok(false),
            Some(sent) => sent?,
        }
        fail_point!(ShipSegment);
    }
    Ok(!ended.is_cancelled())
}

/// Sends a segment from the NAS to Wasabi. Between its tries others have theirs.
async fn send(context: &Context, wasabi: &Store, segment: &Segment) -> Result<(), ShipError> {
    let key = ArchiveKey::parse(&segment.key).expect("it was in the manifest");
    let what = format!("copying segment `{key}` to wasabi");
    let tries = AtomicU32::new(0);
    let class = |error: &ShipError| error.class(tries.fetch_add(1, Ordering::Relaxed) + 1);
    let attempt = || async {
        let _one_at_a_time = context.carrying.acquire().await.expect("it is never closed");
        let file = context.fetch_once(segment).await?;
        Ok(wasabi.put_once(&key, file).await?)
    };
    retry::retry(&what, Backoff::default(), &context.abort, class, attempt).await
}

/// The number after the last entry that Wasabi holds.
async fn next_at(wasabi: &Store, stream: &StreamName) -> Result<u64, S3Error> {
    let groups = wasabi.list(&Chain::Manifest.prefix(stream), true).await?;
    let Some(group) = groups.last() else { return Ok(0) };
    let keys = wasabi.list(&group.key, false).await?;
    Ok(match keys.last().map(|object| ArchiveKey::parse(&object.key)) {
        Some(Ok(ArchiveKey::Manifest { number, .. })) => number + 1,
        _ => 0,
    })
}

/// A NAS that was lost knows nothing of what it had decided, or the first part of it where bringing it
/// back was cut off, or where a power cut took the rest: Wasabi knows. Its last group says all that there is
/// to say. What follows on what the NAS remembers must speak of segments that the NAS has: else it lost more
/// than this can mend.
async fn recover_decided(
    context: &Context,
    wasabi: &Store,
    stream: &StreamName,
    nas: &ArchiveState,
    decided: Option<&ArchiveState>,
    there: u64,
) -> Result<(), ShipError> {
    let mut first = (there - 1) / GROUP * GROUP;
    if let Some(decided) = decided {
        first = decided.number + 1;
        let (entry, _) = chain::entry(wasabi, Chain::Manifest, stream, first).await?;
        let state = chain::load(wasabi, Chain::Manifest, stream).await?;
        let mut segments = state.iter().flat_map(|state| &state.segments);
        let known = segments.all(|(at, s)| nas.segments.get(at).is_some_and(|n| n.key == s.key));
        if entry.previous != Some(decided.hash) || !known {
            let (stream, wasabi, nas) = (stream.clone(), there - 1, decided.number);
            return Err(ShipError::Forgotten { stream, wasabi, nas });
        }
    }
    tracing::warn!(
        stream = %stream,
        "the nas has forgotten what it had decided for wasabi from entry {first} on: it comes from there"
    );
    for number in first..there {
        let object = wasabi.get(&Chain::Manifest.key(stream, number).to_string()).await?;
        context.nas.put(&Chain::Tertiary.key(stream, number), object).await?;
        fail_point!(RecoverMidway);
    }
    Ok(())
}

/// Writes a decided entry at Wasabi. What is there already must be the same. Whoever gives up waiting does
/// not stop it: nobody else ships before it has ended.
async fn put_decided(
    wasabi: &Arc<Store>,
    stream: &StreamName,
    number: u64,
    object: Bytes,
    alone: &Alone,
) -> Result<(), ShipError> {
    let key = Chain::Manifest.key(stream, number);
    let (wasabi, alone) = (Arc::clone(wasabi), Arc::clone(alone));
    let put = tokio::spawn(async move {
        let _alone = alone;
        if wasabi.put_if_absent(&key, object.clone()).await? == PutOutcome::AlreadyExists
            && wasabi.get(&key.to_string()).await? != object
        {
            return Err(ShipError::Diverged(key.to_string()));
        }
        Ok(())
    });
    put.await.expect("putting an entry does not panic")
}

/// Copies entries that were decided on the NAS and did not reach Wasabi; the segments that they name are there.
async fn copy_decided(
    context: &Context,
    wasabi: &Arc<Store>,
    stream: &StreamName,
    decided: &ArchiveState,
    there: u64,
    alone: &Alone,
) -> Result<(), ShipError> {
    let mut first = there;
    if there == 0 {
        // A NAS that was replaced has the last group of them alone, which says all that there is to say.
        first = chain::first(&context.nas, Chain::Tertiary, stream).await?.unwrap_or(0);
    }
    for number in first..=decided.number {
        let object = context.nas.get(&Chain::Tertiary.key(stream, number).to_string()).await?;
        put_decided(wasabi, stream, number, object, alone).await?;
    }
    Ok(())
}

/// The sealed segments of an archive that a tier does not hold, oldest first. Of what was decided Wasabi lacks
/// none after a crash, for segments go before the entry that names them; a bucket that was lost or emptied
/// lacks them all.
async fn missing_at<'a>(
    store: &Store,
    stream: &StreamName,
    state: &'a ArchiveState,
) -> Result<Vec<&'a Segment>, S3Error> {
    let mut there = BTreeSet::new();
    for prefix in cim_core::archive::key::segment_prefixes(stream) {
        there.extend(store.list(&prefix, false).await?.into_iter().map(|object| object.key));
    }
    let sealed = state.segments.values().filter(|s| s.sealed);
    Ok(sealed.filter(|s| !there.contains(&s.key)).collect())
}

/// A sealed segment of the NAS in whose middle Wasabi's watermark is. A NAS that forgot what it had sealed
/// seals it anew, and to another end.
fn begun<'a>(
    nas: &'a ArchiveState,
    there: Option<&'a ArchiveState>,
) -> Option<(&'a ArchiveState, &'a Segment)> {
    let there = there?;
    let segment = across(nas, there.timeline(), there.watermark().seq)?;
    segment.sealed.then_some((there, segment))
}

/// The segment of a timeline that begins at or before `seq` and ends after it.
fn across(nas: &ArchiveState, timeline: u32, seq: u64) -> Option<&Segment> {
    let (_, segment) = nas.segments.range((timeline, 0)..=(timeline, seq)).next_back()?;
    (segment.last_seq > seq).then_some(segment)
}

/// An entry with what such a segment has beyond Wasabi's watermark: what is before it is there.
async fn rest(
    context: &Arc<Context>,
    stream: &StreamName,
    nas: &ArchiveState,
    there: &ArchiveState,
    segment: &Segment,
) -> Result<Draft, ShipError> {
    let cut = seal::cut(context, stream, segment, there.watermark().seq).await?.segment;
    let mut draft = Draft::of(there);
    draft.watermark = Watermark { seq: cut.last_seq, last: Some(cut.last.clone()) };
    if let Some(timeline) = nas.timelines.get(&draft.timeline) {
        draft.state = timeline.state.clone();
    }
    draft.add = vec![cut];
    add_gaps(&mut draft, nas, Some(there));
    Ok(draft)
}

/// The next entry of Wasabi's chain; `None` when it says all that it can.
fn next_step(nas: &ArchiveState, there: Option<&ArchiveState>) -> Option<Draft> {
    let Some(there) = there else {
        let first = *nas.timelines.first_key_value()?.0;
        let timeline = &nas.timelines[&first];
        let (add, watermark) = sealed_beyond(nas, first, 0);
        let mut draft =
            Draft::begin(nas.stream.clone(), timeline.state.clone(), nas.consumers.clone());
        draft.fork = Some(timeline.fork.clone());
        (draft.timeline, draft.add, draft.watermark) = (first, add, watermark);
        add_gaps(&mut draft, nas, None);
        return Some(draft);
    };
    let mut draft = Draft::of(there);
    let here = there.timeline();
    let (add, watermark) = sealed_beyond(nas, here, there.watermark().seq);
    draft.add = add;
    if watermark.seq > draft.watermark.seq {
        draft.watermark = watermark;
    }
    draft.state = nas.timelines.get(&here)?.state.clone();
    if here == nas.timeline() {
        draft.stream = nas.stream.clone();
        draft.consumers.clone_from(&nas.consumers);
    }
    add_gaps(&mut draft, nas, Some(there));
    if draft.says_something(there) {
        return Some(draft);
    }
    // This timeline is complete; the next one may begin when all of it is here.
    let complete = there.watermark().seq >= nas.timelines.get(&here)?.watermark.seq;
    let next = here + 1;
    let timeline = nas.timelines.get(&next).filter(|_| complete)?;
    let parent = timeline.fork.parent.as_ref().map_or(0, |p| p.last_seq);
    let (add, watermark) = sealed_beyond(nas, next, parent);
    let mut draft = Draft::of(there);
    (draft.timeline, draft.fork) = (next, Some(timeline.fork.clone()));
    (draft.add, draft.watermark, draft.state) = (add, watermark, timeline.state.clone());
    add_gaps(&mut draft, nas, None);
    Some(draft)
}

/// A timeline's sealed segments after `seq` up to the first unsealed one, and how far they reach.
fn sealed_beyond(nas: &ArchiveState, timeline: u32, seq: u64) -> (Vec<Segment>, Watermark) {
    let nothing = (Vec::new(), Watermark { seq, last: None });
    // A NAS that forgot may not know the timeline any more, or not yet again.
    let Some(found) = nas.timelines.get(&timeline) else { return nothing };
    // A part of it is there, the rest goes when it is sealed.
    if across(nas, timeline, seq).is_some() {
        return nothing;
    }
    let mut add: Vec<Segment> = Vec::new();
    for (_, segment) in nas.segments.range((timeline, seq + 1)..=(timeline, u64::MAX)) {
        if !segment.sealed {
            let last = add.last().map(|s| s.last.clone());
            let seq = last.as_ref().map_or(seq, |l| l.seq);
            return (add, Watermark { seq, last });
        }
        add.push(segment.clone());
    }
    (add, found.watermark.clone())
}

/// Puts in what the NAS knows to be gone and Wasabi does not.
fn add_gaps(draft: &mut Draft, nas: &ArchiveState, there: Option<&ArchiveState>) {
    let known = there.map(ArchiveState::current);
    let Some(timeline) = nas.timelines.get(&draft.timeline) else { return };
    let until = draft.watermark.seq;
    let news = |here: &SeqRanges, there: Option<&SeqRanges>| {
        let here = here.intersect(1, until);
        there.map_or_else(|| here.clone(), |there| here.difference(there)).iter().collect()
    };
    draft.deleted = news(&timeline.deleted, known.map(|known| &known.deleted));
    draft.missed = news(&timeline.missed, known.map(|known| &known.missed));
    draft.lost = timeline.lost.intersect(1, until);
}

/// The segments that a NAS which was lost and came back empty does not have, newest first: they are
/// what the next restore needs most. The NAS's manifest names them already, so this insists.
pub async fn backfill(
    context: Arc<Context>,
    wasabi: Arc<Store>,
    stream: StreamName,
    state: ArchiveState,
) -> Result<usize, ShipError> {
    let what = format!("bringing segments of stream `{stream}` back to the nas");
    let listed = context.insist(&what, || missing_at(&context.nas, &stream, &state));
    let missing = listed.await?;
    let mut brought = 0;
    for segment in missing.iter().rev() {
        let bring = context.insist(&what, || bring_back(&context, &wasabi, segment));
        if bring.await? {
            brought += 1;
            fail_point!(BackfillMidway);
        }
    }
    Ok(brought)
}

/// One segment from Wasabi to the NAS; false when Wasabi's copy is not what it was.
async fn bring_back(context: &Context, wasabi: &Store, segment: &Segment) -> Result<bool, S3Error> {
    let _one_at_a_time = context.carrying.acquire().await.expect("it is never closed");
    let file = match wasabi.get_once(&segment.key).await {
        Ok(file) => file,
        // It may have the same messages in others.
        Err(error) if error.kind == ErrorKind::NotFound => {
            tracing::error!("wasabi cannot help the nas: {error}");
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    let key = ArchiveKey::parse(&segment.key).expect("it was in the manifest");
    match checked(segment, file).await {
        Ok(file) => context.nas.put_once(&key, file).await.map(|()| true),
        // The other segments are as good as they were.
        Err(error) => {
            tracing::error!("wasabi cannot help the nas: {}", cim_runtime::error::chain(&error));
            Ok(false)
        }
    }
}
