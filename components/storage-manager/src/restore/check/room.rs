//! Room: what the account's limits leave for the streams that come back. What a server or a disk has at most is
//! nothing that a user is told.

use std::collections::BTreeMap;

use super::server::Server;
use crate::jetstream::{Account, Usage};
use crate::restore::error::RestoreError;
use crate::restore::plan::Plan;

/// Bytes that the server counts for a message besides its own: on disk, and in memory.
const RECORD: u64 = 34;
const ENTRY: u64 = 16;

/// The room that is left, less what the streams take that are to be restored.
pub(super) struct Room<'a> {
    account: Option<&'a Account>,
    /// Used meanwhile, by who shares it.
    used: BTreeMap<u64, Usage>,
}

impl<'a> Room<'a> {
    /// Returns the room of an account.
    pub(super) fn of(server: &'a Server) -> Self {
        Self { account: server.account.as_ref(), used: BTreeMap::new() }
    }

    /// Takes a stream's room, unless there is none.
    pub(super) fn take(&mut self, plan: &Plan) -> Option<RestoreError> {
        let account = self.account?;
        let no_room = |limit, what| {
            let stream = plan.target.to_string();
            Some(RestoreError::NoRoom { stream, limit, what })
        };
        let replicas = plan.config["num_replicas"].as_u64().unwrap_or(1).max(1);
        let Some((share, found)) = account.usage(replicas) else {
            let what = format!("the account has no share for streams with {replicas} replicas");
            return no_room("max_storage", what);
        };
        let usage = self.used.entry(share).or_insert_with(|| found.clone());
        let limits = &usage.limits;
        let at_most = |limit: i64| u64::try_from(limit).ok().filter(|most| *most > 0);
        if let Some(most) = at_most(limits.max_streams)
            && usage.streams >= most
        {
            return no_room("max_streams", format!("the account may have {most} streams"));
        }
        let memory = plan.in_memory();
        let (limit, most, of_one, used, reserved) = if memory {
            let of_one = limits.memory_max_stream_bytes;
            ("max_memory", limits.max_memory, of_one, usage.memory, usage.reserved_memory)
        } else {
            let of_one = limits.storage_max_stream_bytes;
            ("max_storage", limits.max_storage, of_one, usage.storage, usage.reserved_storage)
        };
        let most_of_one = at_most(of_one);
        let asks = plan.config["max_bytes"].as_u64().filter(|bytes| *bytes > 0);
        if asks.is_none() && limits.max_bytes_required {
            let what = "the account wants a `max_bytes` of every stream".to_owned();
            return no_room("max_bytes_required", what);
        }
        let asks = asks.unwrap_or_default();
        if let Some(most) = most_of_one.filter(|most| asks > *most) {
            let limit = if memory { "memory_max_stream_bytes" } else { "storage_max_stream_bytes" };
            return no_room(limit, format!("its `max_bytes` is {asks}, the account takes {most}"));
        }
        let needs = stored(plan);
        if let Some(most) = at_most(most) {
            let left = most.saturating_sub(used);
            if needs > left {
                return no_room(limit, format!("it has {needs} bytes, the account {left} left"));
            }
            let left = most.saturating_sub(reserved);
            if asks > left {
                let what = format!("its `max_bytes` is {asks}, the account has {left} left");
                return no_room(limit, what);
            }
        }
        usage.streams += 1;
        let (used, reserved) = if memory {
            (&mut usage.memory, &mut usage.reserved_memory)
        } else {
            (&mut usage.storage, &mut usage.reserved_storage)
        };
        *used = used.saturating_add(needs);
        *reserved = reserved.saturating_add(asks);
        None
    }
}

/// Returns how many bytes a stream takes at least, as the server counts them; 0 where it takes reading to know.
fn stored(plan: &Plan) -> u64 {
    let Some(counts) = &plan.counts else { return 0 };
    let each = if plan.in_memory() { ENTRY } else { RECORD };
    let sent = plan.bytes().saturating_add(plan.messages().saturating_mul(each));
    counts.bytes.min(sent)
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::restore::tests::{piece, plan_of};

    /// Returns the limit that keeps each of some streams out, one after the other.
    fn limits(account: &str, streams: &[Value]) -> Vec<Option<&'static str>> {
        let account: Account = serde_json::from_str(account).unwrap();
        let mut room = Room { account: Some(&account), used: BTreeMap::new() };
        let take = |config: &Value| {
            let mut plan = plan_of(config.clone());
            plan.pieces = vec![piece(1000, 1)];
            let counts =
                json!({ "first_seq": 1, "last_seq": 1000, "messages": 1000, "bytes": 500 });
            plan.counts = Some(serde_json::from_value(counts).unwrap());
            room.take(&plan).map(|error| match error {
                RestoreError::NoRoom { limit, .. } => limit,
                other => panic!("{other}"),
            })
        };
        streams.iter().map(take).collect()
    }

    #[test]
    fn each_stream_takes_room_from_the_next() {
        let two = [json!({ "storage": "file" }), json!({ "storage": "file" })];
        let of = |account: &str| limits(account, &two);
        assert_eq!(of("{}"), [None, None]);
        assert_eq!(of(r#"{"limits":{"max_storage":1000}}"#), [None, None]);
        assert_eq!(of(r#"{"limits":{"max_storage":999}}"#), [None, Some("max_storage")]);
        assert_eq!(of(r#"{"storage":600,"limits":{"max_storage":1000}}"#)[0], Some("max_storage"));
        assert_eq!(of(r#"{"streams":3,"limits":{"max_streams":4}}"#), [None, Some("max_streams")]);
        // Memory is another room.
        assert_eq!(of(r#"{"limits":{"max_memory":1}}"#), [None, None]);
    }

    #[test]
    fn what_a_stream_asks_for_counts_too() {
        let asks = |bytes: u64| json!({ "storage": "file", "max_bytes": bytes });
        let account = r#"{"limits":{"storage_max_stream_bytes":700,"max_storage":1999}}"#;
        assert_eq!(
            limits(account, &[asks(701), asks(700), asks(600), asks(700)]),
            [Some("storage_max_stream_bytes"), None, None, Some("max_storage")]
        );
        let required = r#"{"limits":{"max_bytes_required":true}}"#;
        assert_eq!(limits(required, &[json!({})]), [Some("max_bytes_required")]);
        let shares = r#"{"limits":{},"tiers":{"R1":{"streams":1}}}"#;
        assert_eq!(
            limits(shares, &[json!({ "num_replicas": 3 }), json!({})]),
            [Some("max_storage"), None]
        );
    }
}
