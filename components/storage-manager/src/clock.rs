//! The clock by which entries are committed and things get old.
//!
//! It is the system's. A build with test hooks may be told that it is another time, so that what takes months can
//! be seen to happen.

use std::time::Duration;

use jiff::Timestamp;

/// Returns the time.
pub fn now() -> Timestamp {
    #[cfg(feature = "fail-points")]
    return Timestamp::now() + moved::ahead();
    #[cfg(not(feature = "fail-points"))]
    Timestamp::now()
}

/// Returns true for something of at least this age. Where a clock was set back ages are negative, and nothing is old.
pub fn is_old(now: Timestamp, since: Timestamp, age: Duration) -> bool {
    (now.as_duration() - since.as_duration()).as_secs_f64() >= age.as_secs_f64()
}

#[cfg(feature = "fail-points")]
pub mod moved {
    //! How far the clock is ahead: as `CIM_CLOCK_AHEAD` says, in seconds.

    use std::sync::LazyLock;
    use std::sync::atomic::{AtomicI64, Ordering};

    use jiff::{SignedDuration, Timestamp};

    const VARIABLE: &str = "CIM_CLOCK_AHEAD";

    /// A hundred years.
    const LONGEST: i64 = 100 * 365 * 24 * 3600;

    /// In milliseconds.
    static AHEAD: LazyLock<AtomicI64> = LazyLock::new(|| AtomicI64::new(said().unwrap_or(0)));

    fn said() -> Result<i64, String> {
        let Ok(text) = std::env::var(VARIABLE) else { return Ok(0) };
        let seconds: Option<i64> = text.parse().ok().filter(|seconds| *seconds < LONGEST);
        let seconds = seconds.filter(|seconds| *seconds >= 0);
        let refused = || format!("`{VARIABLE}` is `{text}`, which is no number of seconds");
        seconds.map(|seconds| seconds * 1000).ok_or_else(refused)
    }

    /// Returns whether the variable is a number of seconds.
    pub(crate) fn check() -> Result<(), String> {
        said().map(drop)
    }

    pub(super) fn ahead() -> SignedDuration {
        SignedDuration::from_millis(AHEAD.load(Ordering::Relaxed))
    }

    /// Sets the clock.
    pub fn set(time: Timestamp) {
        let ahead = time.duration_since(Timestamp::now()).as_millis();
        AHEAD.store(ahead.try_into().expect("far below the end of time"), Ordering::Relaxed);
    }
}
