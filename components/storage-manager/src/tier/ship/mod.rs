//! From the NAS to Wasabi: sealed segments, then the entry that names them.
//!
//! Wasabi is not known to honour conditional writes, so its chain is decided on the NAS: an entry is
//! committed under `tertiary/` there, and its bytes are then copied to Wasabi's `manifest/`. Two
//! writers that race copy the same bytes. What is decided and not yet copied is copied first.
//!
//! A NAS may forget: it was replaced by an empty one, or an S3 service that answers before it has synced
//! lost its last writes in a power cut. Then Wasabi, which has a copy, is what tells it; deciding those
//! numbers anew would leave two halves of different chains at Wasabi.

mod backfill;
mod error;
mod outbox;
mod step;

pub use backfill::fill_back;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use self::backfill::missing_at;
use self::error::ShipError;
use self::outbox::{ShipGuard, copy_decided, next_at, put_decided, recover_decided};
use self::step::{next_step, partially_shipped, remainder_step};
use cim_core::archive::key::Chain;
use cim_core::archive::{ArchiveState, Segment};
use cim_core::names::StreamName;
use cim_runtime::retry::{self, Backoff};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::chain::{self, Committer, Draft, ReadError};
use crate::hooks::fail_point;
use crate::s3::Store;
use crate::tier::context::Context;
use crate::tier::seal;
use crate::tier::segment_key::segment_key;

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
    let Some(guard) = ended.run_until_cancelled(context.lock_shipping(stream)).await else {
        return;
    };
    let guard = Arc::new(guard);
    loop {
        let state = Arc::clone(&states.borrow_and_update());
        match ship(context, wasabi, stream, &state, &guard, ended).await {
            Ok(()) => {
                tries = 0;
                if states.changed().await.is_err() {
                    return;
                }
            }
            Err(error) => {
                tries += 1;
                let error = cim_runtime::error::chain(&error);
                tracing::warn!(stream = %stream, "copying to Wasabi failed, trying again: {error}");
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
    guard: &ShipGuard,
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
        copy_decided(context, wasabi, stream, decided, there, guard).await?;
    }
    let (nas_store, writer) = (Arc::clone(&context.nas), Arc::clone(&context.writer));
    let mut committer = Committer::new(nas_store, Chain::Tertiary, stream.clone(), writer, decided);
    if let Some(there) = committer.state().map(ArchiveState::timeline)
        && !nas.timelines.contains_key(&there)
    {
        tracing::warn!(
            stream = %stream,
            "Wasabi has timeline {there} of this stream and the NAS does not: nothing is copied to Wasabi until the NAS has it"
        );
    }
    let mut said: Option<Draft> = None;
    // One entry a timeline: each is complete at Wasabi before the next one begins there.
    loop {
        let step = match partially_shipped(nas, committer.state()) {
            Some((there, segment)) => Some(remainder(context, stream, nas, there, segment).await?),
            None => next_step(nas, committer.state()),
        };
        let Some(step) = step else { return Ok(()) };
        // Each step leads on, or there is no end to them and to what they cost.
        if said.as_ref() == Some(&step) {
            tracing::error!(
                stream = %stream,
                "an entry for Wasabi changed nothing, so copying pauses until the next commit; this is a bug, please report it"
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
        put_decided(wasabi, stream, number, object, guard).await?;
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
    let key = segment_key(segment)?;
    let what = format!("copying segment `{key}` to Wasabi");
    let tries = AtomicU32::new(0);
    let class = |error: &ShipError| error.class(tries.fetch_add(1, Ordering::Relaxed) + 1);
    let attempt = || async {
        let _one_at_a_time = context.carrying.acquire().await.expect("it is never closed");
        let file = context.fetch_once(segment).await?;
        Ok(wasabi.put_once(&key, file).await?)
    };
    retry::retry(&what, Backoff::default(), &context.abort, class, attempt).await
}

/// Returns an entry with the part of such a segment beyond Wasabi's watermark: the part before it is there.
async fn remainder(
    context: &Arc<Context>,
    stream: &StreamName,
    archived: &ArchiveState,
    shipped: &ArchiveState,
    segment: &Segment,
) -> Result<Draft, ShipError> {
    let seq = shipped.watermark().seq;
    let remainder = seal::split_after(context, stream, segment, seq).await?.segment;
    Ok(remainder_step(archived, shipped, remainder))
}
