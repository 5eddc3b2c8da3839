//! Configurations with which a stream removes messages by itself.

use serde_json::Value;

/// Returns whether a stream with this configuration lets go of messages by itself.
pub(super) fn drops(config: &Value) -> bool {
    let limits = ["max_msgs", "max_bytes", "max_age", "max_msgs_per_subject"];
    limits.iter().any(|limit| config[limit].as_i64().is_some_and(|most| most > 0))
        || config["allow_msg_ttl"] == true
        || config["retention"].as_str().is_some_and(|retention| retention != "limits")
}

/// Returns whether a message may take others away in a stream with this configuration: one that rolls up, one of a
/// schedule that has fired.
pub(super) fn rolls_up(config: &Value) -> bool {
    let allows = config["allow_rollup_hdrs"] == true && config["deny_purge"] != true;
    allows || config["allow_msg_schedules"] == true
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn only_limits_explain_that_messages_are_missing() {
        let none = json!({
            "retention": "limits", "max_msgs": -1, "max_bytes": -1, "max_age": 0,
            "max_msgs_per_subject": -1, "max_msg_size": -1, "allow_msg_ttl": false,
        });
        assert!(!drops(&none));
        for (key, value) in [
            ("max_msgs", json!(5)),
            ("max_bytes", json!(5)),
            ("max_age", json!(1_000_000_000_u64)),
            ("max_msgs_per_subject", json!(1)),
            ("allow_msg_ttl", json!(true)),
            ("retention", json!("interest")),
        ] {
            let mut config = none.clone();
            config[key] = value;
            assert!(drops(&config), "{key}");
        }
    }
}
