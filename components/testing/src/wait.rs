//! Waiting for a condition, with a limit.

use std::time::{Duration, Instant};

/// Time after which [`wait_until`] gives up.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Time between two looks.
const POLL: Duration = Duration::from_millis(30);

/// Polls until `condition` holds and returns its value; panics after [`LIMIT`] with what it last saw.
pub async fn wait_until<T>(what: &str, condition: impl AsyncFnMut() -> Result<T, String>) -> T {
    wait_until_within(what, LIMIT, condition).await
}

/// Polls until `condition` holds and returns its value; panics after `limit` with what it last saw.
pub async fn wait_until_within<T>(
    what: &str,
    limit: Duration,
    mut condition: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let started = Instant::now();
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(last) => {
                assert!(started.elapsed() < limit, "waited {limit:?} until {what}: {last}");
            }
        }
        tokio::time::sleep(POLL).await;
    }
}
