//! When a stream has to be looked at: when something has changed, or its consumers may have moved.

use std::sync::Arc;
use std::time::Duration;

use crate::jetstream::StreamInfo;

/// The interval at which consumers are looked at that move, and where there were none that are archived.
const CONSUMERS: Duration = Duration::from_secs(1);
const NONE: Duration = Duration::from_mins(5);
/// Looks at consumers that are at rest: so many a second, of all streams together, and each one at least
/// as often as this.
const LOOKS: u32 = 8;
const AT_REST: Duration = Duration::from_secs(8);

/// The findings of the last survey of a stream.
#[derive(Debug, Clone)]
pub struct Last {
    /// The stream in the list of all streams before it: of one at rest it goes on saying the same. What it
    /// says is compared with nothing else, for servers leave things out of it.
    pub listed: Option<Arc<StreamInfo>>,
    /// True if the stream is told by more than one server.
    pub doubtful: bool,
    /// The number of its consumers.
    pub consumers: u64,
    /// True if any was durable.
    pub durable: bool,
    /// Surveys in a row that found nothing new.
    pub quiet: u32,
}

impl Last {
    /// Returns true if the list shows another stream, or another state of it, than before.
    pub fn differs(&self, now: &StreamInfo) -> bool {
        let Some(info) = &self.listed else { return true };
        info.record != now.record
            || info.state != now.state
            || info.num_deleted != now.num_deleted
            || info.consumers != now.consumers
            || info.cluster.leader != now.cluster.leader
    }

    /// Returns after how long its consumers are looked at again, in an account with so many streams.
    pub fn consumers_after(&self, streams: usize) -> Option<Duration> {
        if self.quiet == 0 {
            // What was found is not in the archive, or was not a moment ago.
            return Some(CONSUMERS);
        }
        if self.consumers == 0 {
            return None;
        }
        if !self.durable {
            return Some(NONE);
        }
        let streams = u32::try_from(streams).unwrap_or(u32::MAX);
        let longest = AT_REST.max(Duration::from_secs(1) * streams / LOOKS);
        Some((CONSUMERS * 2_u32.saturating_pow(self.quiet.min(16))).min(longest))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::jetstream::JetStream;

    fn info(change: impl FnOnce(&mut Value)) -> StreamInfo {
        let mut answer = json!({
            "config": { "name": "S" }, "created": "2026-01-01T00:00:00Z",
            "state": { "messages": 1, "bytes": 1, "first_seq": 1, "last_seq": 1, "consumer_count": 1 },
            "cluster": { "leader": "a", "leader_since": "2026-01-01T00:00:00Z" },
        });
        change(&mut answer);
        JetStream::read_info(answer.to_string().as_bytes()).unwrap()
    }

    fn last(consumers: u64, durable: bool, quiet: u32) -> Last {
        let listed = Some(Arc::new(info(|_| ())));
        Last { listed, doubtful: false, consumers, durable, quiet }
    }

    #[test]
    fn every_change_is_one() {
        let last = last(1, true, 0);
        assert!(!last.differs(&info(|_| ())));
        for (part, value) in [
            ("/cluster/leader", json!("b")),
            ("/cluster/leader_since", json!("2026-01-02T00:00:00Z")),
            ("/created", json!("2026-01-02T00:00:00Z")),
            ("/config/name", json!("T")),
            ("/state/consumer_count", json!(2)),
            ("/state/last_seq", json!(2)),
            ("/state/messages", json!(0)),
        ] {
            let other = info(|v| *v.pointer_mut(part).unwrap() = value);
            assert!(last.differs(&other), "{part}");
        }
        assert!(last.differs(&info(|v| v["state"]["num_deleted"] = json!(1))));
        assert!(Last { listed: None, ..last }.differs(&info(|_| ())));
    }

    #[test]
    fn consumers_at_rest_are_looked_at_more_seldom_and_soon_again_when_they_move() {
        let after = |quiet, durable, streams| {
            last(1, durable, quiet).consumers_after(streams).unwrap().as_secs()
        };
        assert_eq!([0, 1, 2, 9].map(|quiet| after(quiet, true, 1)), [1, 2, 4, 8]);
        assert_eq!([0, 9].map(|quiet| after(quiet, true, 1_000)), [1, 125]);
        assert_eq!([0, 1].map(|quiet| after(quiet, false, 1)), [1, 300]);
        assert_eq!(last(0, false, 1).consumers_after(1), None);
        // The last one's end has to get into the archive, too.
        assert_eq!(last(0, false, 0).consumers_after(1), Some(CONSUMERS));
    }
}
