//! What is deleted at Wasabi: what was replaced there, when it is so old that it costs nothing to delete it.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::journal::JournalState;
use cim_runtime::error::chain;
use tokio::time::Instant;

use crate::clock;
use crate::journal::gc::{CollectError, Collector, pace, superseded};
use crate::s3::{ErrorKind, Store};
use crate::tier::Context;

/// Collecting at Wasabi, from time to time.
#[derive(Debug, Default)]
pub struct Collecting {
    collector: Collector,
    /// The time at which it was last looked.
    looked: Option<Instant>,
    /// Deleted, and no entry says so yet.
    deleted: BTreeSet<String>,
    /// The key may not delete, so everything stays.
    refused: bool,
    /// True if a refused delete was reported.
    said: bool,
}

impl Collecting {
    /// Deletes what may go now, if it is time to look.
    pub async fn once(&mut self, context: &Arc<Context>, wasabi: &Store, there: &JournalState) {
        let age = age(context);
        if self.refused || self.looked.is_some_and(|looked| looked.elapsed() < pace(age)) {
            return;
        }
        match self.collect(wasabi, there, age).await {
            Err(CollectError::S3(error)) if matches!(error.kind, ErrorKind::Denied(_)) => {
                // What is locked is refused until it is not; a key that may not delete is no other tomorrow.
                self.refused = wasabi.lock().is_none();
                if !std::mem::replace(&mut self.said, true) {
                    let until = if self.refused { "" } else { " until its lock has run out" };
                    tracing::warn!(
                        "replaced objects stay at Wasabi for now{until}: {}",
                        chain(&error)
                    );
                }
            }
            Err(error) => {
                tracing::error!(
                    "cannot delete replaced objects at Wasabi, trying again: {}",
                    chain(&error)
                );
            }
            Ok(()) => {}
        }
        self.looked = Some(Instant::now());
    }

    async fn collect(
        &mut self,
        wasabi: &Store,
        there: &JournalState,
        age: Duration,
    ) -> Result<(), CollectError> {
        for key in superseded(there, clock::now(), age) {
            if !self.deleted.contains(&key) {
                wasabi.delete(&key).await?;
                self.deleted.insert(key);
            }
        }
        let log = (there.of, there.journal.clone());
        self.collector.sweep(wasabi, &log, age, |key| there.shares(key)).await.map(drop)
    }

    /// Hands over what has been deleted, for the next entry to say.
    pub fn say(&mut self) -> Vec<String> {
        std::mem::take(&mut self.deleted).into_iter().collect()
    }

    /// Forgets what was deleted: it is looked for once more, which costs little.
    pub fn forget(&mut self) {
        (self.deleted, self.looked) = (BTreeSet::new(), None);
    }
}

/// Returns the least age of what is deleted. A reader under way must not lose it either.
fn age(context: &Context) -> Duration {
    context.config.collect.tertiary_age.max(context.config.collect.grace)
}
