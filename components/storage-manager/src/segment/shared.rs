//! Objects that several streams share: a journal's entries, and what is merged of streams that are too quiet
//! for a segment of their own.
//!
//! Rows stand by stream, timeline and sequence. A row group has the rows of one stream, or of several small
//! ones: a group for each of a hundred messages would cost more than the messages.

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use cim_core::archive::{LastMessage, Part, Segment, Sha256};
use cim_core::names::StreamName;
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::Type;
use sha2::Digest as _;

use super::catch_panic::catch_panic;
use super::columns::Columns;
use super::schema::{Encryption, shared_properties};
use super::write::write_column;
use crate::crypt::{encryption, metadata};
use crate::s3::Tier;

/// Column positions.
pub(super) const STREAM: usize = 0;
pub(super) const TIMELINE: usize = 1;
/// The number of columns before those of a segment.
pub(super) const BEFORE: usize = 2;

/// Bytes of messages from which on the next stream's rows begin a row group.
const ROW_GROUP: usize = 1 << 20;
/// Bytes that a message has beside its own: its sequence, its time, the lengths of its strings.
const BESIDE: u64 = 16;
/// The key of a journal's entry in a file's metadata.
const ENTRY: &str = "cim.entry";

pub(super) static SCHEMA: LazyLock<Arc<Type>> = LazyLock::new(|| {
    let schema = "
        message shared {
            required binary stream (STRING);
            required int32 timeline (INTEGER(32, false));
            required int64 seq (INTEGER(64, false));
            required int64 time (TIMESTAMP(NANOS, true));
            required binary subject (STRING);
            required binary headers;
            required binary payload;
        }";
    Arc::new(parse_message_type(schema).expect("the schema above is valid"))
});

/// Messages of one stream on their way into a shared object, ascending.
#[derive(Debug)]
pub struct Batch {
    /// The stream.
    pub stream: StreamName,
    /// Its timeline.
    pub timeline: u32,
    /// The messages; at least one.
    pub columns: Columns,
}

/// A shared object being written.
pub struct SharedWriter {
    file: SerializedFileWriter<Vec<u8>>,
    group: Vec<Batch>,
    group_bytes: usize,
    groups: u32,
    parts: Vec<Segment>,
}

impl SharedWriter {
    /// Starts an object, compressed with this zstd level.
    pub fn new(level: i32) -> Self {
        Self::begin(level, None)
    }

    /// Begins an object for a tier, encrypted if the tier is.
    pub fn to(tier: Tier, level: i32) -> Self {
        Self::begin(level, encryption(tier, None))
    }

    /// Begins an entry behind another one, whose object has this hash if that is known.
    pub fn behind(previous: Option<Sha256>, tier: Tier, level: i32) -> Self {
        Self::begin(level, encryption(tier, previous))
    }

    pub(super) fn begin(level: i32, encryption: Encryption) -> Self {
        let properties = shared_properties(level, encryption);
        let file = SerializedFileWriter::new(Vec::new(), SCHEMA.clone(), properties);
        let file = file.expect("writing to memory does not fail");
        Self { file, group: Vec::new(), group_bytes: 0, groups: 0, parts: Vec::new() }
    }

    /// Appends messages, which become one part. Batches come by stream, timeline and sequence. CPU-bound.
    ///
    /// # Errors
    /// When Parquet refuses them.
    pub fn append(&mut self, batch: Batch) -> Result<(), ParquetError> {
        let bytes = batch.columns.bytes();
        if !self.group.is_empty() && self.group_bytes + bytes > ROW_GROUP {
            self.end_group()?;
        }
        self.parts.push(part(&batch, self.groups));
        self.group_bytes += bytes;
        self.group.push(batch);
        Ok(())
    }

    /// Returns the bytes of messages in the object so far.
    pub fn bytes(&self) -> u64 {
        self.parts.iter().map(|part| part.bytes).sum()
    }

    fn end_group(&mut self) -> Result<(), ParquetError> {
        let batches = std::mem::take(&mut self.group);
        self.group_bytes = 0;
        if batches.is_empty() {
            return Ok(());
        }
        let first = self.parts.len() - batches.len();
        let rows: usize = batches.iter().map(|batch| batch.columns.len()).sum();
        let (mut streams, mut timelines) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let (mut seq, mut time) = (Vec::with_capacity(rows), Vec::with_capacity(rows));
        let mut strings: [Vec<ByteArray>; 3] = Default::default();
        for Batch { stream, timeline, columns } in batches {
            let name = ByteArray::from(Bytes::copy_from_slice(stream.as_str().as_bytes()));
            streams.extend(std::iter::repeat_n(name, columns.len()));
            timelines.extend(std::iter::repeat_n(timeline.cast_signed(), columns.len()));
            seq.extend(columns.seq);
            time.extend(columns.time);
            let columns = [columns.subject, columns.headers, columns.payload];
            strings.iter_mut().zip(columns).for_each(|(all, some)| all.extend(some.into_arrays()));
        }
        let mut group = self.file.next_row_group()?;
        write_column::<ByteArrayType, _>(&mut group, &streams)?;
        write_column::<Int32Type, _>(&mut group, &timelines)?;
        write_column::<Int64Type, _>(&mut group, &seq)?;
        write_column::<Int64Type, _>(&mut group, &time)?;
        for column in strings {
            write_column::<ByteArrayType, _>(&mut group, &column)?;
        }
        let written = group.close()?.compressed_size();
        share(u64::try_from(written).unwrap_or_default(), &mut self.parts[first..]);
        self.groups += 1;
        Ok(())
    }

    /// Ends the rows: what a journal's entry says about them. Their segments have no key yet.
    ///
    /// # Errors
    /// When Parquet refuses them.
    pub fn parts(&mut self) -> Result<Vec<Segment>, ParquetError> {
        self.end_group()?;
        Ok(std::mem::take(&mut self.parts))
    }

    /// Ends the object, with an entry in its metadata where it is a journal's.
    ///
    /// # Errors
    /// When Parquet refuses it.
    pub fn finish(mut self, entry: Option<String>) -> Result<Bytes, ParquetError> {
        self.end_group()?;
        if let Some(entry) = entry {
            self.file.append_key_value_metadata(KeyValue::new(ENTRY.to_owned(), entry));
        }
        Ok(Bytes::from(self.file.into_inner()?))
    }
}

/// Returns the segment that a batch becomes, without the key of its object.
fn part(batch: &Batch, group: u32) -> Segment {
    let columns = &batch.columns;
    let first = columns.message(0);
    let last = columns.message(columns.len() - 1);
    Segment {
        key: String::new(),
        timeline: batch.timeline,
        first_seq: first.seq,
        last_seq: last.seq,
        first_time: first.timestamp(),
        last_time: last.timestamp(),
        messages: columns.len() as u64,
        bytes: columns.bytes() as u64,
        size: 0,
        sha256: content(columns),
        last: LastMessage { seq: last.seq, time: last.timestamp(), sha256: last.hash() },
        sealed: false,
        part: Some(Part { stream: batch.stream.clone(), group, groups: 1 }),
    }
}

/// Returns the hash of a part with these messages.
pub fn content(columns: &Columns) -> Sha256 {
    let mut content = Content::default();
    (0..columns.len()).for_each(|index| content.push(&columns.message(index).hash()));
    content.finish()
}

/// Shares the bytes of a row group out to its parts, by their messages: the sum is what was written.
fn share(written: u64, parts: &mut [Segment]) {
    let weight = |part: &Segment| u128::from(part.bytes) + u128::from(part.messages * BESIDE);
    let whole = parts.iter().map(weight).sum::<u128>().max(1);
    let (mut before, mut given) = (0, 0);
    for part in parts {
        before += weight(part);
        let until = u64::try_from(u128::from(written) * before / whole).unwrap_or(given);
        part.size = until - given;
        given = until;
    }
}

/// The hash of a part: over the hashes of its messages.
#[derive(Default)]
pub(super) struct Content(sha2::Sha256);

impl Content {
    pub(super) fn push(&mut self, message: &Sha256) {
        self.0.update(message.as_bytes());
    }

    pub(super) fn finish(self) -> Sha256 {
        Sha256::from(<[u8; 32]>::from(self.0.finalize()))
    }
}

/// Reads the text of the entry in a journal's object, of which `tail` is the end and `size` the length. `Ok(None)` if
/// the object has none.
///
/// # Errors
/// The number of bytes of its end that are needed, if more; else 0: it is no Parquet file, or cut short.
pub fn entry_text(tail: &Bytes, size: u64) -> Result<Option<String>, u64> {
    let metadata = match catch_panic(|| metadata(tail, size)) {
        Ok((metadata, _)) => metadata,
        Err(ParquetError::NeedMoreData(needed)) if (needed as u64) > tail.len() as u64 => {
            return Err(needed as u64);
        }
        _ => return Err(0),
    };
    let pairs = metadata.file_metadata().key_value_metadata().into_iter().flatten();
    Ok(pairs.into_iter().find(|pair| pair.key == ENTRY).and_then(|pair| pair.value.clone()))
}
