//! A second witness of what a stream's leader does not have.
//!
//! What the leader shows as gone was deleted, or was on a part of its disk that is damaged: it says so
//! only until it is started again, and it may have led nobody until then. The other servers of the
//! cluster have their own disks. So what a leader shows as gone when it begins to lead is looked for
//! on another server before the archive follows. Deletes after that went through the leader itself,
//! and are its word.

use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::{SeqRange, SeqRanges};
use cim_core::names::StreamName;

use super::context::Context;
use super::reader::ReaderError;
use crate::jetstream::Depth;
use crate::wire::{Ask, Puller, WireError};

/// A delete reaches the others a moment after the leader: what is still there then was not deleted.
const SETTLED: Duration = Duration::from_secs(1);
/// Messages of one pull; payloads do not come.
const MESSAGES: u64 = 1 << 12;
/// How long a pull stays open where nothing comes.
const EXPIRES: Duration = Duration::from_secs(3);
/// Then it ends, and says so.
const SILENCE: Duration = Duration::from_secs(6);

/// Which of these sequences one of `servers` has. `None` when nobody could be asked.
pub async fn elsewhere(
    context: &Arc<Context>,
    stream: &StreamName,
    servers: &[String],
    gone: &SeqRanges,
) -> Result<Option<SeqRanges>, ReaderError> {
    let Some(there) = look(context, stream, servers, gone).await? else { return Ok(None) };
    if there.is_empty() {
        return Ok(Some(there));
    }
    tokio::time::sleep(SETTLED).await;
    look(context, stream, servers, &there).await
}

async fn look(
    context: &Arc<Context>,
    stream: &StreamName,
    servers: &[String],
    wanted: &SeqRanges,
) -> Result<Option<SeqRanges>, ReaderError> {
    let (Some(first), Some(last)) = (wanted.iter().next(), wanted.iter().last()) else {
        return Ok(Some(SeqRanges::default()));
    };
    let jetstream = &context.jetstream;
    let reader =
        jetstream.create_reader_on(servers, stream.as_str(), first.0, Depth::Headers).await?;
    let Some(reader) = reader else { return Ok(None) };
    let found = read(context, stream, &reader.name, wanted, last.1).await;
    if let Err(error) = jetstream.delete_consumer(stream.as_str(), &reader.name).await {
        tracing::debug!(stream = %stream, "a reader was left to expire: {error}");
    }
    found.map(Some)
}

async fn read(
    context: &Arc<Context>,
    stream: &StreamName,
    consumer: &str,
    wanted: &SeqRanges,
    last: u64,
) -> Result<SeqRanges, ReaderError> {
    let first = wanted.iter().next().map_or(1, |range| range.0);
    let mut puller = Puller::start(&context.link, stream.as_str(), consumer, first).await?;
    let mut found = SeqRanges::default();
    let (mut at, mut served) = (0, 0);
    while at < last {
        if puller.open_requests() == 0 {
            served = 0;
            let (messages, expires) = (MESSAGES, EXPIRES);
            let ask = Ask { messages, bytes: None, expires, heartbeat: None, at_once: false };
            puller.request(&ask)?;
        }
        let silent = || WireError::Restart {
            stream: stream.to_string(),
            why: format!("a second server said nothing for {} s", SILENCE.as_secs()),
        };
        let mail = tokio::time::timeout(SILENCE, puller.receive()).await;
        let pumped = puller.open(&mail.map_err(|_| silent())??, |message| {
            at = message.seq;
            if wanted.contains(at) {
                found.insert(SeqRange(at, at));
            }
        })?;
        served += pumped.messages;
        // A whole pull without a message: there are no more.
        if !pumped.ended.is_empty() && served == 0 {
            break;
        }
    }
    Ok(found)
}
