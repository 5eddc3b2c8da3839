//! A stream that is on the server already: the one that would be restored, or one that is in the way?

use super::Found;
use super::server::Server;
use crate::jetstream::{ApiError, JetStream, StreamInfo};
use crate::restore::error::RestoreError;
use crate::restore::plan::Plan;
use crate::restore::removal::{drops, rolls_up};

/// Looks at a stream's place on the server.
pub(super) async fn look(
    jetstream: &JetStream,
    server: &Server,
    plan: &Plan,
    again: bool,
) -> Result<Found, RestoreError> {
    let asked;
    let info = if let Some(info) = server.stream(&plan.target) {
        info
    } else if server.is_unavailable(&plan.target) {
        match jetstream.stream_info(plan.target.as_str(), false).await {
            Ok(info) => asked = info,
            Err(error) if error.not_found() => return Ok(Found::Free),
            Err(error) => return Err(error.into()),
        }
        &asked
    } else {
        return Ok(Found::Free);
    };
    let differs = if again { differs(jetstream, plan, info).await? } else { Some(String::new()) };
    let stream = plan.target.to_string();
    Ok(match differs {
        None if info.state.last_seq > plan.end() => Found::There(format!(
            "on the server already, and goes on to sequence {}",
            info.state.last_seq
        )),
        None => Found::There("on the server already".into()),
        Some(_) if info.state.last_seq == 0 => Found::Hindered(RestoreError::Empty(stream)),
        Some(how) => Found::Hindered(RestoreError::Exists { stream, how }),
    })
}

/// Returns what a stream on the server has other than the archive, as the end of a sentence; `None` where it is the
/// one that would be restored. Its creation time alone does not say so: in memory, what was restored has a new one,
/// and a stream that was restored to an earlier point and used since has the old one. Its last message does.
async fn differs(
    jetstream: &JetStream,
    plan: &Plan,
    live: &StreamInfo,
) -> Result<Option<String>, ApiError> {
    let state = &live.state;
    let counts = plan.counts.as_ref().filter(|counts| counts.last_seq == plan.last_seq);
    if state.last_seq < plan.last_seq {
        return Ok(Some(format!(
            ", and ends at sequence {}, the archive at {}",
            state.last_seq, plan.last_seq
        )));
    }
    let same_end = state.last_seq == plan.last_seq || state.last_seq == plan.end();
    if let Some(last) = plan.last.as_ref().filter(|last| last.seq >= state.first_seq)
        && let Some(message) = jetstream.message(plan.target.as_str(), last.seq).await?
    {
        if !message.is(last) {
            return Ok(Some(format!(", and has another message at sequence {}", last.seq)));
        }
        // Of one that goes on, or lets go of messages, nothing follows from their number.
        let least = counts.map_or(0, |counts| counts.messages.min(plan.messages()));
        let lets_go = drops(&plan.config) || rolls_up(&plan.config);
        if same_end && state.messages < least && !lets_go {
            return Ok(Some(format!(", and has {} messages, not {least}", state.messages)));
        }
        return Ok(None);
    }
    // The last message is gone, from here at least: consumed or expired since, where it was there.
    let counted = counts.is_some_and(|counts| {
        counts.messages == state.messages
            && (counts.messages == 0 || counts.first_seq == state.first_seq)
    });
    let born = live.record.created == plan.created;
    let same = born || (plan.in_memory() && same_end && counted);
    let other = ", and is another one: nothing tells that it has what the archive has";
    Ok((!same).then(|| other.to_owned()))
}
