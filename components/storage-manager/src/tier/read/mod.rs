//! Reads a stream from a sequence on and feeds the segmenter: through a consumer, or by sequence where the stream has
//! no room for one.

mod by_sequence;
mod consumer;

use std::sync::Arc;

use cim_core::names::StreamName;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::anchor::Anchor;
use super::context::Context;
use super::error::ReaderError;
use super::progress::Progress;
use super::segmenter::{Segmenter, Upload};

/// A stream to read.
pub struct Task {
    /// The state that all streams share.
    pub context: Arc<Context>,
    /// The stream.
    pub stream: StreamName,
    /// Its timeline.
    pub timeline: u32,
    /// The first sequence to read.
    pub start_seq: u64,
    /// True if the stream refuses a second consumer.
    pub work_queue: bool,
    /// True if it drops what every consumer has acknowledged.
    pub interest: bool,
    /// The watermark of the NAS.
    pub committed: watch::Receiver<u64>,
    /// True if several servers have it.
    pub replicated: bool,
    /// The place where it reports its progress.
    pub progress: Arc<Progress>,
    /// Cancelled when reading is to flush and end.
    pub stop: CancellationToken,
}

impl Task {
    /// Reads until `stop`; then flushes. Uploads come out of `uploads` in order.
    pub async fn run(self, uploads: mpsc::Sender<Upload>) -> Result<(), ReaderError> {
        let (context, stream) = (Arc::clone(&self.context), self.stream.clone());
        let segmenter = Segmenter::new(context, stream, self.timeline, uploads);
        if self.work_queue {
            self.progress.update(|read| read.by_name = true);
            return by_sequence::run(&self, segmenter).await;
        }
        let anchor = if self.interest {
            Anchor::drop_at(&self.context, &self.stream, self.start_seq).await?
        } else {
            None
        };
        match anchor {
            None => self.read(segmenter).await,
            Some(anchor) => tokio::select! {
                read = self.read(segmenter) => read,
                lost = anchor.follow(self.committed.clone()) => lost,
            },
        }
    }

    /// Reads through a consumer, or by sequence where the stream has no room for one.
    async fn read(&self, segmenter: Segmenter) -> Result<(), ReaderError> {
        match consumer::open(self).await {
            Ok(consumer) => consumer::run(self, consumer, segmenter).await,
            Err(error) if error.is_full() => {
                tracing::warn!(
                    stream = %self.stream,
                    "it is read message by message, which is slower, because it has no room for a consumer: {error}; raise `max_consumers` of the stream or its account"
                );
                self.progress.update(|read| read.by_name = true);
                by_sequence::run(self, segmenter).await
            }
            Err(error) => Err(error.into()),
        }
    }
}
