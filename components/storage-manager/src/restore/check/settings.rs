//! Settings that a server is too old for and that no level of its API tells of: what it does not know it drops without
//! a word.

use serde_json::Value;

use crate::jetstream::{Fields, OF_CONSUMER, OF_SOURCE, OF_STREAM, Version};
use crate::restore::plan::Plan;

/// A policy that came later than its level.
const PRIORITIZED: Version = (2, 12, 0);

/// A setting that a server does not know.
pub(super) struct Unknown {
    /// The settings, in words.
    pub(super) what: String,
    /// The first version that does.
    pub(super) since: (u64, u64),
}

/// Returns a setting of the stream, or of a consumer of it, that servers of this version do not know.
pub(super) fn unknown(plan: &Plan, server: Version) -> Option<Unknown> {
    let of = |config: &Value, known: &Fields, whose: &str| {
        let (field, (major, minor, _)) = known.newest_unknown(config, server)?;
        Some(Unknown { what: format!("{whose}`{field}`"), since: (major, minor) })
    };
    let sources = plan.config["sources"].as_array().into_iter().flatten();
    let sources = sources.chain(std::iter::once(&plan.config["mirror"]));
    let sources = sources.filter_map(|source| {
        let name = source["name"].as_str()?;
        of(source, &OF_SOURCE, &format!("source `{name}` with "))
    });
    let consumers = plan.consumers.iter().filter_map(|consumer| {
        let config = consumer.config.value();
        let whose = format!("consumer `{}` with ", consumer.name);
        if server < PRIORITIZED && config["priority_policy"] == "prioritized" {
            let what = format!("{whose}`priority_policy` `prioritized`");
            return Some(Unknown { what, since: (PRIORITIZED.0, PRIORITIZED.1) });
        }
        of(&config, &OF_CONSUMER, &whose)
    });
    let all = of(&plan.config, &OF_STREAM, "").into_iter().chain(sources).chain(consumers);
    all.max_by_key(|unknown| unknown.since)
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
