//! Which messages a server has, told by their headers: payloads do not come.

use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::SeqRange;
use cim_core::names::StreamName;

use super::context::Context;
use super::error::ReaderError;
use crate::wire::{PullRequest, Puller, WireError};

/// Messages of one request.
const MESSAGES: u64 = 1 << 12;
/// The time for which a request stays open where nothing comes.
const EXPIRES: Duration = Duration::from_secs(3);
/// Then it ends, and says so.
const SILENCE: Duration = Duration::from_secs(6);

/// Hands `each` the sequences of all messages in a range, ascending, as a new consumer has them that
/// begins with it.
pub async fn sequences(
    context: &Arc<Context>,
    stream: &StreamName,
    consumer: &str,
    SeqRange { first, last }: SeqRange,
    mut each: impl FnMut(u64),
) -> Result<(), ReaderError> {
    let mut puller = Puller::start(&context.link, stream.as_str(), consumer, first).await?;
    puller.wait_until_known().await?;
    let (mut at, mut served) = (0, 0);
    while at < last {
        if puller.open_requests() == 0 {
            served = 0;
            let (messages, expires) = (MESSAGES, EXPIRES);
            let ask =
                PullRequest { messages, bytes: None, expires, heartbeat: None, at_once: true };
            puller.request(&ask)?;
        }
        let silent = || WireError::Restart {
            stream: stream.to_string(),
            why: format!(
                "a server that was asked what it has said nothing for {} s",
                SILENCE.as_secs()
            ),
        };
        let mail = tokio::time::timeout(SILENCE, puller.receive()).await;
        let outcome = puller.for_each_message(&mail.map_err(|_| silent())??, |message| {
            at = message.seq;
            if at <= last {
                each(at);
            }
        })?;
        served += outcome.messages;
        // A whole request without a message: there are no more.
        if !outcome.ended.is_empty() && served == 0 {
            break;
        }
    }
    Ok(())
}
