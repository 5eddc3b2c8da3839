//! Keeps a trouble that lasts from filling the log.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::time::Instant;

/// Time after which the same is said again.
const AGAIN: Duration = Duration::from_mins(5);

/// The lines of the log of the last minutes.
#[derive(Debug, Default)]
pub struct LogThrottle(BTreeMap<String, Instant>);

impl LogThrottle {
    /// Returns whether this may be said now: for the first time, or not for minutes.
    pub fn allows(&mut self, what: &str) -> bool {
        self.0.retain(|_, at| at.elapsed() < AGAIN);
        if self.0.contains_key(what) {
            return false;
        }
        self.0.insert(what.to_owned(), Instant::now());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_same_is_said_once_in_five_minutes() {
        let mut seldom = LogThrottle::default();
        assert!(seldom.allows("it is damaged"));
        tokio::time::advance(AGAIN.mul_f64(0.9)).await;
        assert!(!seldom.allows("it is damaged"));
        assert!(seldom.allows("another one is"));
        tokio::time::advance(AGAIN.mul_f64(0.1)).await;
        assert!(seldom.allows("it is damaged"));
        assert!(!seldom.allows("another one is"));
    }
}
