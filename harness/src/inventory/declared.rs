//! The inventory's streams and buckets as JetStream knows them: every setting, defaults included.

use std::collections::BTreeMap;
use std::time::Duration;

use cim_core::inventory::{Bucket, BucketKind, Inventory, Stream, Within};
use cim_core::names::{Span, StoreName};
use serde_json::{Map, Value, json};

/// The kind of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Stream,
    Kv,
    Object,
}

impl Kind {
    /// Returns the kind of a stream of this name: buckets are streams with a prefix.
    pub(super) fn of(stream: &str) -> (Self, &str) {
        let kv = stream.strip_prefix(BucketKind::Kv.prefix()).map(|name| (Self::Kv, name));
        let object =
            || stream.strip_prefix(BucketKind::Object.prefix()).map(|name| (Self::Object, name));
        kv.or_else(object).unwrap_or((Self::Stream, stream))
    }

    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Stream => "stream",
            Self::Kv => "kv bucket",
            Self::Object => "object bucket",
        }
    }
}

/// Returns the declared configurations, by the names of the streams.
pub(super) fn streams(inventory: &Inventory) -> BTreeMap<String, Map<String, Value>> {
    let streams = inventory.streams.iter().map(|(name, stream)| (name.to_string(), of(stream)));
    let buckets = inventory
        .buckets
        .iter()
        .map(|(name, bucket)| (format!("{}{name}", bucket.kind.prefix()), of_bucket(name, bucket)));
    let all = streams.chain(buckets).map(|(name, mut config)| {
        config["name"] = name.clone().into();
        (name, config.as_object().expect("it was made as one").clone())
    });
    all.collect()
}

fn of(stream: &Stream) -> Value {
    let max_age = stream.max_age.as_ref().map_or(Duration::ZERO, Span::duration);
    json!({
        "name": "",
        "description": stream.description,
        "subjects": stream.subjects,
        "storage": stream.storage,
        "retention": stream.retention,
        "discard": stream.discard,
        "max_bytes": unlimited(stream.max_bytes.map(Within::get)),
        "max_msgs": unlimited(stream.max_messages.map(Within::get)),
        "max_msg_size": unlimited(stream.max_message_size.map(Within::get)),
        "max_age": nanoseconds(max_age),
        "duplicate_window": nanoseconds(window(stream.duplicate_window.duration(), max_age)),
    })
}

fn of_bucket(name: &StoreName, bucket: &Bucket) -> Value {
    let max_age = bucket.ttl.as_ref().map_or(Duration::ZERO, Span::duration);
    let mut config = json!({
        "name": "",
        "description": bucket.description,
        "storage": bucket.storage,
        "retention": "limits",
        "discard": "new",
        "max_bytes": unlimited(bucket.max_bytes.map(Within::get)),
        "max_age": nanoseconds(max_age),
        "allow_rollup_hdrs": true,
        "allow_direct": true,
    });
    match bucket.kind {
        BucketKind::Kv => {
            config["subjects"] = json!([format!("$KV.{name}.>")]);
            config["max_msgs_per_subject"] = bucket.history.get().into();
            config["deny_delete"] = true.into();
        }
        BucketKind::Object => {
            config["subjects"] = json!([format!("$O.{name}.C.>"), format!("$O.{name}.M.>")]);
        }
    }
    config
}

/// Returns the duplicate window; the server accepts none longer than its messages' age.
fn window(declared: Duration, max_age: Duration) -> Duration {
    if max_age.is_zero() { declared } else { declared.min(max_age) }
}

fn unlimited(limit: Option<u64>) -> Value {
    limit.map_or_else(|| (-1).into(), Value::from)
}

fn nanoseconds(span: Duration) -> Value {
    u64::try_from(span.as_nanos()).map_or(Value::from(i64::MAX), Value::from)
}
