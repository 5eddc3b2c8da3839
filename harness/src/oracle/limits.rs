//! Limits of a stream: what a server may drop by itself, and what it must not.

use serde_json::Value;

use super::print::Print;

/// Blocks and indices make the server's count of bytes a little coarser than a sum over messages.
const SLACK: u64 = 64 * 1024;

/// Limits, as a stream's configuration says them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Limits {
    /// Messages that the stream holds at most.
    messages: Option<u64>,
    /// Bytes.
    bytes: Option<u64>,
    /// Age of a message, in nanoseconds.
    age: Option<u64>,
}

impl Limits {
    /// Of a configuration as a server prints it.
    pub fn of(config: &Value) -> Self {
        let limit = |key: &str| config[key].as_u64().filter(|limit| *limit > 0);
        Self { messages: limit("max_msgs"), bytes: limit("max_bytes"), age: limit("max_age") }
    }

    /// Whether the stream drops anything by itself.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    /// Whether a limit asked for a message to be dropped, the newest of those that were, while `kept`
    /// stayed. Times are in nanoseconds since 1970.
    pub fn asked_for(&self, dropped_time: i64, kept: Held, now: i128) -> bool {
        self.messages.is_some_and(|limit| kept.messages >= limit)
            || self.bytes.is_some_and(|limit| kept.bytes + SLACK >= limit)
            || self.age.is_some_and(|limit| i128::from(dropped_time) + i128::from(limit) <= now)
    }
}

/// What a stream holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Held {
    /// Messages.
    pub messages: u64,
    /// Bytes, as a server counts them.
    pub bytes: u64,
}

impl Held {
    /// What the server says that it holds.
    pub fn live(info: &Value) -> Self {
        let count = |key: &str| info["state"][key].as_u64().unwrap_or_default();
        Self { messages: count("messages"), bytes: count("bytes") }
    }

    /// What these messages come to.
    pub fn of<'a>(prints: impl IntoIterator<Item = &'a Print>) -> Self {
        prints.into_iter().fold(Self::default(), |held, print| Self {
            messages: held.messages + 1,
            bytes: held.bytes + u64::from(print.stored),
        })
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::oracle::print::Parts;

    fn prints(count: u64) -> Vec<Print> {
        let payload = vec![b'x'; 1000];
        let parts = Parts { subject: b"s", headers: b"", payload: &payload };
        (1..=count).map(|seq| Print::of(1, seq, 1_000, &parts)).collect()
    }

    #[test]
    fn a_message_that_no_limit_asked_for_was_dropped_early() {
        let all = prints(200);
        let limits = |config| Limits::of(&config);
        let ten = limits(json!({ "max_msgs": 10, "max_bytes": -1, "max_age": 0 }));
        assert!(ten.any() && !limits(json!({ "max_msgs": -1 })).any());
        assert!(ten.asked_for(all[189].time, Held::of(&all[190..]), 2_000));
        assert!(!ten.asked_for(all[190].time, Held::of(&all[191..]), 2_000));
        let bytes = limits(json!({ "max_bytes": 150_000 }));
        assert!(bytes.asked_for(all[0].time, Held::of(&all[60..]), 2_000));
        assert!(!bytes.asked_for(all[0].time, Held::of(&all[150..]), 2_000));
        let age = limits(json!({ "max_age": 500 }));
        assert!(age.asked_for(all[0].time, Held::of(&all[1..]), 1_500));
        assert!(!age.asked_for(all[0].time, Held::of(&all[1..]), 1_499));
    }
}
