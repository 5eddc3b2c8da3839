//! The clock by which entries are committed and things get old.
//!
//! It is the system's. A build with test hooks may be told that it is another time, so that what takes months can
//! be seen to happen.

use std::time::Duration;

use jiff::Timestamp;

/// The time.
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

    use jiff::SignedDuration;

    const VARIABLE: &str = "CIM_CLOCK_AHEAD";

    static AHEAD: LazyLock<AtomicI64> = LazyLock::new(|| {
        let said = std::env::var(VARIABLE).ok();
        AtomicI64::new(said.map_or(0, |text| text.parse().expect("a whole number of seconds")))
    });

    pub(super) fn ahead() -> SignedDuration {
        SignedDuration::from_secs(AHEAD.load(Ordering::Relaxed))
    }
}
