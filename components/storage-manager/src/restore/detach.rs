//! A copy beside the stream that it is of, and what of it would act outside of it.
//!
//! A stream that is restored under another name as a rule stands beside the live one: a rehearsal, an earlier point,
//! a history that was left. With all that the live one has it would take a work queue's messages away, hand messages
//! to applications a second time, and let a schedule fire twice.

use cim_core::archive::ConsumerRecord;
use serde_json::Value;

/// Takes out of a stream's configuration and of its consumers what would reach the live system. Returns what that was,
/// in words.
pub(super) fn detach(config: &mut Value, consumers: &mut Vec<ConsumerRecord>) -> Vec<String> {
    let mut left_out = Vec::new();
    consumers.retain(|consumer| match text(&consumer.config.value()["deliver_subject"]) {
        "" => true,
        subject => {
            let name = &consumer.name;
            left_out.push(format!("push consumer `{name}`, which delivers to `{subject}`"));
            false
        }
    });
    // Without one of its consumers such a stream would let go of what that one alone had not acknowledged.
    if !left_out.is_empty() && config["retention"] == "interest" {
        config["retention"] = Value::from("limits");
        left_out.push("retention `interest`: what its consumers acknowledge stays".into());
    }
    if let Some(mirror) = take(config, "mirror").filter(Value::is_object) {
        left_out.push(format!("mirror of `{}`", text(&mirror["name"])));
        take(config, "mirror_direct");
    }
    for source in take(config, "sources").as_ref().and_then(Value::as_array).into_iter().flatten() {
        left_out.push(format!("source `{}`", text(&source["name"])));
    }
    if let Some(republish) = take(config, "republish").filter(Value::is_object) {
        left_out.push(format!("republishing to `{}`", text(&republish["dest"])));
    }
    if let Some(transform) = take(config, "subject_transform").filter(Value::is_object) {
        left_out.push(format!("subject transform to `{}`", text(&transform["dest"])));
    }
    left_out.extend(without_schedules(config));
    left_out
}

/// Lets no schedule fire. Returns whether one could, in words.
pub(super) fn without_schedules(config: &mut Value) -> Option<String> {
    let fires = take(config, "allow_msg_schedules").is_some_and(|allowed| allowed == true);
    fires.then(|| "schedules: their messages are there, and none fires".into())
}

fn take(config: &mut Value, key: &str) -> Option<Value> {
    config.as_object_mut()?.remove(key)
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use cim_core::archive::{Position, RawJson};
    use serde_json::json;

    use super::*;

    fn consumer(name: &str, config: &Value) -> ConsumerRecord {
        ConsumerRecord {
            name: name.parse().unwrap(),
            created: "2026-01-01T00:00:00Z".parse().unwrap(),
            config: RawJson::new(config.to_string()).unwrap(),
            delivered: Position::default(),
            ack_floor: Position::default(),
            ack_pending: 0,
        }
    }

    #[test]
    fn what_acts_outside_of_a_copy_is_left_out() {
        let plain = json!({ "name": "S", "retention": "limits", "allow_direct": true });
        let mut config = plain.clone();
        config["mirror"] = json!({ "name": "O" });
        config["mirror_direct"] = json!(true);
        config["sources"] = json!([{ "name": "A" }, { "name": "B" }]);
        config["republish"] = json!({ "src": "a.>", "dest": "changes.>" });
        config["subject_transform"] = json!({ "src": "a.>", "dest": "b.>" });
        config["allow_msg_schedules"] = json!(true);
        let push = json!({ "durable_name": "push", "deliver_subject": "mail.send" });
        let pull = json!({ "durable_name": "pull" });
        let mut consumers = vec![consumer("push", &push), consumer("pull", &pull)];
        let left_out = detach(&mut config, &mut consumers);
        assert_eq!(config, plain);
        assert_eq!(consumers, [consumer("pull", &pull)]);
        assert_eq!(
            left_out,
            [
                "push consumer `push`, which delivers to `mail.send`",
                "mirror of `O`",
                "source `A`",
                "source `B`",
                "republishing to `changes.>`",
                "subject transform to `b.>`",
                "schedules: their messages are there, and none fires",
            ]
        );
        assert!(detach(&mut config, &mut consumers).is_empty());
        assert_eq!(config, plain);
    }

    #[test]
    fn what_only_a_push_consumer_waits_for_stays_in_a_copy() {
        let interest = json!({ "retention": "interest", "sources": null });
        let (mut config, mut pull) = (interest.clone(), vec![consumer("pull", &json!({}))]);
        assert!(detach(&mut config, &mut pull).is_empty());
        assert_eq!(config["retention"], "interest");
        let push = json!({ "deliver_subject": "d" });
        assert_eq!(detach(&mut config, &mut vec![consumer("push", &push)]).len(), 2);
        assert_eq!(config["retention"], "limits");
    }
}
