//! Brings segments back that a NAS has lost and Wasabi has.

use std::collections::BTreeSet;
use std::sync::Arc;

use cim_core::archive::{ArchiveState, Segment};
use cim_core::names::StreamName;
use tokio_util::sync::CancellationToken;

use super::error::ShipError;
use crate::hooks::fail_point;
use crate::s3::{ErrorKind, S3Error, Store};
use crate::tier::context::{Context, checked};
use crate::tier::segment_key::segment_key;

/// Returns the sealed segments of an archive that a tier does not hold, oldest first. Of what was decided Wasabi
/// lacks none after a crash, for segments go before the entry that names them; a bucket that was lost or emptied
/// lacks them all.
pub(super) async fn missing_at<'a>(
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

/// Copies to the NAS the segments that it lost and Wasabi has, newest first: the next restore needs those most. The
/// NAS's manifest names them already, so this retries until it is cancelled.
pub async fn backfill(
    context: Arc<Context>,
    wasabi: Arc<Store>,
    stream: StreamName,
    state: ArchiveState,
) -> Result<usize, ShipError> {
    let what = format!("bringing segments of stream `{stream}` back to the NAS");
    let listed = context.retry_until_cancelled(&what, || missing_at(&context.nas, &stream, &state));
    let missing = listed.await?;
    let mut brought = 0;
    for segment in missing.iter().rev() {
        let bring = context.retry_until_cancelled(&what, || bring_back(&context, &wasabi, segment));
        if bring.await? {
            brought += 1;
            fail_point!(BackfillMidway);
        }
    }
    Ok(brought)
}

/// Copies one segment from Wasabi to the NAS. Returns false when Wasabi's copy is not what it was.
pub(super) async fn bring_back(
    context: &Context,
    wasabi: &Store,
    segment: &Segment,
) -> Result<bool, S3Error> {
    let _one_at_a_time = context.carrying.acquire().await.expect("it is never closed");
    let file = match wasabi.get_once(&segment.key).await {
        Ok(file) => file,
        // It may have the same messages in others.
        Err(error) if error.kind == ErrorKind::NotFound => {
            tracing::error!("the NAS lacks a segment, and so does Wasabi: {error}");
            return Ok(false);
        }
        Err(error) => return Err(error),
    };
    let key = match segment_key(segment) {
        Ok(key) => key,
        // The other segments are as good as they were.
        Err(error) => {
            tracing::error!("cannot copy a segment from Wasabi back to the NAS: {error}");
            return Ok(false);
        }
    };
    match checked(segment, file).await {
        Ok(file) => context.nas.put_once(&key, file).await.map(|()| true),
        // The other segments are as good as they were.
        Err(error) => {
            tracing::error!(
                "the NAS lacks a segment, and the copy at Wasabi is damaged: {}",
                cim_runtime::error::chain(&error)
            );
            Ok(false)
        }
    }
}

/// Brings back to the NAS what only Wasabi has.
pub fn fill_back(
    context: &Arc<Context>,
    wasabi: &Arc<crate::s3::Store>,
    stream: &StreamName,
    state: &ArchiveState,
    ended: CancellationToken,
) {
    if !state.segments.values().any(|s: &Segment| s.sealed) {
        return;
    }
    let (context, wasabi, state, stream) =
        (Arc::clone(context), Arc::clone(wasabi), state.clone(), stream.clone());
    tokio::spawn(async move {
        let filling = backfill(context, wasabi, stream.clone(), state);
        // The next session looks for itself.
        let Some(filled) = ended.run_until_cancelled(filling).await else { return };
        match filled {
            Ok(0) => {}
            Ok(segments) => {
                tracing::info!(stream = %stream, "copied {segments} segments from Wasabi back to the NAS");
            }
            Err(error) => {
                let error = cim_runtime::error::chain(&error);
                tracing::error!(stream = %stream, "cannot copy segments from Wasabi back to the NAS; restores read them from Wasabi: {error}");
            }
        }
    });
}
