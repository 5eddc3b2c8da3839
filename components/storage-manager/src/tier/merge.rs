//! Rows on their way from small row groups into full ones.

use cim_core::archive::Segment;
use cim_core::names::StreamName;
use parquet::errors::ParquetError;

use super::error::FetchError;
use super::upload::ROW_GROUP;
use crate::s3::{S3Error, Tier};
use crate::segment::{Columns, Finished, Message, Rows, SegmentError, SegmentWriter};

/// zstd level of merged segments: they are kept for ever, and nothing waits for them.
pub(crate) const LEVEL: i32 = 3;

/// A run that could not be sealed; it stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// One of its segments could not be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Its rows could not be written again.
    #[error("cannot merge segments")]
    Encode(#[from] parquet::errors::ParquetError),
    /// S3 did not take the result.
    #[error(transparent)]
    S3(#[from] S3Error),
}

impl From<SegmentError> for SealError {
    fn from(error: SegmentError) -> Self {
        FetchError::from(error).into()
    }
}

/// Rows on their way from small row groups into full ones: a row group of ten rows compresses badly.
pub(crate) struct Merge {
    writer: SegmentWriter,
    columns: Columns,
}

impl Merge {
    /// Begins a segment that goes to a tier.
    pub(crate) fn to(tier: Tier) -> Self {
        Self { writer: SegmentWriter::to(tier, LEVEL), columns: Columns::default() }
    }

    /// Takes a message.
    pub(crate) fn push(&mut self, message: Message<'_>) -> Result<(), ParquetError> {
        self.columns.push(message);
        if self.columns.bytes() >= ROW_GROUP {
            self.writer.append(std::mem::take(&mut self.columns))?;
        }
        Ok(())
    }

    /// Returns the number of messages so far.
    pub(crate) fn messages(&self) -> u64 {
        self.writer.messages() + self.columns.len() as u64
    }

    /// Takes the rows after `seq`.
    pub(crate) fn append(
        &mut self,
        segment: &Segment,
        file: &bytes::Bytes,
        seq: u64,
    ) -> Result<(), SealError> {
        Rows::read(segment, file, |rows| {
            let rows = rows.messages().filter(|message| message.seq > seq);
            rows.for_each(|message| self.columns.push(message));
            if self.columns.bytes() >= ROW_GROUP {
                self.writer.append(std::mem::take(&mut self.columns))?;
            }
            Ok(())
        })
    }

    /// Ends the segment.
    pub(crate) fn finish(
        mut self,
        stream: &StreamName,
        timeline: u32,
        sealed: bool,
    ) -> Result<Finished, SealError> {
        self.writer.append(self.columns)?;
        Ok(self.writer.finish(stream, timeline, sealed)?)
    }
}
