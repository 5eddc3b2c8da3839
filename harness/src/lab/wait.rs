//! Waiting for a condition, never for a time.

use std::time::Duration;

use tokio::time::Instant;

use crate::error::{Error, Result};

/// Calls `probe` until it returns `Ok`; fails after `timeout` with `what` and the last answer.
pub async fn wait_until<T, F>(what: &str, timeout: Duration, mut probe: F) -> Result<T>
where
    F: AsyncFnMut() -> Result<T, String>,
{
    let deadline = Instant::now() + timeout;
    let mut pause = Duration::from_millis(2);
    loop {
        let last = match probe().await {
            Ok(value) => return Ok(value),
            Err(last) => last,
        };
        if Instant::now() >= deadline {
            let seconds = timeout.as_secs_f64();
            return Err(Error::step(format!("{what} did not happen within {seconds} s: {last}")));
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(Duration::from_millis(50));
    }
}
