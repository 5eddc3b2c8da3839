//! Columns to Parquet.

use std::io::{self, Write};
use std::ops::Range;

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

/// Bytes of messages in a row group of an encrypted file. There a column has one page in it, which goes through four
/// buffers as large as itself. A buffer of a megabyte is the system's (main.rs), so each page of memory in it is made
/// anew: that took more time than encrypting. These buffers double as they grow, and stay below.
const ENCRYPTED_GROUP: usize = 384 << 10;
/// Row groups after which they are as large as what is appended: an encrypted file has at most 32,767.
const SMALL_GROUPS: usize = 16 << 10;

/// A segment being written.
pub struct SegmentWriter {
    file: SerializedFileWriter<Hashed>,
    /// True if it is encrypted.
    encrypted: bool,
    groups: usize,
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

    /// Begins a segment for a tier, encrypted if the tier is.
    pub fn to(tier: Tier, level: i32) -> Self {
        Self::begin(level, encryption(tier, None))
    }

    pub(super) fn begin(level: i32, encryption: Encryption) -> Self {
        let sink = Hashed { bytes: Vec::new(), sha256: sha2::Sha256::new() };
        let encrypted = encryption.is_some();
        let file = SerializedFileWriter::new(sink, SCHEMA.clone(), properties(level, encryption));
        let file = file.expect("writing to memory does not fail");
        Self { file, encrypted, groups: 0, messages: 0, bytes: 0, first: (0, 0), last: None }
    }

    /// Returns the number of messages so far.
    pub fn messages(&self) -> u64 {
        self.messages
    }

    /// Appends a batch as one row group, or as some where it is encrypted. CPU-bound: milliseconds per MiB.
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
        let small = self.encrypted && self.groups < SMALL_GROUPS;
        let most = if small { ENCRYPTED_GROUP } else { usize::MAX };
        let groups = groups(&columns, most);
        let Columns { seq, time, subject, headers, payload } = columns;
        let strings = [subject, headers, payload].map(Strings::shared);
        for rows in groups {
            let mut group = self.file.next_row_group()?;
            write_column::<Int64Type, _>(&mut group, &seq[rows.clone()])?;
            write_column::<Int64Type, _>(&mut group, &time[rows.clone()])?;
            for column in &strings {
                write_column::<ByteArrayType, _>(&mut group, &column.arrays(rows.clone()))?;
            }
            group.close()?;
            self.groups += 1;
        }
        Ok(())
    }

    /// Returns the bytes of the file so far.
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
        let Self { file, messages, bytes, first: (first_seq, first_time), last, .. } = self;
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

/// Divides rows into groups with so many bytes of messages at most, or one message.
fn groups(columns: &Columns, most: usize) -> Vec<Range<usize>> {
    let (mut groups, mut begin, mut bytes) = (Vec::new(), 0, 0);
    let whole = columns.bytes() <= most;
    for (index, message) in columns.messages().enumerate().filter(|_| !whole) {
        if index > begin && bytes + message.bytes() > most {
            groups.push(begin..index);
            (begin, bytes) = (index, 0);
        }
        bytes += message.bytes();
    }
    groups.push(begin..columns.len());
    groups
}

impl Strings {
    /// Slices of one shared buffer: nothing is copied.
    pub(super) fn into_arrays(self) -> Vec<ByteArray> {
        let rows = 0..self.ends.len();
        self.shared().arrays(rows)
    }

    fn shared(self) -> SharedStrings {
        SharedStrings { bytes: self.bytes.into(), ends: self.ends }
    }
}

/// Byte strings end to end, in a buffer that slices of it share.
struct SharedStrings {
    bytes: Bytes,
    ends: Vec<usize>,
}

impl SharedStrings {
    fn arrays(&self, rows: Range<usize>) -> Vec<ByteArray> {
        let mut start = rows.start.checked_sub(1).map_or(0, |before| self.ends[before]);
        let slice = |end: &usize| {
            let slice = self.bytes.slice(start..*end);
            start = *end;
            ByteArray::from(slice)
        };
        self.ends[rows].iter().map(slice).collect()
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
