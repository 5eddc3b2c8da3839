//! What every stream's task shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use cim_core::archive::{Segment, Sha256};
use cim_core::names::StreamName;
use cim_runtime::retry::{self, Backoff};
use tokio::sync::{Notify, OwnedMutexGuard, Semaphore};
use tokio_util::sync::CancellationToken;

use super::budget::Budget;
use super::error::FetchError;
use super::other_journals::OtherJournals;
use super::overview::Overview;
use super::previous_nas::PreviousNas;
use super::query_budget::QueryBudget;
use super::rearchive::RearchiveQueue;
use super::sides::{Sides, Unread, or_wasabi};
use crate::config::Config;
use crate::jetstream::JetStream;
use crate::journal::expire::CopiedTo;
use crate::journal::{DamagedObjects, LockedObjects};
use crate::s3::{S3Error, Store};
use crate::segment::SegmentError;
use crate::wire::Link;

/// The state that the tasks of all streams share.
pub struct Context {
    /// The configuration.
    pub config: Config,
    /// JetStream.
    pub jetstream: JetStream,
    /// All streams, as they were a moment ago.
    pub overview: Overview,
    /// Bounds the streams that are begun with at once.
    pub beginning: Semaphore,
    /// One at a time: looking for what is gone from a stream, which is long where much is.
    pub counting: Semaphore,
    /// One at a time: asking for what consumers know of single messages.
    pub looking: Semaphore,
    /// The number of such queries.
    pub delivery_queries: QueryBudget,
    /// The readers' connection.
    pub link: Link,
    /// The secondary tier.
    pub nas: Arc<Store>,
    /// The tertiary tier, where there is one.
    pub wasabi: Option<Arc<Store>>,
    /// Node and process, as manifests name them.
    pub writer: Arc<str>,
    /// Bounds the bytes of messages in memory.
    pub budget: Budget,
    /// One at a time: merging segments, which holds a whole one. Held while S3 answers, and hardly longer.
    pub merging: Semaphore,
    /// One at a time: carrying a segment from one tier to the other. Held for one attempt. The way to Wasabi may
    /// be slow, so it is not the permit that merging on the NAS waits for.
    pub carrying: Semaphore,
    /// Held, by stream, while entries are written to Wasabi.
    pub shipping: Mutex<HashMap<StreamName, Arc<tokio::sync::Mutex<()>>>>,
    /// Other journals of the NAS's bucket.
    pub other_journals: OtherJournals,
    /// Streams that are another host's in the archive, and what the log says of it.
    pub foreign: Mutex<HashMap<StreamName, String>>,
    /// The knowledge of a NAS that was there before this one.
    pub previous_nas: PreviousNas,
    /// Objects of the NAS that could not be read, and are healed.
    pub damaged: DamagedObjects,
    /// Objects that there is no key of.
    pub locked: LockedObjects,
    /// The watermark of each stream at Wasabi.
    pub copied: CopiedTo,
    /// Streams of which a part is to be archived anew.
    pub rearchive: RearchiveQueue,
    /// Told when a journal has begun with a stream, whose objects Wasabi alone may have.
    pub begun: Notify,
    /// Cancelled when tiering is to finish what it has and end.
    pub stop: CancellationToken,
    /// Cancelled when it is to end at once.
    pub abort: CancellationToken,
}

/// The time for which S3 may fail while a permit is held that others wait for.
const BRIEFLY: Duration = Duration::from_secs(3);

impl Context {
    /// Locks the map of the streams that are another host's in the archive, with what the log says of each.
    pub fn foreign(&self) -> MutexGuard<'_, HashMap<StreamName, String>> {
        self.foreign.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until no other task writes entries of this stream to Wasabi.
    pub async fn lock_shipping(&self, stream: &StreamName) -> OwnedMutexGuard<()> {
        let shipping = Arc::clone(
            self.shipping
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .entry(stream.clone())
                .or_default(),
        );
        shipping.lock_owned().await
    }

    /// Calls S3 until it answers, the object is missing, or everything is to end.
    pub async fn retry_until_cancelled<T, F>(
        &self,
        what: &str,
        attempt: impl FnMut() -> F,
    ) -> Result<T, S3Error>
    where
        F: Future<Output = Result<T, S3Error>>,
    {
        retry::retry(what, Backoff::default(), &self.abort, S3Error::class, attempt).await
    }

    /// Calls S3 and, where that fails, again for a short while: for who holds a permit that others wait for.
    pub async fn retry_briefly<T, F>(
        &self,
        what: &str,
        attempt: impl FnMut() -> F,
    ) -> Result<T, S3Error>
    where
        F: Future<Output = Result<T, S3Error>>,
    {
        let patience = self.abort.child_token();
        let asking = retry::retry(what, Backoff::default(), &patience, S3Error::class, attempt);
        tokio::pin!(asking);
        tokio::select! {
            done = &mut asking => return done,
            () = tokio::time::sleep(BRIEFLY) => patience.cancel(),
        }
        // An attempt that is under way has its own time limit.
        asking.await
    }

    /// Fetches a segment's file from the NAS while a permit is held that others wait for. Does not check the hash:
    /// [`crate::segment::Rows`], which reads the file, does.
    pub async fn fetch_briefly(&self, segment: &Segment) -> Result<Bytes, FetchError> {
        let what = format!("reading segment `{}`", segment.key);
        Ok(self.retry_briefly(&what, || self.nas.get_once(&segment.key)).await?)
    }

    /// Returns what it takes to compare the archive with a live stream.
    pub fn sides(&self) -> Sides {
        Sides {
            jetstream: self.jetstream.clone(),
            nas: Arc::clone(&self.nas),
            wasabi: self.wasabi.clone(),
            abort: self.abort.clone(),
            unread: Unread::default(),
        }
    }

    /// Fetches a segment's file, from Wasabi where the NAS does not have it. Gives up when the stores do.
    pub async fn try_fetch(&self, segment: &Segment) -> Result<Bytes, FetchError> {
        let wasabi = self.wasabi.as_ref().map(|wasabi| wasabi.get(&segment.key));
        Ok(Box::pin(or_wasabi(self.nas.get(&segment.key).await, wasabi)).await?)
    }

    /// Fetches a file as [`Self::try_fetch`] does, encrypted as it lies there, and checks its hash.
    pub async fn try_fetch_as_is(&self, segment: &Segment) -> Result<Bytes, FetchError> {
        let wasabi = self.wasabi.as_ref().map(|wasabi| wasabi.get_as_is(&segment.key));
        let nas = self.nas.get_as_is(&segment.key).await;
        let file = Box::pin(or_wasabi(nas, wasabi)).await?;
        Ok(checked(segment, file).await?)
    }

    /// Fetches a segment's file from the NAS in one attempt, encrypted as it lies there, and checks its hash.
    pub async fn fetch_once(&self, segment: &Segment) -> Result<Bytes, FetchError> {
        let file = self.nas.get_once(&segment.key).await?;
        Ok(checked(segment, file).await?)
    }
}

/// Returns a segment's file if its hash is the one that the manifest states.
pub async fn checked(segment: &Segment, file: Bytes) -> Result<Bytes, SegmentError> {
    let hashed = file.clone();
    let actual = tokio::task::spawn_blocking(move || Sha256::of(&hashed));
    let actual = actual.await.expect("hashing does not panic");
    if actual == segment.sha256 {
        return Ok(file);
    }
    let (key, stated) = (segment.key.clone(), segment.sha256);
    Err(SegmentError::Damaged { key, stated, actual })
}
