//! A stream's record of what has left its archive by a rule, and of what rules go by. Since format 8.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A run of messages that left the archive by a rule: the oldest of a timeline, or what only a timeline had that was
/// left. Since format 8.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Expired {
    /// The timeline that they were written in.
    pub timeline: u32,
    /// First sequence of the first segment that left.
    pub first_seq: u64,
    /// Last sequence of the last one. None of the timeline's is left between the two.
    pub last_seq: u64,
    /// Messages in them.
    pub messages: u64,
    /// Bytes of their subjects, headers and payloads.
    pub bytes: u64,
    /// The time, by the writer's clock; of several runs that are told as one, the last.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
    /// The rule, for people, as the configuration has it: `max_age = "400d"`.
    pub rule: String,
}

/// A stream's absence from JetStream. Since format 8.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Absent {
    /// The time since which it is absent, by the writer's clock; absent where it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub since: Option<Timestamp>,
}

/// The end of a timeline. Since format 8.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LeftAt {
    /// The timeline.
    pub timeline: u32,
    /// The beginning of the next one, by the writer's clock.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub at: Timestamp,
}

/// Messages that have left a stream's archive by a rule, and the facts that rules go by. Since format 8.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The runs that have left it, in that order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub expired: Vec<Expired>,
    /// The end of each of its timelines but the current one, ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_at: Vec<LeftAt>,
    /// Since when JetStream does not have the stream; absent where it has, or that is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub absent_since: Option<Timestamp>,
}

impl Retention {
    /// Returns whether there is nothing to say.
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    /// Returns when a timeline was left.
    pub fn left_at(&self, timeline: u32) -> Option<Timestamp> {
        self.left_at.iter().find(|left| left.timeline == timeline).map(|left| left.at)
    }

    /// Takes note that a timeline was left.
    pub(super) fn leave(&mut self, timeline: u32, at: Timestamp) {
        self.left_at.push(LeftAt { timeline, at });
    }

    /// Fills in what formats before 8 did not say: the timelines were left at this time at the latest.
    pub(super) fn left_by(&mut self, timelines: impl Iterator<Item = u32>, at: Timestamp) {
        for timeline in timelines {
            if self.left_at(timeline).is_none() {
                self.leave(timeline, at);
            }
        }
        self.left_at.sort_unstable_by_key(|left| left.timeline);
    }
}
