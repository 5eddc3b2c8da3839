//! Reading by sequence, for work queues: they allow no second consumer. One request a message, many
//! under way at once.

use std::time::Duration;

use futures_util::{StreamExt as _, TryStreamExt as _, stream};

use super::Task;
use crate::tier::budget::cost;
use crate::tier::error::ReaderError;
use crate::tier::segmenter::Segmenter;

/// Requests under way.
const AHEAD: usize = 64;
/// Sequences that are asked for until the next one that is there is looked for.
const AT_ONCE: u64 = 4 * AHEAD as u64;
/// The interval at which an idle work queue is asked for news.
const IDLE: Duration = Duration::from_millis(200);

pub(super) async fn run(task: &Task, mut segmenter: Segmenter) -> Result<(), ReaderError> {
    let (jetstream, stream) = (&task.context.jetstream, task.stream.as_str());
    let age = task.context.config.segment.flush_age;
    let mut next = task.start_seq;
    loop {
        let state = jetstream.stream_info(stream, false).await?.state;
        let begin = next.max(state.first_seq);
        // What is done is gone: a long run of that is passed over in one step.
        let from = match jetstream.next_message(stream, begin).await? {
            Some(message) => message.seq,
            None => state.last_seq + 1,
        };
        let until = state.last_seq.min(from.saturating_add(AT_ONCE - 1));
        let mut messages =
            stream::iter(from..=until).map(|seq| jetstream.message(stream, seq)).buffered(AHEAD);
        while let Some(message) = messages.try_next().await? {
            // A sequence that is gone was done before it could be archived: a gap.
            let Some(message) = message else { continue };
            let message = message.as_message();
            let reserved = task.context.budget.reserve(cost(&message)).await;
            segmenter.push(message, Some(reserved));
            task.progress.update(|read| read.seq = message.seq);
            segmenter.step().await?;
        }
        let idle = until >= state.last_seq;
        next = next.max(until + 1);
        task.progress.update(|read| read.drained = until.max(read.drained));
        if task.stop.is_cancelled() {
            segmenter.flush().await?;
            return Ok(());
        }
        if segmenter.deadline(age).is_some_and(|deadline| deadline <= tokio::time::Instant::now()) {
            segmenter.flush().await?;
        }
        if idle {
            tokio::select! {
                () = task.stop.cancelled() => {}
                () = tokio::time::sleep(IDLE.min(age)) => {}
            }
        }
    }
}
