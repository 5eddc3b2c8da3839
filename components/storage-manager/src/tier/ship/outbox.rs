//! Entries for Wasabi: decided on the NAS, then copied, and brought back from Wasabi where the NAS has forgotten them.

use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::key::{Chain, GROUP};
use cim_core::archive::{ArchiveKey, ArchiveState};
use cim_core::names::StreamName;

use super::error::ShipError;
use crate::chain;
use crate::hooks::fail_point;
use crate::s3::{PutOutcome, S3Error, Store};
use crate::tier::context::Context;

/// The right to be the only one that writes entries of this stream to Wasabi.
pub(super) type ShipGuard = Arc<tokio::sync::OwnedMutexGuard<()>>;

/// Returns the number after the last entry that Wasabi holds.
pub(super) async fn next_at(wasabi: &Store, stream: &StreamName) -> Result<u64, S3Error> {
    let groups = wasabi.list(&Chain::Manifest.prefix(stream), true).await?;
    let Some(group) = groups.last() else { return Ok(0) };
    let keys = wasabi.list(&group.key, false).await?;
    Ok(match keys.last().map(|object| ArchiveKey::parse(&object.key)) {
        Some(Ok(ArchiveKey::Manifest { number, .. })) => number + 1,
        _ => 0,
    })
}

/// Copies back what the NAS had decided and has forgotten: a NAS that was lost has none of it, or the first part
/// where a copy was cut off or a power cut took the rest. Wasabi's last group says all that there is to say. What
/// follows on what the NAS remembers must name segments that the NAS has: else it lost more than this can mend.
pub(super) async fn recover_decided(
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
        "the NAS has forgotten its entries for Wasabi from number {first} on: they are copied back from Wasabi"
    );
    for number in first..there {
        let object = wasabi.get(&Chain::Manifest.key(stream, number).to_string()).await?;
        context.nas.put(&Chain::Tertiary.key(stream, number), object).await?;
        fail_point!(RecoverMidway);
    }
    Ok(())
}

/// Writes a decided entry at Wasabi. An entry that exists must be the same. A caller that gives up waiting does
/// not stop it: no other task ships before it has ended.
pub(super) async fn put_decided(
    wasabi: &Arc<Store>,
    stream: &StreamName,
    number: u64,
    object: Bytes,
    guard: &ShipGuard,
) -> Result<(), ShipError> {
    let key = Chain::Manifest.key(stream, number);
    let (wasabi, guard) = (Arc::clone(wasabi), Arc::clone(guard));
    let put = tokio::spawn(async move {
        let _guard = guard;
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
pub(super) async fn copy_decided(
    context: &Context,
    wasabi: &Arc<Store>,
    stream: &StreamName,
    decided: &ArchiveState,
    there: u64,
    guard: &ShipGuard,
) -> Result<(), ShipError> {
    let mut first = there;
    if there == 0 {
        // A NAS that was replaced has the last group of them alone, which says all that there is to say.
        first = chain::first(&context.nas, Chain::Tertiary, stream).await?.unwrap_or(0);
    }
    for number in first..=decided.number {
        let object = context.nas.get(&Chain::Tertiary.key(stream, number).to_string()).await?;
        put_decided(wasabi, stream, number, object, guard).await?;
    }
    Ok(())
}
