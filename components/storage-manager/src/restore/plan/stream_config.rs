//! Changes of a stream's and a consumer's configuration before it is restored.

use cim_core::archive::RawJson;
use serde_json::Value;

/// With its limits the server would drop at once what is to come back.
pub(super) fn lift_limits(config: &mut Value) {
    for (limit, none) in
        [("max_msgs", -1), ("max_bytes", -1), ("max_msgs_per_subject", -1), ("max_age", 0)]
    {
        if config.get(limit).is_some() {
            config[limit] = Value::from(none);
        }
    }
}

/// A consumer's configuration with no more replicas than its stream; otherwise as it is.
pub(super) fn at_most(config: &RawJson, replicas: u8) -> RawJson {
    let mut value = config.value();
    if value["num_replicas"].as_u64().is_none_or(|has| has <= replicas.into()) {
        return config.clone();
    }
    value["num_replicas"] = Value::from(replicas);
    RawJson::new(value.to_string()).expect("a value is JSON")
}
