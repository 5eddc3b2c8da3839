//! Restores of several streams.
//!
//! The server is asked for one after the other; a test follows its advisories. What goes on meanwhile is what it
//! does not see: small streams are read together in batches, and their snapshots made, ahead of the one that is
//! sent. Larger ones come first, each read while it is sent. Memory is bounded whatever the number of streams: by
//! what a batch has, and by what waits to be sent.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use cim_core::names::StreamName;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio_util::sync::CancellationToken;

use super::batch::{Batch, batches, load, weight};
use super::error::RestoreError;
use super::outcome::{Outcome, Progress};
use super::plan::Plan;
use super::run::{Staged, restore, stage};
use super::source::{Loaded, Source};
use crate::jetstream::JetStream;

/// Memory that a stream may take that is read together with others.
const SMALL: u64 = 4 << 20;
/// Memory of snapshots that wait to be sent, and of one of them at least. In KiB.
const WAITING: usize = 16 << 10;
const LEAST: u64 = 64;

/// A stream that was restored.
#[derive(Debug)]
pub struct Done {
    /// The restored stream.
    pub outcome: Outcome,
    /// Time that it took.
    pub took: Duration,
    /// Requests to tiers. What is read together with other streams counts for the first of them.
    pub requests: u64,
}

/// Restores streams that were [checked](super::check()), one after the other. A stream that is damaged or refused does
/// not end the others; what would go wrong with them too does, and so does `stop`. Returns what came of each.
pub async fn restore_many(
    jetstream: &JetStream,
    source: &Source,
    plans: Vec<Plan>,
    progress: &Arc<Progress>,
    stop: &CancellationToken,
) -> Vec<Result<Done, RestoreError>> {
    let mut work = Work {
        jetstream,
        source,
        progress,
        stop,
        ended: false,
        done: plans.iter().map(|plan| (plan.target.clone(), None)).collect(),
    };
    let (small, large): (Vec<_>, Vec<_>) =
        plans.into_iter().enumerate().partition(|(_, plan)| weight(plan) <= SMALL);
    for (index, plan) in large {
        work.large(index, plan).await;
    }
    work.small(small).await;
    let interrupted = |name: StreamName| Err(RestoreError::Interrupted(name.to_string()));
    work.done.into_iter().map(|(name, done)| done.unwrap_or_else(|| interrupted(name))).collect()
}

/// Streams that are restored.
struct Work<'a> {
    jetstream: &'a JetStream,
    source: &'a Source,
    progress: &'a Arc<Progress>,
    stop: &'a CancellationToken,
    /// Something went wrong that would go wrong with the others too.
    ended: bool,
    done: Vec<(StreamName, Option<Result<Done, RestoreError>>)>,
}

/// A small stream that was read.
struct Ready {
    index: usize,
    staged: Result<Staged, RestoreError>,
    requests: u64,
    /// Time that reading it took.
    took: Duration,
    _waiting: OwnedSemaphorePermit,
}

impl Work<'_> {
    /// Returns whether no more are begun.
    fn is_over(&self) -> bool {
        self.ended || self.stop.is_cancelled()
    }

    /// Restores a stream that is read while it is sent.
    async fn large(&mut self, index: usize, plan: Plan) {
        if self.is_over() {
            return;
        }
        let (began, source) = (Instant::now(), self.source.of_stream(Loaded::default()));
        let restored = restore(self.jetstream, &source, plan, self.progress, self.stop);
        let restored = Box::pin(restored).await;
        self.note(index, began.elapsed(), source.requests(), restored);
    }

    /// Restores streams that are read ahead.
    async fn small(&mut self, plans: Batch) {
        if self.is_over() {
            return;
        }
        let (out, mut ready) = mpsc::unbounded_channel();
        let (source, progress, stop) = (self.source, self.progress, self.stop);
        let ahead = async move {
            tokio::select! {
                () = Box::pin(ahead(source, progress, plans, &out)) => {}
                () = stop.cancelled() => {}
                () = out.closed() => {}
            }
        };
        let send = async {
            while let Some(Ready { index, staged, requests, took, .. }) = ready.recv().await {
                let began = Instant::now();
                let restored = match staged {
                    Ok(staged) => Box::pin(staged.send(self.jetstream, self.stop)).await,
                    Err(error) => Err(error),
                };
                self.note(index, took + began.elapsed(), requests, restored);
                if self.is_over() {
                    break;
                }
            }
            drop(ready);
        };
        tokio::join!(ahead, send);
    }

    /// Notes what came of a stream.
    fn note(
        &mut self,
        index: usize,
        took: Duration,
        requests: u64,
        restored: Result<Outcome, RestoreError>,
    ) {
        self.progress.streams.fetch_add(1, Ordering::Relaxed);
        self.ended = restored.as_ref().is_err_and(|error| !error.is_of_one_stream());
        let done = restored.map(|outcome| Done { outcome, took, requests });
        self.done[index].1 = Some(done);
    }
}

/// Reads streams and makes their snapshots, as far ahead as there is room.
async fn ahead(
    source: &Source,
    progress: &Arc<Progress>,
    plans: Batch,
    out: &mpsc::UnboundedSender<Ready>,
) {
    let room = Arc::new(Semaphore::new(WAITING));
    for batch in batches(plans) {
        let loading = source.of_stream(Loaded::default());
        let loaded = load(&loading, &batch).await;
        let mut loading = loading.requests();
        for ((index, plan), loaded) in batch.into_iter().zip(loaded) {
            let takes = u32::try_from((weight(&plan) >> 10).max(LEAST)).expect("it is small");
            let waiting = Arc::clone(&room).acquire_many_owned(takes).await;
            let waiting = waiting.expect("it is never closed");
            let (began, source) = (Instant::now(), source.of_stream(loaded));
            let staged = stage(&source, plan, progress).await;
            let requests = source.requests() + std::mem::take(&mut loading);
            let ready = Ready { index, staged, requests, took: began.elapsed(), _waiting: waiting };
            // Where the other end has hung up all is over.
            out.send(ready).ok();
        }
    }
}
