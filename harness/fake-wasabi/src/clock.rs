//! The clock of storage: it dates objects and decides when a retention ends.
//!
//! It is the machine's clock plus an offset, so that a test can move ninety days on and see a
//! retention end or a minimum storage charge lapse. Signatures are checked against the machine's
//! clock, never against this one.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use s3s::dto::Timestamp;

/// Milliseconds in a day.
pub(crate) const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// A wall clock that can be moved forward.
#[derive(Debug, Default)]
pub(crate) struct Clock {
    offset_ms: AtomicI64,
}

impl Clock {
    pub(crate) fn now(&self) -> SystemTime {
        let offset = u64::try_from(self.offset_ms.load(Ordering::Relaxed)).unwrap_or(0);
        SystemTime::now() + Duration::from_millis(offset)
    }

    /// Milliseconds since the Unix epoch.
    pub(crate) fn now_ms(&self) -> i64 {
        let since = self.now().duration_since(UNIX_EPOCH).unwrap_or_default();
        i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
    }

    pub(crate) fn timestamp(&self) -> Timestamp {
        Timestamp::from(self.now())
    }

    /// Returns how far the clock was moved forward, in seconds.
    pub(crate) fn offset_seconds(&self) -> i64 {
        self.offset_ms.load(Ordering::Relaxed) / 1000
    }

    /// Moves the clock forward; it never goes back, so that later objects stay later.
    pub(crate) fn advance(&self, by: Duration) {
        let by = i64::try_from(by.as_millis()).unwrap_or(i64::MAX);
        let _ = self.offset_ms.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |offset| {
            Some(offset.saturating_add(by))
        });
    }
}

/// Returns the timestamp of `ms` milliseconds since the Unix epoch.
pub(crate) fn timestamp_of(ms: i64) -> Timestamp {
    let ms = u64::try_from(ms).unwrap_or(0);
    Timestamp::from(UNIX_EPOCH + Duration::from_millis(ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn advancing_moves_every_reading_on() {
        let clock = Clock::default();
        let before = clock.now_ms();
        clock.advance(Duration::from_hours(91 * 24));
        assert!(clock.now_ms() - before >= 91 * DAY_MS);
        assert_eq!(clock.offset_seconds(), 91 * 24 * 3600);
    }
}
