//! A stream that is on the server already: the one that would be restored, or one that is in the way?

use cim_core::archive::StreamState;
use jiff::Timestamp;

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

/// Returns what a stream on the server has other than the archive, as the end of a sentence; `None` if it is the one
/// that would be restored.
async fn differs(
    jetstream: &JetStream,
    plan: &Plan,
    live: &StreamInfo,
) -> Result<Option<String>, ApiError> {
    let last = plan.last.as_ref().filter(|last| last.seq >= live.state.first_seq);
    let message = match last {
        Some(last) if live.state.last_seq >= plan.last_seq => {
            jetstream.message(plan.target.as_str(), last.seq).await?
        }
        _ => None,
    };
    let same_message = last.zip(message).map(|(last, message)| message.is(last));
    Ok(compare(plan, &live.state, live.record.created, same_message))
}

/// Compares a stream on the server with the one that would be restored; `same_message` says whether its last archived
/// message is the same on the server, if it is there. Its creation time alone does not tell: in memory, a restored
/// stream has a new one, and a stream that was restored to an earlier point and used since has the old one. Its last
/// message does.
fn compare(
    plan: &Plan,
    state: &StreamState,
    created: Timestamp,
    same_message: Option<bool>,
) -> Option<String> {
    let counts = plan.counts.as_ref().filter(|counts| counts.last_seq == plan.last_seq);
    if state.last_seq < plan.last_seq {
        return Some(format!(
            ", and ends at sequence {}, the archive at {}",
            state.last_seq, plan.last_seq
        ));
    }
    let same_end = state.last_seq == plan.last_seq || state.last_seq == plan.end();
    if let (Some(last), Some(same)) = (&plan.last, same_message) {
        if !same {
            return Some(format!(", and has another message at sequence {}", last.seq));
        }
        // Of one that goes on, or lets go of messages, nothing follows from their number.
        let least = counts.map_or(0, |counts| counts.messages.min(plan.messages()));
        let lets_go = drops(&plan.config) || rolls_up(&plan.config);
        if same_end && state.messages < least && !lets_go {
            return Some(format!(", and has {} messages, not {least}", state.messages));
        }
        return None;
    }
    // The last message is gone, from here at least: consumed or expired since, where it was there.
    let counted = counts.is_some_and(|counts| {
        counts.messages == state.messages
            && (counts.messages == 0 || counts.first_seq == state.first_seq)
    });
    let same = created == plan.created || (plan.in_memory() && same_end && counted);
    let other = ", and is another one: nothing tells that it has what the archive has";
    (!same).then(|| other.to_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::restore::tests::{piece, plan_of};

    fn plan(storage: &str) -> Plan {
        let mut plan = plan_of(json!({ "storage": storage }));
        let piece = piece(10, 1);
        (plan.last_seq, plan.last) = (10, Some(piece.0.last.clone()));
        plan.pieces = vec![piece];
        plan.counts = Some(state(10, 10));
        plan
    }

    fn state(last_seq: u64, messages: u64) -> StreamState {
        StreamState { first_seq: 1, last_seq, messages, bytes: 0 }
    }

    #[test]
    fn the_last_message_tells_whether_it_is_the_same_stream() {
        let (plan, now) = (plan("file"), Timestamp::UNIX_EPOCH);
        assert_eq!(compare(&plan, &state(10, 10), now, Some(true)), None);
        assert_eq!(compare(&plan, &state(15, 12), now, Some(true)), None, "it goes on");
        let differs = |state, same| compare(&plan, &state, now, same).unwrap();
        assert!(differs(state(9, 9), None).contains("ends at sequence 9, the archive at 10"));
        assert!(differs(state(10, 10), Some(false)).contains("another message at sequence 10"));
        assert!(differs(state(10, 9), Some(true)).contains("has 9 messages, not 10"));
    }

    #[test]
    fn without_it_the_creation_time_does_or_in_memory_the_counts() {
        let (file, memory, now) = (plan("file"), plan("memory"), Timestamp::UNIX_EPOCH);
        assert_eq!(compare(&file, &state(10, 0), file.created, None), None);
        assert!(compare(&file, &state(10, 10), now, None).is_some());
        assert_eq!(compare(&memory, &state(10, 10), now, None), None);
        assert!(compare(&memory, &state(10, 9), now, None).is_some());
        assert!(compare(&memory, &state(11, 10), now, None).is_some());
    }
}
