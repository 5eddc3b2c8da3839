//! A second witness of what a stream's leader does not have.
//!
//! What the leader shows as gone was deleted, or was on a part of its disk that is damaged: it says so
//! only until it is started again, and it may not have led the stream until then. The other servers of the
//! cluster have their own disks. So what a leader shows as gone when it begins to lead is looked for
//! on another server before the archive follows. Deletes after that went through the leader itself,
//! and are its word.

use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::{SeqRange, SeqRanges};
use cim_core::names::StreamName;

use super::context::Context;
use super::error::ReaderError;
use super::headers;

/// A delete reaches the others a moment after the leader. One that was just started again goes through its log
/// first, and takes longer where it has other work: it is asked again after these times, until it says the same.
const SETTLED: [Duration; 4] = [
    Duration::from_secs(1),
    Duration::from_secs(2),
    Duration::from_secs(4),
    Duration::from_secs(8),
];

/// Returns which of these sequences one of `servers` has; `None` where none of them can be asked.
pub async fn held_by_replicas(
    context: &Arc<Context>,
    stream: &StreamName,
    servers: &[String],
    gone: &SeqRanges,
) -> Result<Option<SeqRanges>, ReaderError> {
    let Some(mut there) = query_replica(context, stream, servers, gone).await? else {
        return Ok(None);
    };
    for (asked, settled) in SETTLED.into_iter().enumerate() {
        if there.is_empty() {
            break;
        }
        tokio::time::sleep(settled).await;
        let Some(still) = query_replica(context, stream, servers, &there).await? else {
            return Ok(None);
        };
        let same = still == there;
        there = still;
        if same && asked > 0 {
            break;
        }
    }
    Ok(Some(there))
}

async fn query_replica(
    context: &Arc<Context>,
    stream: &StreamName,
    servers: &[String],
    wanted: &SeqRanges,
) -> Result<Option<SeqRanges>, ReaderError> {
    let (Some(first), Some(last)) = (wanted.iter().next(), wanted.iter().last()) else {
        return Ok(Some(SeqRanges::default()));
    };
    let jetstream = &context.jetstream;
    let reader = jetstream.create_reader_on(servers, stream.as_str(), first.first, true).await?;
    let Some(reader) = reader else { return Ok(None) };
    let mut found = SeqRanges::default();
    let range = SeqRange { first: first.first, last: last.last };
    let read = headers::sequences(context, stream, &reader.name, range, |seq| {
        if wanted.contains(seq) {
            found.insert(SeqRange { first: seq, last: seq });
        }
    })
    .await;
    if let Err(error) = jetstream.delete_consumer(stream.as_str(), &reader.name).await {
        tracing::debug!(stream = %stream, "a reader was left to expire: {error}");
    }
    read.map(|()| Some(found))
}
