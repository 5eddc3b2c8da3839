//! Messages to segments: gathers, encodes beside, uploads in the background, in order.

use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::Segment;
use cim_core::names::StreamName;
use parquet::errors::ParquetError;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use super::budget::Reserved;
use super::context::Context;
use crate::hooks::{fail_point, sabotage};
use crate::s3::S3Error;
use crate::segment::{Columns, Message, SegmentWriter};

/// Bytes of messages in one row group: what a reader of the archive decodes at once.
pub(super) const ROW_GROUP: usize = 4 << 20;
/// zstd level of segments that are made while their messages arrive.
const LEVEL: i32 = 1;

/// A segment that is on the tier and in no manifest yet, with the budget that its bytes hold.
#[derive(Debug)]
pub struct Uploaded {
    /// Its record.
    pub segment: Segment,
    /// Dropped when the segment is committed.
    pub reserved: Option<Reserved>,
}

/// A segment that did not get to the tier.
#[derive(Debug, thiserror::Error)]
pub enum UploadError {
    /// Encoding failed.
    #[error("cannot encode a segment")]
    Encode(#[from] ParquetError),
    /// S3 did not take it before the end.
    #[error(transparent)]
    S3(#[from] S3Error),
}

/// An upload under way.
pub type Upload = JoinHandle<Result<Uploaded, UploadError>>;

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
}

impl Segmenter {
    /// Sends its uploads to `uploads`, in the order of their segments.
    pub fn new(
        context: Arc<Context>,
        stream: StreamName,
        timeline: u32,
        uploads: mpsc::Sender<Upload>,
    ) -> Self {
        Self {
            context,
            stream,
            timeline,
            uploads,
            columns: Columns::default(),
            encoder: None,
            bytes: 0,
            reserved: None,
            since: None,
        }
    }

    /// Copies a message. Call [`Segmenter::step`] after each batch of them.
    pub fn push(&mut self, message: Message<'_>, reserved: Option<Reserved>) {
        if self.since.is_none() {
            self.since = Some(Instant::now());
        }
        self.bytes += message.bytes();
        self.columns.push(message);
        match (&mut self.reserved, reserved) {
            (Some(all), Some(more)) => all.merge(more),
            (all, Some(more)) => *all = Some(more),
            (_, None) => {}
        }
    }

    /// When what was gathered must be on its way; `None` while there is nothing.
    pub fn deadline(&self, age: Duration) -> Option<Instant> {
        self.since.map(|since| since + age)
    }

    /// Encodes and uploads as far as sizes ask for it.
    pub async fn step(&mut self) -> Result<(), UploadError> {
        if self.columns.bytes() >= ROW_GROUP {
            self.encode().await?;
        }
        if self.bytes >= self.context.config.segment.flush_size.bytes() {
            self.flush().await?;
        }
        Ok(())
    }

    /// Hands the columns to the encoder, which works beside the reader.
    async fn encode(&mut self) -> Result<(), UploadError> {
        let columns = sabotage!(columns, std::mem::take(&mut self.columns));
        let mut writer = match self.encoder.take() {
            Some(encoder) => encoder.await.expect("encoding does not panic")?,
            None => SegmentWriter::new(LEVEL),
        };
        self.encoder = Some(tokio::task::spawn_blocking(move || {
            writer.append(columns)?;
            Ok(writer)
        }));
        Ok(())
    }

    /// Ends the segment, if there is anything in it, and starts its upload. Waits while too many
    /// uploads are under way.
    pub async fn flush(&mut self) -> Result<(), UploadError> {
        if !self.columns.is_empty() {
            self.encode().await?;
        }
        let Some(encoder) = self.encoder.take() else { return Ok(()) };
        let sealed = self.bytes >= self.context.config.seal.size.bytes();
        let reserved = self.reserved.take();
        self.bytes = 0;
        self.since = None;
        let (context, stream, timeline) =
            (Arc::clone(&self.context), self.stream.clone(), self.timeline);
        let upload = tokio::spawn(async move {
            let writer = encoder.await.expect("encoding does not panic")?;
            let finished =
                tokio::task::spawn_blocking(move || writer.finish(&stream, timeline, sealed));
            let finished = finished.await.expect("encoding does not panic")?;
            fail_point!(SegmentBefore);
            put(&context, &finished).await?;
            fail_point!(SegmentAfter);
            Ok(Uploaded { segment: finished.segment, reserved })
        });
        // The other end hangs up only when the session is over: then the upload is nobody's.
        if let Err(mpsc::error::SendError(upload)) = self.uploads.send(upload).await {
            upload.abort();
        }
        Ok(())
    }
}

/// Writes a segment's file to the NAS.
pub async fn put(
    context: &Arc<Context>,
    finished: &crate::segment::Finished,
) -> Result<(), S3Error> {
    let key = &finished.segment.key;
    let parsed = cim_core::archive::ArchiveKey::parse(key).expect("the writer spelled it");
    let what = format!("writing segment `{key}`");
    let file = sabotage!(file, finished.file.clone());
    sabotage!(if counts_as_uploaded(context, &parsed, &file) return Ok(()));
    context.insist(&what, || context.nas.put(&parsed, file.clone())).await
}
