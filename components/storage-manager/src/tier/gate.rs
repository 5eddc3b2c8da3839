//! So many at once, but none for ever.

use std::time::Duration;

use tokio::sync::Semaphore;

/// The time for which a place may be held: what takes longer waits for something, and others need not.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `work` when there is a place for it.
pub async fn through<T>(gate: &Semaphore, work: impl Future<Output = T>) -> T {
    let place = gate.acquire().await.expect("the semaphore is never closed");
    let mut work = Box::pin(work);
    let done = tokio::time::timeout(PATIENCE, &mut work).await;
    drop(place);
    match done {
        Ok(done) => done,
        Err(_) => work.await,
    }
}
