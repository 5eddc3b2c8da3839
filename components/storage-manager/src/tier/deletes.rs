//! Which sequences a stream does not have any more.
//!
//! A server lists them in one message, some bytes of JSON for each: nine million cut the connection. So a
//! long list is not asked for: the messages that are left are gone through instead, by their headers. After
//! either there is a pause of fifty times what it took, and that old is the archive's view of deletes.

use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::{SeqRange, SeqRanges};
use cim_core::names::StreamName;

use super::context::Context;
use super::error::ReaderError;
use super::headers;
use crate::jetstream::StreamInfo;

/// So many are asked for as a list, and so many messages are gone through at the end of the process.
const LISTED: u64 = 100_000;
const PAUSE: u32 = 50;

/// Returns how long to wait after a search that took `took`.
pub fn pause(took: Duration) -> Duration {
    took * PAUSE
}

/// Returns true if a search is short.
pub fn is_short(info: &StreamInfo) -> bool {
    info.num_deleted.min(info.state.messages) <= LISTED
}

/// Returns whether what is gone may be asked for as a list.
pub fn is_listed(info: &StreamInfo) -> bool {
    info.num_deleted <= LISTED
}

/// Finds the sequences that are gone. Returns `None` where the server that leads the stream cannot be asked.
pub async fn find(
    context: &Arc<Context>,
    stream: &StreamName,
    info: StreamInfo,
    clustered: bool,
) -> Result<Option<StreamInfo>, ReaderError> {
    let place = context.counting.acquire().await;
    let _place = place.expect("the semaphore is never closed");
    let jetstream = &context.jetstream;
    if is_listed(&info) {
        return Ok(Some(jetstream.stream_info(stream.as_str(), true).await?));
    }
    let (first, last) = (info.state.first_seq, info.state.last_seq);
    let reader = match info.cluster.leader.as_ref().filter(|_| clustered) {
        None => Some(jetstream.create_reader(stream.as_str(), first, true).await?),
        Some(leader) => {
            let leader = [leader.name.clone()];
            jetstream.create_reader_on(&leader, stream.as_str(), first, true).await?
        }
    };
    let Some(reader) = reader else { return Ok(None) };
    let mut left = Gaps { next: first, found: SeqRanges::default() };
    let range = SeqRange { first, last };
    let read = headers::sequences(context, stream, &reader.name, range, |seq| left.pass(seq)).await;
    if let Err(error) = jetstream.delete_consumer(stream.as_str(), &reader.name).await {
        tracing::debug!(stream = %stream, "a reader was left to expire: {error}");
    }
    read?;
    left.pass(last + 1);
    // Counts from before would have messages that are gone now.
    let now = jetstream.stream_info(stream.as_str(), false).await?;
    Ok(Some(StreamInfo { deleted: left.found, num_deleted: info.num_deleted, ..now }))
}

/// The gaps between messages.
struct Gaps {
    next: u64,
    found: SeqRanges,
}

impl Gaps {
    fn pass(&mut self, seq: u64) {
        self.found.insert(SeqRange { first: self.next, last: seq.saturating_sub(1) });
        self.next = seq + 1;
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_left_out_is_gone(left in prop::collection::btree_set(5u64..60, 0..30), last in 60u64..70) {
            let mut gaps = Gaps { next: 5, found: SeqRanges::default() };
            for seq in &left {
                gaps.pass(*seq);
            }
            gaps.pass(last + 1);
            let gone: BTreeSet<_> = gaps.found.iter().flat_map(|range| range.first..=range.last).collect();
            let expected: BTreeSet<_> = (5..=last).filter(|seq| !left.contains(seq)).collect();
            prop_assert_eq!(gone, expected);
        }
    }
}
