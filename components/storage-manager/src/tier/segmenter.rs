//! Messages to segments: gathers, encodes beside, uploads in the background, in order.

use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::{SeqRange, SeqRanges};
use cim_core::names::StreamName;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use parquet::errors::ParquetError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::task::AbortOnDropHandle;

use super::budget::{Reserved, cost};
use super::context::Context;
use super::error::{ReaderError, UploadError};
use super::read_gaps::ReadGaps;
use super::skipped::Between;
use super::upload::{Patience, ROW_GROUP, may_be_sealed, put};
use crate::config::Layout;
use crate::hooks::{fail_point, sabotage};
use crate::journal::Item;
use crate::s3::Tier;
use crate::segment::{Columns, Message, SegmentWriter};

/// Requests under way for messages that a damaged server did not give.
const AHEAD: usize = 64;
/// zstd level of segments that are made while their messages arrive.
pub(crate) const LEVEL: i32 = 1;
/// Bytes of messages that do not wait for more before they go to a journal, and how long they wait.
const LITTLE: usize = 256 << 10;
const AT_ONCE: Duration = Duration::from_millis(10);
/// The time for which more than that waits to become a segment.
const SOON: Duration = Duration::from_millis(100);

/// Messages that are in no manifest yet, with the budget that their bytes hold.
#[derive(Debug)]
pub struct Uploaded {
    /// Its record; where there is a journal, the messages themselves when they are few.
    pub item: Item,
    /// The time at which its first message came.
    pub since: Instant,
    /// Dropped when it is committed.
    pub reserved: Option<Reserved>,
    /// Sequences before its messages, or between them, that there was no message for.
    pub skipped: SeqRanges,
}

/// An upload under way, which ends with the session that waits for it.
pub type Upload = AbortOnDropHandle<Result<Uploaded, UploadError>>;

/// Gathers one stream's messages.
pub struct Segmenter {
    context: Arc<Context>,
    stream: StreamName,
    timeline: u32,
    uploads: mpsc::Sender<Upload>,
    columns: Columns,
    encoder: Option<JoinHandle<Result<SegmentWriter, ParquetError>>>,
    bytes: usize,
    reserved: Option<Reserved>,
    since: Option<Instant>,
    gaps: Option<ReadGaps>,
    between: Between,
    /// True if few messages go into a journal.
    journal: bool,
}

impl Segmenter {
    /// Sends its uploads to `uploads`, in the order of their segments.
    pub fn new(
        context: Arc<Context>,
        stream: StreamName,
        timeline: u32,
        uploads: mpsc::Sender<Upload>,
    ) -> Self {
        let journal = context.config.archive.layout == Layout::Journal;
        Self {
            journal,
            context,
            stream,
            timeline,
            uploads,
            columns: Columns::default(),
            encoder: None,
            bytes: 0,
            reserved: None,
            since: None,
            gaps: None,
            between: Between::default(),
        }
    }

    /// Lets gaps be checked before they are archived.
    pub fn check(&mut self, gaps: ReadGaps) {
        self.gaps = Some(gaps);
    }

    /// Copies a message. Call [`Segmenter::step`] after each batch of them.
    pub fn push(&mut self, message: Message<'_>, reserved: Option<Reserved>) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
        }
        if let Some(gaps) = &mut self.gaps {
            gaps.observe(message.seq);
        }
        self.between.pass(message.seq);
        self.put(message, reserved);
    }

    fn put(&mut self, message: Message<'_>, reserved: Option<Reserved>) {
        self.bytes += message.bytes();
        self.columns.push(message);
        match (&mut self.reserved, reserved) {
            (Some(all), Some(more)) => all.merge(more),
            (all, Some(more)) => *all = Some(more),
            (_, None) => {}
        }
    }

    /// Returns when the gathered messages must be on their way; `None` while there are none. A journal gathers by
    /// itself: few messages go there at once, and more may become a segment of their own before long.
    pub fn deadline(&self, age: Duration) -> Option<Instant> {
        let wait = if !self.journal || self.encoder.is_some() {
            age
        } else if self.bytes < LITTLE {
            age.min(AT_ONCE)
        } else {
            age.min(SOON)
        };
        self.since.map(|since| since + wait)
    }

    /// Encodes and uploads as far as sizes ask for it.
    pub async fn step(&mut self) -> Result<(), ReaderError> {
        if self.columns.bytes() >= ROW_GROUP {
            self.mend().await?;
        }
        if self.bytes >= self.context.config.segment.flush_size.bytes() {
            self.flush().await?;
        } else {
            self.encode_full().await?;
        }
        Ok(())
    }

    /// Puts into its place what was not read and is there.
    async fn mend(&mut self) -> Result<(), ReaderError> {
        let Some(gaps) = &mut self.gaps else { return Ok(()) };
        let gaps = gaps.confirm().await?;
        if gaps.is_empty() {
            return Ok(());
        }
        let read = std::mem::take(&mut self.columns);
        self.bytes -= read.bytes();
        let mut gaps = gaps.iter().peekable();
        for index in 0..read.len() {
            let message = read.message(index);
            while let Some(gap) = gaps.next_if(|gap| gap.last < message.seq) {
                self.fetch(gap).await?;
            }
            self.put(message, None);
        }
        Ok(())
    }

    /// Reads messages from the stream's leader, and sends them on their way as others.
    async fn fetch(
        &mut self,
        SeqRange { first: from, last: to }: SeqRange,
    ) -> Result<(), ReaderError> {
        let (jetstream, stream) = (self.context.jetstream.clone(), self.stream.clone());
        let messages = stream::iter(from..=to).map(|seq| jetstream.message(stream.as_str(), seq));
        let mut messages = std::pin::pin!(messages.buffered(AHEAD));
        while let Some(message) = messages.try_next().await? {
            // Deleted a moment ago.
            let Some(message) = message else { continue };
            let message = message.as_message();
            // Waiting here would hold what the reader reserved; the buffer is small.
            let reserved = self.context.budget.try_reserve(cost(&message));
            self.put(message, reserved);
            self.encode_full().await?;
            if self.bytes >= self.context.config.segment.flush_size.bytes() {
                self.end_segment().await?;
            }
        }
        Ok(())
    }

    async fn encode_full(&mut self) -> Result<(), UploadError> {
        if self.columns.bytes() >= ROW_GROUP { self.encode().await } else { Ok(()) }
    }

    /// Hands the columns to the encoder, which works beside the reader.
    async fn encode(&mut self) -> Result<(), UploadError> {
        let columns = sabotage!(columns, std::mem::take(&mut self.columns));
        let mut writer = match self.encoder.take() {
            Some(encoder) => encoder.await.expect("encoding does not panic")?,
            None => SegmentWriter::to(Tier::Nas, LEVEL),
        };
        self.encoder = Some(tokio::task::spawn_blocking(move || {
            writer.append(columns)?;
            Ok(writer)
        }));
        Ok(())
    }

    /// Ends the segment, if there is anything in it, and starts its upload. Waits while too many
    /// uploads are under way.
    pub async fn flush(&mut self) -> Result<(), ReaderError> {
        self.mend().await?;
        Ok(self.end_segment().await?)
    }

    /// Hands over what was gathered before reading failed: the stream may be gone. Where a gap in it was not checked
    /// it is left out, for another stream may have the name by now.
    pub async fn leave(&mut self) -> Result<(), UploadError> {
        if self.gaps.as_ref().is_none_or(ReadGaps::are_confirmed) {
            self.end_segment().await
        } else {
            Ok(())
        }
    }

    async fn end_segment(&mut self) -> Result<(), UploadError> {
        let since = self.since.take().unwrap_or_else(Instant::now);
        let full = self.bytes >= self.context.config.segment.flush_size.bytes();
        if self.journal && self.encoder.is_none() && !full {
            return self.hand_over(since).await;
        }
        if !self.columns.is_empty() {
            self.encode().await?;
        }
        let Some(encoder) = self.encoder.take() else { return Ok(()) };
        let sealed = may_be_sealed() && self.bytes >= self.context.config.seal.size.bytes();
        let (reserved, skipped) = (self.reserved.take(), self.between.take());
        self.bytes = 0;
        let (context, stream, timeline) =
            (Arc::clone(&self.context), self.stream.clone(), self.timeline);
        let upload = tokio::spawn(async move {
            let writer = encoder.await.expect("encoding does not panic")?;
            let finished =
                tokio::task::spawn_blocking(move || writer.finish(&stream, timeline, sealed));
            let finished = finished.await.expect("encoding does not panic")?;
            fail_point!(SegmentBefore);
            put(&context, &finished, Patience::Endless).await?;
            fail_point!(SegmentAfter);
            let item = Item::Segment(Box::new(finished.segment));
            Ok(Uploaded { item, since, reserved, skipped })
        });
        self.send(upload).await;
        Ok(())
    }

    /// Hands over messages that are too few for a segment of their own.
    async fn hand_over(&mut self, since: Instant) -> Result<(), UploadError> {
        if self.columns.is_empty() {
            return Ok(());
        }
        let columns = sabotage!(columns, std::mem::take(&mut self.columns));
        let (reserved, skipped) = (self.reserved.take(), self.between.take());
        self.bytes = 0;
        let uploaded = Uploaded { item: Item::Rows(columns), since, reserved, skipped };
        self.send(tokio::spawn(std::future::ready(Ok(uploaded)))).await;
        Ok(())
    }

    async fn send(&mut self, upload: JoinHandle<Result<Uploaded, UploadError>>) {
        // The other end hangs up only when the session is over, and the upload with it.
        drop(self.uploads.send(AbortOnDropHandle::new(upload)).await);
    }
}
