//! Settings that a server is too old for and that no level of its API tells of: what it does not know it drops without
//! a word.

use serde_json::Value;

use crate::restore::plan::Plan;

/// A version of nats-server without its patch.
type Version = (u64, u64);

/// Settings of a stream without a level, and the first version that knows them.
const OF_STREAMS: [(&str, Version); 5] = [
    ("compression", (2, 10)),
    ("first_seq", (2, 10)),
    ("subject_transform", (2, 10)),
    ("consumer_limits", (2, 10)),
    ("metadata", (2, 10)),
];
/// The same of a mirror or a source.
const OF_SOURCES: [(&str, Version); 2] = [("subject_transforms", (2, 10)), ("consumer", (2, 14))];
/// The same of a consumer.
const OF_CONSUMERS: [(&str, Version); 2] = [("filter_subjects", (2, 10)), ("metadata", (2, 10))];
/// A policy that came later than its level.
const PRIORITIZED: Version = (2, 12);

/// A setting that a server does not know.
pub(super) struct Unknown {
    /// Which, in words.
    pub(super) what: String,
    /// The first version that does.
    pub(super) since: Version,
}

/// Returns a setting of the stream, or of a consumer of it, that servers of this version do not know.
pub(super) fn unknown(plan: &Plan, (major, minor, _): (u64, u64, u64)) -> Option<Unknown> {
    let has = (major, minor);
    let of = |config: &Value, known: &[(&str, Version)], whose: &str| {
        let newer = known.iter().filter(|(_, since)| *since > has);
        let found = newer.filter(|(key, _)| is_set(key, &config[key])).max_by_key(|found| found.1);
        found.map(|(key, since)| Unknown { what: format!("{whose}`{key}`"), since: *since })
    };
    let sources = plan.config["sources"].as_array().into_iter().flatten();
    let sources = sources.chain(std::iter::once(&plan.config["mirror"]));
    let sources = sources.filter_map(|source| {
        let name = source["name"].as_str()?;
        of(source, &OF_SOURCES, &format!("source `{name}` with "))
    });
    let consumers = plan.consumers.iter().filter_map(|consumer| {
        let config = consumer.config.value();
        let whose = format!("consumer `{}` with ", consumer.name);
        if has < PRIORITIZED && config["priority_policy"] == "prioritized" {
            let what = format!("{whose}`priority_policy` `prioritized`");
            return Some(Unknown { what, since: PRIORITIZED });
        }
        of(&config, &OF_CONSUMERS, &whose)
    });
    let all = of(&plan.config, &OF_STREAMS, "").into_iter().chain(sources).chain(consumers);
    all.max_by_key(|unknown| unknown.since)
}

/// Returns whether a setting says something; what the server notes for itself in the metadata does not.
fn is_set(key: &str, value: &Value) -> bool {
    match value {
        Value::Object(entries) if key == "metadata" => {
            entries.keys().any(|key| !key.starts_with("_nats."))
        }
        Value::Object(entries) => !entries.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::String(text) => !text.is_empty() && text != "none",
        Value::Number(number) => number.as_i64() != Some(0),
        Value::Bool(set) => *set,
        Value::Null => false,
    }
}

#[cfg(test)]
mod tests {
    use cim_core::archive::{ConsumerRecord, Position, RawJson};
    use serde_json::json;

    use super::*;
    use crate::restore::tests::plan_of;

    fn found(config: Value, consumer: &Value, version: (u64, u64, u64)) -> Option<String> {
        let mut plan = plan_of(config);
        plan.consumers = vec![ConsumerRecord {
            name: "c".parse().unwrap(),
            created: "2026-01-01T00:00:00Z".parse().unwrap(),
            config: RawJson::new(consumer.to_string()).unwrap(),
            delivered: Position::default(),
            ack_floor: Position::default(),
            ack_pending: 0,
        }];
        let Unknown { what, since } = unknown(&plan, version)?;
        Some(format!("{what} {since:?}"))
    }

    #[test]
    fn what_a_server_is_too_old_for_is_named_and_what_says_nothing_is_not() {
        let old = (2, 9, 10);
        let of = |config: Value, version| found(config, &json!({}), version);
        assert_eq!(
            of(json!({ "compression": "s2" }), old).as_deref(),
            Some("`compression` (2, 10)")
        );
        assert_eq!(of(json!({ "compression": "s2" }), (2, 10, 0)), None);
        let nothing = json!({
            "compression": "none", "first_seq": 0, "consumer_limits": {}, "mirror": null,
            "metadata": { "_nats.level": "5", "_nats.req.level": "0" },
        });
        assert_eq!(of(nothing, old), None);
        let sources = json!([{ "name": "A" }, { "name": "B", "consumer": { "name": "x" } }]);
        assert_eq!(
            of(json!({ "first_seq": 9, "sources": sources }), (2, 12, 15)).as_deref(),
            Some("source `B` with `consumer` (2, 14)")
        );
        assert_eq!(of(json!({ "sources": sources }), (2, 14, 0)), None);
        let filters = json!({ "filter_subjects": ["a", "b"] });
        assert_eq!(
            found(json!({}), &filters, old).as_deref(),
            Some("consumer `c` with `filter_subjects` (2, 10)")
        );
        let prioritized = json!({ "priority_policy": "prioritized" });
        assert_eq!(
            found(json!({}), &prioritized, (2, 11, 17)).as_deref(),
            Some("consumer `c` with `priority_policy` `prioritized` (2, 12)")
        );
        assert_eq!(found(json!({}), &prioritized, (2, 12, 0)), None);
    }
}
