//! Changes of a stream's and a consumer's configuration before it is restored.

use cim_core::archive::RawJson;
use serde_json::Value;

/// Removes the limits, with which the server would drop at once what is to come back.
pub(super) fn lift_limits(config: &mut Value) {
    for (limit, none) in
        [("max_msgs", -1), ("max_bytes", -1), ("max_msgs_per_subject", -1), ("max_age", 0)]
    {
        if config.get(limit).is_some() {
            config[limit] = Value::from(none);
        }
    }
}

/// Returns a consumer's configuration with no more replicas than its stream; otherwise as it is.
pub(super) fn at_most(config: &RawJson, replicas: u8) -> RawJson {
    let mut value = config.value();
    if value["num_replicas"].as_u64().is_none_or(|has| has <= replicas.into()) {
        return config.clone();
    }
    value["num_replicas"] = Value::from(replicas);
    RawJson::new(value.to_string()).expect("a value is JSON")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn limits_are_lifted_where_there_are_some() {
        let mut config = json!({ "max_msgs": 5, "max_age": 9, "max_msg_size": 7, "name": "S" });
        lift_limits(&mut config);
        assert_eq!(config, json!({ "max_msgs": -1, "max_age": 0, "max_msg_size": 7, "name": "S" }));
    }

    #[test]
    fn a_consumer_has_no_more_replicas_than_its_stream() {
        let of = |text: &str, replicas| at_most(&RawJson::new(text.to_owned()).unwrap(), replicas);
        assert_eq!(of(r#"{"num_replicas":3}"#, 1).value()["num_replicas"], 1);
        // What need not change stays byte for byte.
        for text in [r#"{ "num_replicas": 1 }"#, r#"{ "num_replicas":0}"#, "{ }"] {
            assert_eq!(of(text, 1).get(), text);
        }
    }
}
