//! The one retry loop.

use std::time::Duration;

use rand::RngExt as _;
use tokio_util::sync::CancellationToken;

/// The wait between tries.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// The wait before the second try.
    pub first: Duration,
    /// The longest wait.
    pub most: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { first: Duration::from_millis(100), most: Duration::from_secs(5) }
    }
}

impl Backoff {
    /// Returns the wait before try `n + 1`, for `n` from 1: doubling, drawn between half of itself and itself, so
    /// that clients that failed together do not return together.
    pub fn after(&self, tries: u32) -> Duration {
        let doubled = self.first.saturating_mul(1 << (tries.max(1) - 1).min(16)).min(self.most);
        doubled.mul_f64(rand::rng().random_range(0.5..=1.0))
    }

    /// Waits as [`Backoff::after`] says; returns `false` if `cancel` came first.
    pub async fn wait(&self, tries: u32, cancel: &CancellationToken) -> bool {
        tokio::select! {
            () = cancel.cancelled() => false,
            () = tokio::time::sleep(self.after(tries)) => true,
        }
    }
}

/// The class of an error: whether a retry may succeed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// A later try may succeed.
    Transient,
    /// No later try will succeed.
    Permanent,
}

/// Runs `attempt` until it succeeds, fails for good, or `cancel` comes; then returns the last error.
/// Logs each retried failure once, as a warning with `what` as its subject.
pub async fn retry<T, E, F>(
    what: &str,
    backoff: Backoff,
    cancel: &CancellationToken,
    class: impl Fn(&E) -> Class,
    mut attempt: impl FnMut() -> F,
) -> Result<T, E>
where
    F: Future<Output = Result<T, E>>,
    E: std::error::Error + 'static,
{
    let mut tries = 0;
    loop {
        let error = match attempt().await {
            Ok(value) => return Ok(value),
            Err(error) => error,
        };
        tries += 1;
        if class(&error) == Class::Permanent {
            return Err(error);
        }
        tracing::warn!("{what} failed, trying again: {}", crate::error::chain(&error));
        if !backoff.wait(tries, cancel).await {
            return Err(error);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn goes_on_until_success_or_a_permanent_error() {
        let (tries, cancel) = (Cell::new(0), CancellationToken::new());
        let class = |e: &std::fmt::Error| {
            let std::fmt::Error = e;
            if tries.get() < 50 { Class::Transient } else { Class::Permanent }
        };
        let result: Result<(), _> = retry("it", Backoff::default(), &cancel, class, async || {
            tries.set(tries.get() + 1);
            Err(std::fmt::Error)
        })
        .await;
        assert!(result.is_err());
        assert_eq!(tries.get(), 50);
    }

    #[test]
    fn waits_grow_to_the_limit_and_no_further() {
        let backoff = Backoff::default();
        for tries in 1..40 {
            let wait = backoff.after(tries);
            assert!(wait >= backoff.first / 2 && wait <= backoff.most, "{tries}: {wait:?}");
        }
        assert!(backoff.after(39) >= backoff.most / 2);
    }
}
