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

/// What is left, less what the streams take that are to be restored.
pub(super) struct Room<'a> {
    account: Option<&'a Account>,
    /// Used meanwhile, by who shares it.
    used: BTreeMap<u64, Usage>,
}

impl<'a> Room<'a> {
    /// That of an account.
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
