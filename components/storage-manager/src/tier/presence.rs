//! Whether the archive is still there while nothing is committed.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::chain::Committer;
use crate::s3::S3Error;

/// How long after a commit the chain is looked at, if no other commit has done it.
const SOON: Duration = Duration::from_secs(1);
/// How often while nothing is committed.
const REST: Duration = Duration::from_secs(10);

/// Looks now and then at a chain to which nothing is committed: else what went to a NAS that had been replaced
/// by an empty one would stand there alone, and the rest would be missed, until the stream's next message.
#[derive(Debug)]
pub struct Presence {
    looked: Instant,
    looking: Option<JoinHandle<Result<bool, S3Error>>>,
}

impl Presence {
    /// Of a chain that was just seen.
    pub fn new() -> Self {
        Self { looked: Instant::now(), looking: None }
    }

    /// Looks, if neither this nor a commit has for a while. `committed` is when the last one was made.
    pub fn look(&mut self, committer: &Committer, committed: Instant) {
        let due = self.looked.max(committed).elapsed() >= REST
            || self.looked < committed && committed.elapsed() >= SOON;
        if due
            && self.looking.is_none()
            && let Some(anchor) = committer.anchor().cloned()
        {
            self.looked = Instant::now();
            self.looking = Some(tokio::spawn(async move { anchor.is_there().await }));
        }
    }

    /// Waits for the look that is under way, for ever if none is: whether the chain is there, as far as is
    /// known. Cancelling it loses nothing.
    pub async fn seen(&mut self) -> bool {
        let Some(looking) = &mut self.looking else { return std::future::pending().await };
        let there = looking.await.expect("looking does not panic");
        self.looking = None;
        // Not to know is nothing new: each failure is a warning in the log already.
        there.unwrap_or(true)
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        if let Some(looking) = &self.looking {
            looking.abort();
        }
    }
}
