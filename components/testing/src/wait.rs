//! Waiting for a condition, with a limit.

use std::time::{Duration, Instant};

/// Time after which [`wait_until`] gives up.
pub const LIMIT: Duration = Duration::from_secs(60);

/// Time between two looks.
const PAUSE: Duration = Duration::from_millis(30);

/// Longest time between two looks that cost something.
const LONGEST: Duration = Duration::from_millis(200);

/// Polls until `condition` holds and returns its value; panics after [`LIMIT`] with what it last saw.
pub async fn wait_until<T>(what: &str, condition: impl AsyncFnMut() -> Result<T, String>) -> T {
    poll(what, LIMIT, PAUSE, condition).await
}

/// Polls until `condition` holds and returns its value; panics after `limit` with what it last saw.
pub async fn wait_until_within<T>(
    what: &str,
    limit: Duration,
    condition: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    poll(what, limit, PAUSE, condition).await
}

/// Does the same as [`wait_until`] with pauses that grow from 30 to 200 ms: for a look that costs as much as the work that
/// is waited for, such as a program that is started for it.
pub async fn wait_until_seldom<T>(
    what: &str,
    condition: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    poll(what, LIMIT, LONGEST, condition).await
}

/// Polls with pauses that begin at [`PAUSE`] and grow to `longest`.
async fn poll<T>(
    what: &str,
    limit: Duration,
    longest: Duration,
    mut condition: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    let (started, mut pause) = (Instant::now(), PAUSE);
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(last) => {
                assert!(started.elapsed() < limit, "waited {limit:?} until {what}: {last}");
            }
        }
        tokio::time::sleep(pause).await;
        pause = longest.min(pause.mul_f64(1.5));
    }
}
