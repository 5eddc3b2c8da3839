//! What a restored stream is on the server, against what was sent.
//!
//! A stream lives from the moment at which it is there, and the server answers a little later: a schedule has fallen
//! due, a delete marker was written, a source goes on, a client publishes; limits drop what has expired. So there may
//! be more behind the last sequence that was sent, and less before it where something in the stream's configuration
//! explains that. All else is another stream than was sent.

use serde_json::Value;

use super::error::RestoreError;
use super::outcome::Outcome;
use super::plan::Plan;
use super::removal::{drops, rolls_up};

/// Returns what was restored, as the server's answer says it.
///
/// # Errors
/// When it has less than was sent, and nothing explains it, or more than can be.
pub(super) fn compare(plan: &Plan, sent: Outcome, answer: &Value) -> Result<Outcome, RestoreError> {
    let state = &answer["state"];
    let number = |name: &str| state[name].as_u64().unwrap_or_default();
    let (last_seq, messages) = (number("last_seq"), number("messages"));
    let differs = |what| RestoreError::Differs { stream: plan.target.to_string(), what };
    let end = sent.last_seq.max(plan.end());
    let Some(added) = last_seq.checked_sub(end) else {
        return Err(differs(format!("last sequence {last_seq}, not {end}")));
    };
    let lets_go = drops(&plan.config) || added > 0 && rolls_up(&plan.config);
    if messages > sent.messages + added || messages < sent.messages && !lets_go {
        return Err(differs(format!("{messages} messages, not {}", sent.messages)));
    }
    let dropped = sent.messages.saturating_sub(messages);
    let first_seq = if dropped > 0 { number("first_seq") } else { sent.first_seq };
    Ok(Outcome { messages: sent.messages - dropped, first_seq, added, dropped, ..sent })
}

/// Returns the settings that were sent and that the server's stream does not have: it did not know them.
pub(super) fn shorn(sent: &Value, has: &Value) -> Vec<String> {
    // What servers before 2.10 noted of a stream that was made by a template; later ones have none.
    const TEMPLATE: &str = "template_owner";
    // In a cluster the answer need not show it.
    let (Some(sent), Some(has)) = (sent.as_object(), has.as_object()) else { return Vec::new() };
    let says = |value: &Value| match value {
        Value::Null | Value::Bool(false) => false,
        Value::Number(number) => number.as_i64().is_none_or(|number| number > 0),
        Value::String(text) => !matches!(&text[..], "" | "none" | "default"),
        Value::Array(items) => !items.is_empty(),
        Value::Object(entries) => entries.keys().any(|key| !key.starts_with("_nats.")),
        Value::Bool(true) => true,
    };
    let lost = sent
        .iter()
        .filter(|(key, value)| says(value) && *key != TEMPLATE && !has.contains_key(*key));
    lost.map(|(key, _)| format!("`{key}`")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;
    use crate::restore::tests::plan_of;

    /// Compares 10 messages up to sequence 12 with the server's answer; in words where they differ.
    fn restored(config: Value, last_seq: u64, messages: u64) -> Result<(u64, u64, u64), String> {
        let sent = Outcome {
            messages: 10,
            bytes: 1,
            first_seq: 1,
            last_seq: 12,
            added: 0,
            dropped: 0,
            method: "",
            sending: Duration::ZERO,
        };
        let answer = json!({ "state": {
            "first_seq": 2, "last_seq": last_seq, "messages": messages,
        } });
        match compare(&plan_of(config), sent, &answer) {
            Ok(found) => {
                assert_eq!(found.first_seq, if found.dropped > 0 { 2 } else { 1 });
                assert_eq!((found.last_seq, found.messages), (12, 10 - found.dropped));
                Ok((found.messages, found.added, found.dropped))
            }
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn what_the_server_adds_behind_the_end_is_no_failed_restore() {
        let plain = || json!({ "retention": "limits" });
        let schedules = || json!({ "allow_msg_schedules": true, "allow_rollup_hdrs": true });
        assert_eq!(restored(plain(), 12, 10), Ok((10, 0, 0)));
        // A client, a source, a mirror that leaves gaps.
        assert_eq!(restored(plain(), 15, 13), Ok((10, 3, 0)));
        assert_eq!(restored(plain(), 15, 11), Ok((10, 3, 0)));
        // A schedule goes when it fires: the message that it sends takes its place.
        assert_eq!(restored(schedules(), 13, 10), Ok((10, 1, 0)));
        // A roll-up of everything.
        assert_eq!(restored(schedules(), 13, 1), Ok((1, 1, 9)));
        // Limits.
        assert_eq!(restored(json!({ "max_age": 1 }), 12, 4), Ok((4, 0, 6)));
    }

    #[test]
    fn what_nothing_explains_is_one() {
        let differs = |found: Result<_, String>, what: &str| {
            let found = found.unwrap_err();
            assert!(found.ends_with(what), "{found}");
        };
        let plain = || json!({ "retention": "limits" });
        differs(restored(plain(), 11, 10), "with last sequence 11, not 12");
        differs(restored(plain(), 12, 9), "with 9 messages, not 10");
        differs(restored(plain(), 12, 11), "with 11 messages, not 10");
        differs(restored(plain(), 15, 14), "with 14 messages, not 10");
        differs(restored(plain(), 15, 9), "with 9 messages, not 10");
        // Nothing has rolled anything up.
        differs(restored(json!({ "allow_rollup_hdrs": true }), 12, 9), "with 9 messages, not 10");
        let denied = json!({ "allow_rollup_hdrs": true, "deny_purge": true });
        differs(restored(denied, 13, 9), "with 9 messages, not 10");
    }

    #[test]
    fn what_a_server_has_dropped_is_named() {
        let sent = json!({
            "name": "S", "max_msgs": -1, "allow_msg_counter": true, "sealed": false,
            "compression": "none", "placement": {}, "metadata": { "_nats.req.level": "2" }, "mirror": null,
        });
        assert_eq!(shorn(&sent, &json!({ "name": "S" })), ["`allow_msg_counter`"]);
        assert!(shorn(&sent, &json!({ "name": "S", "allow_msg_counter": true })).is_empty());
        assert!(shorn(&sent, &Value::Null).is_empty());
    }
}
