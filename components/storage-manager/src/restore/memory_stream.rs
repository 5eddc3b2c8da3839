//! What a stream in memory does not get back: it is restored as a v2 snapshot, which does not carry it.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::plan::Plan;

/// Returns what a stream that is restored now does not get back, in words.
pub fn unsupported_in_memory(plan: &Plan, now: Timestamp) -> Vec<String> {
    let mut lost = Vec::new();
    if !plan.in_memory() {
        return lost;
    }
    if !plan.followers.is_empty() {
        lost.push(format!(
            "its creation time: {} may take it for another stream and take its messages once more",
            plan.followers.join(", ")
        ));
    }
    let window = plan.config["duplicate_window"].as_u64().map(Duration::from_nanos);
    let window = window.unwrap_or_default();
    let last = Timestamp::from_nanosecond(plan.last_time.into()).ok();
    let age = last.map(|last| now.duration_since(last));
    if let (Some(age), Ok(left)) = (age, SignedDuration::try_from(window))
        && age < left
        && !plan.capabilities.duplicates
    {
        lost.push(format!(
            "its duplicate window of {left:#}: what is sent again with the same `Nats-Msg-Id` is stored once more"
        ));
    }
    lost
}

/// Returns whether a stream leaves markers where messages expire, and this one leaves none of those that have expired
/// before it is restored.
pub fn leaves_no_markers(plan: &Plan) -> bool {
    plan.in_memory() && plan.config["subject_delete_marker_ttl"].as_u64() > Some(0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::restore::tests::plan_of;

    #[test]
    fn only_a_stream_in_memory_lacks_something_and_only_while_it_matters() {
        let config =
            |storage: &str| json!({ "storage": storage, "duplicate_window": 120_000_000_000_u64 });
        let at = |seconds| Timestamp::UNIX_EPOCH + SignedDuration::from_secs(seconds);
        let memory = Plan { followers: vec!["mirror `M`".into()], ..plan_of(config("memory")) };
        let lost = unsupported_in_memory(&memory, at(119));
        assert_eq!(lost.len(), 2, "{lost:?}");
        assert!(lost[0].contains("mirror `M`") && lost[1].contains("window of 2m"), "{lost:?}");
        assert_eq!(unsupported_in_memory(&memory, at(121)).len(), 1);
        let alone = plan_of(config("memory"));
        assert!(unsupported_in_memory(&alone, at(121)).is_empty());
        assert!(
            unsupported_in_memory(
                &Plan { followers: memory.followers, ..plan_of(config("file")) },
                at(1)
            )
            .is_empty()
        );
        let mut later = plan_of(config("memory"));
        assert_eq!(unsupported_in_memory(&later, at(1)).len(), 1);
        later.capabilities.duplicates = true;
        assert!(unsupported_in_memory(&later, at(1)).is_empty());
        let marks = json!({ "storage": "memory", "subject_delete_marker_ttl": 1 });
        assert!(leaves_no_markers(&plan_of(marks)) && !leaves_no_markers(&alone));
    }
}
