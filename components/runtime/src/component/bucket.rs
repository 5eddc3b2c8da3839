//! Reading many keys of a bucket. The client's own way makes consumers without a name, which NATS's permissions can
//! only allow for a whole stream; these have a name and a filter in the subject of their request.

use std::collections::BTreeSet;

use async_nats::jetstream::Message;
use async_nats::jetstream::consumer::DeliverPolicy;
use async_nats::jetstream::consumer::pull::{Config, Stream as Messages};
use async_nats::jetstream::kv::Store;
use cim_core::envelope::EventId;
use futures_util::StreamExt as _;

use super::reading::reading;
use crate::error::chain;

/// Returns the newest entry of each key that matches, without its value, and whatever comes afterwards; and the
/// number of those that are there now.
pub(super) async fn newest(bucket: &Store, filter: &str) -> Result<(u64, Messages), String> {
    let subject = format!("{}{filter}", bucket.prefix);
    let made = async {
        let name = EventId::now().to_string();
        let values = reading(name, subject, DeliverPolicy::LastPerSubject);
        let keys = Config { headers_only: true, ..values };
        let consumer = bucket.stream.create_consumer(keys).await?;
        let pending = consumer.cached_info().num_pending;
        Ok((pending, consumer.messages().await?))
    };
    made.await.map_err(|error: async_nats::Error| error.to_string())
}

/// Returns the key of an entry, if it has a value.
pub(super) fn key(bucket: &Store, message: &Message) -> (Option<String>, bool) {
    let key = message.subject.strip_prefix(bucket.prefix.as_str()).map(str::to_owned);
    let headers = message.headers.as_ref();
    let marker = ["KV-Operation", "Nats-Marker-Reason"];
    let gone = headers.is_some_and(|all| {
        marker.iter().any(|name| all.get(*name).is_some_and(|value| value.as_str() != "PUT"))
    });
    (key, !gone)
}

/// Returns all keys that have a value.
pub(super) async fn keys(bucket: &Store) -> Result<BTreeSet<String>, String> {
    let (pending, mut messages) = newest(bucket, ">").await?;
    let mut keys = BTreeSet::new();
    for _ in 0..pending {
        let message = messages.next().await.ok_or("the list of keys ended early")?;
        let message = message.map_err(|error| chain(&error))?;
        if let (Some(key), true) = key(bucket, &message) {
            keys.insert(key);
        }
    }
    Ok(keys)
}
