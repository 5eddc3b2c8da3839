//! Whether the archive is still there while nothing is committed.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::chain::{CommitError, Committer, Head};
use crate::s3::S3Error;

/// How long a stream may be at rest before its chain is looked at, and then again. A commit looks by itself.
const REST: Duration = Duration::from_secs(10);

/// Looks now and then at the last entry of a chain to which nothing is committed: else a NAS that was
/// replaced by an empty one would stay empty until the stream's next message.
#[derive(Debug)]
pub struct Presence {
    looked: Instant,
    looking: Option<JoinHandle<(Head, Result<bool, S3Error>)>>,
}

impl Presence {
    /// Of a chain that was just seen.
    pub fn new() -> Self {
        Self { looked: Instant::now(), looking: None }
    }

    /// Looks, if neither this nor a commit has for a while. `committed` is when the last one was made.
    pub fn look(&mut self, committer: &Committer, committed: Instant) {
        if self.looking.is_some() || self.looked.max(committed).elapsed() < REST {
            return;
        }
        let Some(head) = committer.head() else { return };
        self.looking = Some(tokio::spawn(async move {
            let there = head.is_there().await;
            (head, there)
        }));
    }

    /// Waits for the look that is under way, for ever if none is. Cancelling it loses nothing.
    pub async fn seen(&mut self) -> Result<(), CommitError> {
        let Some(looking) = &mut self.looking else { return std::future::pending().await };
        let (head, there) = looking.await.expect("looking does not panic");
        (self.looking, self.looked) = (None, Instant::now());
        match there {
            Ok(false) => Err(head.lost()),
            Ok(true) => Ok(()),
            Err(error) => {
                tracing::warn!(
                    "the archive cannot be looked at: {}",
                    cim_runtime::error::chain(&error)
                );
                Ok(())
            }
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(looking) = &self.looking {
            looking.abort();
        }
    }
}
