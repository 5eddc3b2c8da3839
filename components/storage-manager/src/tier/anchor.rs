//! What keeps the messages of an interest stream until the NAS has them.
//!
//! Such a stream drops a message when every consumer has acknowledged it. The reader's own consumer
//! acknowledges nothing, which to the server is an acknowledgement on delivery: what was read and not
//! committed would be gone with this process. So a durable consumer stands beside it, which keeps its
//! place when this process ends, and acknowledges what is committed and no more. It is given headers only,
//! and only after a commit: it is never ahead of the archive by more than one request.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use cim_core::names::StreamName;
use tokio::sync::watch;

use super::context::Context;
use super::error::ReaderError;
use crate::wire::{PullRequest, Puller};

/// Messages of one request.
const MESSAGES: u64 = 1 << 12;
/// Their bytes, more or less: they have no payloads.
const BYTES: usize = 1 << 20;
const EXPIRES: Duration = Duration::from_secs(2);

/// A stream's anchor.
pub struct Anchor {
    context: Arc<Context>,
    puller: Puller,
    delivered: u64,
    waiting: Unacknowledged,
}

impl Anchor {
    /// Drops it, where it is not there yet: messages from `start_seq` on stay. `None` where the stream may
    /// have no more consumers.
    pub async fn drop_at(
        context: &Arc<Context>,
        stream: &StreamName,
        start_seq: u64,
    ) -> Result<Option<Self>, ReaderError> {
        let name = cim_core::archive::anchor(context.config.secondary.bucket.as_str());
        let jetstream = &context.jetstream;
        let at = match jetstream.anchor(stream.as_str(), &name, start_seq).await {
            Err(error) if error.is_full() => {
                tracing::warn!(
                    stream = %stream,
                    "messages that its consumers acknowledge before the NAS has them may be lost when this process ends, because the stream has no room for the consumer that would keep them: {error}; raise `max_consumers` of the stream or its account"
                );
                return Ok(None);
            }
            other => other?,
        };
        let (count, delivered) = at;
        let puller = Puller::resume(&context.link, stream.as_str(), &name, count).await?;
        let mut waiting = Unacknowledged::default();
        waiting.push(delivered, count);
        Ok(Some(Self { context: Arc::clone(context), puller, delivered, waiting }))
    }

    /// Follows the archive.
    pub async fn follow(mut self, mut committed: watch::Receiver<u64>) -> Result<(), ReaderError> {
        loop {
            let watermark = *committed.borrow_and_update();
            while self.delivered < watermark && self.pull().await? > 0 {}
            if let Some((seq, count)) = self.waiting.up_to(watermark) {
                self.puller.acknowledge(seq, count)?;
            }
            if committed.changed().await.is_err() {
                // The session is over.
                return std::future::pending().await;
            }
        }
    }

    /// Requests the next messages, and returns how many were delivered.
    async fn pull(&mut self) -> Result<usize, ReaderError> {
        let room = self.context.budget.make_room(BYTES).await;
        let (messages, expires) = (MESSAGES, EXPIRES);
        let ask = PullRequest { messages, bytes: None, expires, heartbeat: None, at_once: true };
        self.puller.request(&ask)?;
        let mut got = 0;
        while self.puller.open_requests() > 0 {
            let mail = self.puller.receive().await?;
            let mut count = self.puller.delivered();
            let (delivered, waiting) = (&mut self.delivered, &mut self.waiting);
            let outcome = self.puller.for_each_message(&mail, |message| {
                count += 1;
                *delivered = message.seq.max(*delivered);
                waiting.push(message.seq, count);
            })?;
            got += outcome.messages;
        }
        drop(room);
        Ok(got)
    }
}

/// The messages that were delivered and not acknowledged: sequences, and the consumer's count of each.
#[derive(Debug, Default)]
struct Unacknowledged {
    waiting: VecDeque<(u64, u64)>,
    last: u64,
}

impl Unacknowledged {
    /// Takes note of a delivery; one that came before is nothing new.
    fn push(&mut self, seq: u64, count: u64) {
        if seq > self.last {
            self.last = seq;
            self.waiting.push_back((seq, count));
        }
    }

    /// Takes out what is committed; its last, with which all before it is acknowledged.
    fn up_to(&mut self, watermark: u64) -> Option<(u64, u64)> {
        let committed = self.waiting.partition_point(|(seq, _)| *seq <= watermark);
        self.waiting.drain(..committed).next_back()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn never_more_than_is_committed_and_in_the_end_all(
            steps in prop::collection::vec((prop::bool::ANY, 0u64..6), 0..60),
        ) {
            let mut waiting = Unacknowledged::default();
            let (mut seq, mut count, mut watermark, mut acknowledged) = (0, 0, 0, 0);
            for (deliver, by) in steps {
                count += 1;
                if deliver {
                    seq += by + 1;
                    waiting.push(seq, count);
                } else {
                    // One that comes again.
                    waiting.push(seq, count);
                    watermark += by;
                }
                if let Some((last, _)) = waiting.up_to(watermark) {
                    prop_assert!(last <= watermark && last > acknowledged);
                    acknowledged = last;
                }
            }
            waiting.up_to(u64::MAX).inspect(|(last, _)| acknowledged = *last);
            prop_assert_eq!(acknowledged, seq);
        }
    }
}
