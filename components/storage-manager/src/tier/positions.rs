//! Consumers' positions move with every acknowledgement. They are archived every few seconds, and all at
//! once when something else of a consumer has changed.

use cim_core::archive::ConsumerRecord;

/// Returns true if `now` differs from `before` in more than positions.
pub fn differ(before: &[ConsumerRecord], now: &[ConsumerRecord]) -> bool {
    let same = |(before, now): (&ConsumerRecord, &ConsumerRecord)| {
        before.name == now.name && before.created == now.created && before.config == now.config
    };
    before.len() != now.len() || !before.iter().zip(now).all(same)
}

#[cfg(test)]
mod tests {
    use cim_core::archive::{Position, RawJson};
    use jiff::Timestamp;

    use super::*;

    fn consumer(name: &str, floor: u64) -> ConsumerRecord {
        let position = Position { consumer_seq: floor, stream_seq: floor };
        ConsumerRecord {
            name: name.parse().unwrap(),
            created: Timestamp::UNIX_EPOCH,
            delivered: position,
            ack_floor: position,
            ack_pending: 0,
            config: RawJson::new("{}".into()).unwrap(),
        }
    }

    #[test]
    fn a_position_is_no_difference_and_all_else_is_one() {
        let before = [consumer("a", 1), consumer("b", 2)];
        assert!(!differ(&before, &[consumer("a", 7), consumer("b", 2)]));
        assert!(differ(&before, &[consumer("a", 1)]));
        assert!(differ(&before, &[consumer("a", 1), consumer("c", 2)]));
        let config = RawJson::new("{\"x\":1}".into()).unwrap();
        assert!(differ(
            &before,
            &[consumer("a", 1), ConsumerRecord { config, ..consumer("b", 2) }]
        ));
        let created = "2026-01-01T00:00:00Z".parse().unwrap();
        assert!(differ(
            &before,
            &[consumer("a", 1), ConsumerRecord { created, ..consumer("b", 2) }]
        ));
    }
}
