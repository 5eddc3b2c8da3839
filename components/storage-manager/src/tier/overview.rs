//! All streams at a glance: one request for 256 of them each second, so that nothing is asked of a stream
//! in which nothing has changed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cim_runtime::error::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::jetstream::{JetStream, StreamInfo};

/// The interval at which a page is asked for.
const EVERY: Duration = Duration::from_secs(1);
/// After how long it is tried again where a user may not ask.
const AGAIN: Duration = Duration::from_mins(1);
/// The greatest age of a look, besides the time that one round takes.
const OLD: Duration = Duration::from_secs(10);

/// A stream, and when it was seen like that.
#[derive(Debug, Clone)]
pub struct Look {
    /// The stream.
    pub info: Arc<StreamInfo>,
    /// The time at which it was asked for.
    pub at: Instant,
}

/// The streams that the last round saw.
#[derive(Debug, Default)]
pub struct Overview {
    looks: Mutex<HashMap<String, Look>>,
}

impl Overview {
    /// Returns the newest look at a stream, and the number of streams; `None` where the look is too old to prove that
    /// nothing has changed.
    pub fn latest(&self, stream: &str) -> Option<(Look, usize)> {
        let looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        let look = looks.get(stream)?;
        (look.at.elapsed() < oldest(looks.len())).then(|| (look.clone(), looks.len()))
    }

    /// Looks until `stop`.
    pub async fn run(&self, jetstream: &JetStream, stop: &CancellationToken) {
        let mut offset = 0;
        loop {
            let at = Instant::now();
            let wait = match jetstream.stream_page(offset).await {
                Ok(page) => {
                    offset = page.next;
                    let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
                    for (name, info) in page.streams {
                        looks.insert(name, Look { info: Arc::new(info), at });
                    }
                    let oldest = oldest(looks.len());
                    looks.retain(|_, look| look.at.elapsed() < oldest);
                    EVERY
                }
                Err(error) => {
                    // Until then each stream is asked for by itself.
                    tracing::info!(
                        "cannot list the streams at once, asking for each by itself: {}",
                        chain(&error)
                    );
                    AGAIN
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(wait) => {}
            }
        }
    }
}

fn oldest(streams: usize) -> Duration {
    let pages = u32::try_from(streams / JetStream::PAGE + 1).unwrap_or(u32::MAX);
    OLD + EVERY * 2 * pages
}
