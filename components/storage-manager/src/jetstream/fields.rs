//! Which fields of a configuration a server knows. What it does not know it leaves out, without a word.

use cim_core::archive::RawJson;
use serde_json::{Map, Value};

/// A version, as `(2, 15, 2)`.
pub type Version = (u64, u64, u64);

/// Fields by the version that was the first to know them. Those of 2.9 and before are known to every server.
#[derive(Debug)]
pub struct Fields(&'static [(Version, &'static [&'static str])]);

/// Those of a stream (nats-server `StreamConfig`).
pub const OF_STREAM: Fields = Fields(&[
    (
        (0, 0, 0),
        &[
            "name",
            "description",
            "subjects",
            "retention",
            "max_consumers",
            "max_msgs",
            "max_bytes",
            "max_age",
            "max_msgs_per_subject",
            "max_msg_size",
            "discard",
            "storage",
            "num_replicas",
            "no_ack",
            "template_owner",
            "duplicate_window",
            "placement",
            "mirror",
            "sources",
            "republish",
            "allow_direct",
            "mirror_direct",
            "discard_new_per_subject",
            "sealed",
            "deny_delete",
            "deny_purge",
            "allow_rollup_hdrs",
        ],
    ),
    ((2, 10, 0), &["compression", "first_seq", "subject_transform", "consumer_limits", "metadata"]),
    ((2, 11, 0), &["allow_msg_ttl", "subject_delete_marker_ttl"]),
    ((2, 12, 0), &["allow_msg_counter", "allow_atomic", "allow_msg_schedules", "persist_mode"]),
    ((2, 14, 0), &["allow_batched"]),
]);

/// Those of a consumer (nats-server `ConsumerConfig`).
pub const OF_CONSUMER: Fields = Fields(&[
    (
        (0, 0, 0),
        &[
            "durable_name",
            "name",
            "description",
            "deliver_policy",
            "opt_start_seq",
            "opt_start_time",
            "ack_policy",
            "ack_wait",
            "max_deliver",
            "backoff",
            "filter_subject",
            "replay_policy",
            "rate_limit_bps",
            "sample_freq",
            "max_waiting",
            "max_ack_pending",
            "headers_only",
            "max_batch",
            "max_expires",
            "max_bytes",
            "deliver_subject",
            "deliver_group",
            "flow_control",
            "idle_heartbeat",
            "inactive_threshold",
            "num_replicas",
            "mem_storage",
            "direct",
        ],
    ),
    ((2, 10, 0), &["filter_subjects", "metadata"]),
    ((2, 11, 0), &["pause_until", "priority_groups", "priority_policy", "priority_timeout"]),
]);

/// Those of a mirror or a source (nats-server `StreamSource`).
pub const OF_SOURCE: Fields = Fields(&[
    ((0, 0, 0), &["name", "opt_start_seq", "opt_start_time", "filter_subject", "external"]),
    ((2, 10, 0), &["subject_transforms"]),
    ((2, 14, 0), &["consumer"]),
]);

/// Metadata in which servers speak of themselves.
const OF_SERVER: &str = "_nats.";

impl Fields {
    /// Returns whether a server knows a field. One that this program does not know is new to a server that is older than
    /// the one that had it.
    fn are_known(&self, field: &str, server: Version, had: Option<Version>) -> bool {
        let since = self.0.iter().find(|(_, fields)| fields.contains(&field));
        match since.map(|(since, _)| *since).or(had) {
            Some(since) => server >= since,
            None => true,
        }
    }

    /// Returns the field of a configuration that says something and that servers know since latest, and since when, where
    /// a server of this version does not.
    pub fn newest_unknown(
        &self,
        config: &Value,
        server: Version,
    ) -> Option<(&'static str, Version)> {
        let newer = self.0.iter().rev().filter(|(since, _)| *since > server);
        let mut fields = newer.flat_map(|(since, fields)| fields.iter().map(move |f| (*f, *since)));
        fields
            .find(|(field, _)| config.get(field).is_some_and(|value| says_something(field, value)))
    }

    /// Returns the fields of a configuration that say something to which a server of this version is deaf.
    fn unknown(&self, config: &Value, server: Version) -> Vec<String> {
        let had = version_of(config);
        let fields = config.as_object().into_iter().flatten();
        fields
            .filter(|(field, value)| {
                !self.are_known(field, server, had) && says_something(field, value)
            })
            .map(|(field, _)| field.clone())
            .collect()
    }

    /// Returns a configuration as it is now, with what it had before and the server does not know; `None` where that is
    /// nothing. And the names of those fields.
    pub fn with_unknown(
        &self,
        before: &RawJson,
        now: &RawJson,
        server: Version,
    ) -> Option<(RawJson, Vec<String>)> {
        if before == now {
            return None;
        }
        let (before, mut now) = (before.value(), now.value());
        let mut unknown = self.unknown(&before, server);
        unknown.retain(|field| now.get(field).is_none());
        if unknown.is_empty() {
            return None;
        }
        let had = version_of(&before);
        let (Value::Object(before), Value::Object(fields)) = (before, &mut now) else {
            return None;
        };
        for (field, value) in &before {
            if !self.are_known(field, server, had) && !fields.contains_key(field) {
                fields.insert(field.clone(), value.clone());
            }
        }
        // What the server says of itself is of the one that knew them.
        let of_server = before.get("metadata").and_then(Value::as_object).into_iter().flatten();
        let of_server: Vec<_> = of_server.filter(|(key, _)| key.starts_with(OF_SERVER)).collect();
        if !of_server.is_empty() {
            let metadata = fields.entry("metadata").or_insert_with(|| Map::new().into());
            for (key, value) in of_server {
                metadata[key.as_str()] = value.clone();
            }
        }
        let merged = RawJson::new(now.to_string()).expect("a value is JSON");
        Some((merged, unknown))
    }
}

/// Returns the version of the server that had a configuration, where it says so.
fn version_of(config: &Value) -> Option<Version> {
    let text = config["metadata"]["_nats.ver"].as_str()?;
    let mut numbers = text.split(['.', '-']).map(|number| number.parse().ok());
    Some((numbers.next()??, numbers.next()??, numbers.next()??))
}

/// Returns whether a field's value is another one than a server has for it that was told nothing.
fn says_something(field: &str, value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(set) => *set,
        Value::Number(number) => number.as_i64() != Some(0),
        Value::String(text) => !text.is_empty() && text != "none",
        Value::Array(all) => !all.is_empty(),
        Value::Object(all) if field == "metadata" => {
            all.keys().any(|key| !key.starts_with(OF_SERVER))
        }
        Value::Object(all) => !all.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn raw(value: &Value) -> RawJson {
        RawJson::new(value.to_string()).unwrap()
    }

    /// Returns what becomes of a configuration that 2.15.2 had and that this version shows as `now`.
    fn kept(before: &Value, now: &Value, server: Version) -> Option<(Value, Vec<String>)> {
        let merged = OF_STREAM.with_unknown(&raw(before), &raw(now), server);
        merged.map(|(merged, unknown)| (merged.value(), unknown))
    }

    #[test]
    fn what_a_server_does_not_know_is_kept_as_it_was() {
        let metadata = json!({ "_nats.ver": "2.15.2", "_nats.req.level": "2", "team": "a" });
        let before = json!({
            "name": "S", "max_age": 5, "republish": { "dest": "x" }, "allow_msg_counter": true,
            "compression": "none", "brand_new": 7, "metadata": metadata,
        });
        let now = json!({ "name": "S", "max_age": 9, "compression": "none",
            "metadata": { "_nats.ver": "2.11.0", "_nats.req.level": "0" } });
        let (merged, unknown) = kept(&before, &now, (2, 11, 0)).unwrap();
        assert_eq!(unknown, ["allow_msg_counter", "brand_new"]);
        // What it knows is as it shows it; what was taken out of it is gone, metadata too.
        let expected = json!({
            "name": "S", "max_age": 9, "allow_msg_counter": true, "compression": "none",
            "brand_new": 7, "metadata": { "_nats.ver": "2.15.2", "_nats.req.level": "2" },
        });
        assert_eq!(merged, expected);
        // So it stays, however often it is looked at.
        assert_eq!(kept(&merged, &now, (2, 11, 0)).unwrap().0, merged);
        // A server that knows them is believed.
        assert_eq!(kept(&before, &now, (2, 15, 2)), None);
        let now = json!({ "name": "S" });
        let (merged, unknown) = kept(&before, &now, (2, 9, 10)).unwrap();
        assert_eq!(unknown, ["allow_msg_counter", "brand_new", "metadata"]);
        assert_eq!(
            (&merged["metadata"], &merged["republish"]),
            (&before["metadata"], &Value::Null)
        );
    }

    #[test]
    fn what_says_nothing_is_not_kept() {
        let before = json!({
            "name": "S", "compression": "none", "consumer_limits": {}, "allow_msg_ttl": false,
            "first_seq": 0, "metadata": { "_nats.ver": "2.15.2" },
        });
        assert_eq!(kept(&before, &json!({ "name": "S" }), (2, 9, 10)), None);
        assert!(OF_STREAM.unknown(&before, (2, 9, 10)).is_empty());
        // Without a version it is not known how new an unknown field is.
        let before = json!({ "name": "S", "brand_new": 7 });
        assert_eq!(kept(&before, &json!({ "name": "S" }), (2, 9, 10)), None);
        let filters = json!({ "filter_subjects": ["a", "b"], "ack_wait": 1 });
        assert_eq!(OF_CONSUMER.unknown(&filters, (2, 9, 10)), ["filter_subjects"]);
        assert!(OF_CONSUMER.unknown(&filters, (2, 10, 0)).is_empty());
    }
}
