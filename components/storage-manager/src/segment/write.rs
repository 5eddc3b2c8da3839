//! Columns to Parquet.

use std::io::{self, Write};

use bytes::Bytes;
use cim_core::archive::{ArchiveKey, LastMessage, Segment, Sha256};
use cim_core::names::StreamName;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::writer::{SerializedFileWriter, SerializedRowGroupWriter};
use sha2::Digest as _;

use super::columns::{Columns, Strings, timestamp};
use super::schema::{Encryption, SCHEMA, properties};
use crate::crypt::encryption;
use crate::s3::Tier;

/// A segment being written.
pub struct SegmentWriter {
    file: SerializedFileWriter<Hashed>,
    messages: u64,
    bytes: u64,
    first: (u64, i64),
    last: Option<LastMessage>,
}

/// A finished segment and its file.
#[derive(Debug)]
pub struct Finished {
    /// Its record for the manifest.
    pub segment: Segment,
    /// The file.
    pub file: Bytes,
}

/// Bytes in memory, hashed as they come: the file is never walked a second time.
struct Hashed {
    bytes: Vec<u8>,
    sha256: sha2::Sha256,
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.bytes.extend_from_slice(bytes);
        self.sha256.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl SegmentWriter {
    /// Starts a segment, compressed with this zstd level.
    pub fn new(level: i32) -> Self {
        Self::begin(level, None)
    }

    /// The same for a tier, encrypted where what goes there is.
    pub fn to(tier: Tier, level: i32) -> Self {
        Self::begin(level, encryption(tier, None))
    }

    pub(super) fn begin(level: i32, encryption: Encryption) -> Self {
        let sink = Hashed { bytes: Vec::new(), sha256: sha2::Sha256::new() };
        let file = SerializedFileWriter::new(sink, SCHEMA.clone(), properties(level, encryption));
        let file = file.expect("writing to memory does not fail");
        Self { file, messages: 0, bytes: 0, first: (0, 0), last: None }
    }

    /// Messages so far.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Appends a batch as one row group. CPU-bound: milliseconds per MiB.
    pub fn append(&mut self, columns: Columns) -> Result<(), ParquetError> {
        let Some(last) = columns.len().checked_sub(1).map(|index| columns.message(index)) else {
            return Ok(());
        };
        if self.messages == 0 {
            let first = columns.message(0);
            self.first = (first.seq, first.time);
        }
        let (time, sha256) = (last.timestamp(), last.hash());
        self.last = Some(LastMessage { seq: last.seq, time, sha256 });
        self.messages += columns.len() as u64;
        self.bytes += columns.bytes() as u64;
        let mut group = self.file.next_row_group()?;
        write_column::<Int64Type, _>(&mut group, &columns.seq)?;
        write_column::<Int64Type, _>(&mut group, &columns.time)?;
        for strings in [columns.subject, columns.headers, columns.payload] {
            write_column::<ByteArrayType, _>(&mut group, &strings.into_arrays())?;
        }
        group.close()?;
        Ok(())
    }

    /// Bytes of the file so far.
    pub fn written(&self) -> usize {
        self.file.bytes_written()
    }

    /// Ends the file; there must be a message in it.
    pub fn finish(
        self,
        stream: &StreamName,
        timeline: u32,
        sealed: bool,
    ) -> Result<Finished, ParquetError> {
        let Self { file, messages, bytes, first: (first_seq, first_time), last } = self;
        let sink = file.into_inner()?;
        let last = last.expect("an empty segment is never finished");
        let sha256 = Sha256::from(<[u8; 32]>::from(sink.sha256.finalize()));
        let last_seq = last.seq;
        let first_time = timestamp(first_time);
        let segment = Segment {
            key: ArchiveKey::segment(stream, timeline, first_seq, last_seq, &sha256).to_string(),
            timeline,
            first_seq,
            last_seq,
            first_time,
            last_time: last.time,
            messages,
            bytes,
            size: sink.bytes.len() as u64,
            sha256,
            last,
            sealed,
            part: None,
        };
        Ok(Finished { segment, file: Bytes::from(sink.bytes) })
    }
}

impl Strings {
    /// Slices of one shared buffer: nothing is copied.
    pub(super) fn into_arrays(self) -> Vec<ByteArray> {
        let bytes = Bytes::from(self.bytes);
        let mut start = 0;
        let slice = |end| {
            let slice = bytes.slice(start..end);
            start = end;
            ByteArray::from(slice)
        };
        self.ends.into_iter().map(slice).collect()
    }
}

pub(super) fn write_column<T: DataType, W: Write + Send>(
    group: &mut SerializedRowGroupWriter<'_, W>,
    values: &[T::T],
) -> Result<(), ParquetError> {
    let mut column = group.next_column()?.expect("the schema has as many columns");
    column.typed::<T>().write_batch(values, None, None)?;
    column.close()
}
