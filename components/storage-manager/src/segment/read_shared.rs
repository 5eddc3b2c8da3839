//! Reads an object that streams share from its beginning to its end.

use bytes::Bytes;
use cim_core::archive::{Part, Segment};
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type};
use parquet::file::reader::RowGroupReader;

use super::catch_panic::catch_panic;
use super::column::read_column;
use super::columns::Message;
use super::error::SegmentError;
use super::file::File;
use super::read::Rows;
use super::shared::{self, Content};

/// Reads a shared object from its beginning to its end, part by part.
pub struct SharedReader {
    key: String,
    reader: File,
    next: usize,
    group: Option<SharedRows>,
}

/// The rows of one row group of a shared object, and the first that was not read yet.
struct SharedRows {
    streams: Vec<ByteArray>,
    timelines: Vec<i32>,
    rows: Rows,
    at: usize,
}

impl SharedReader {
    /// Opens an object.
    ///
    /// # Errors
    /// When it is none that streams share.
    pub fn open(key: &str, file: Bytes) -> Result<Self, SegmentError> {
        let reader = catch_panic(|| File::open(file))
            .map_err(|source| SegmentError::Unreadable { key: key.into(), source })?;
        if reader.metadata().file_metadata().schema() != shared::SCHEMA.as_ref() {
            let what = "it has other columns".into();
            return Err(SegmentError::Contradiction { key: key.into(), what });
        }
        Ok(Self { key: key.into(), reader, next: 0, group: None })
    }

    /// Hands the messages of a part to `each`. Parts are asked for in the order in which they stand in the
    /// object. Whether they are what they should be is known only at the end.
    ///
    /// # Errors
    /// When they are not, or `each` fails.
    pub fn read<E: From<SegmentError>>(
        &mut self,
        segment: &Segment,
        part: &Part,
        mut each: impl FnMut(Message<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut content, mut messages) = (Content::default(), 0);
        let wanted = (part.stream.as_str().as_bytes(), segment.timeline, segment.last_seq);
        while messages < segment.messages && self.load()? {
            let Some(group) = &mut self.group else { break };
            let place = group.place();
            if place > wanted {
                break;
            }
            let is_first = (place.0, place.1) == (wanted.0, wanted.1);
            let message = group.rows.message(group.at);
            if is_first && message.seq >= segment.first_seq {
                content.push(&message.hash());
                messages += 1;
                each(message)?;
            }
            group.at += 1;
        }
        let actual = content.finish();
        if actual != segment.sha256 {
            let (key, stated) = (self.key.clone(), segment.sha256);
            return Err(SegmentError::Damaged { key, stated, actual }.into());
        }
        Ok(())
    }

    /// Makes sure that there is a row to be read; false at the end.
    fn load(&mut self) -> Result<bool, SegmentError> {
        while self.group.as_ref().is_none_or(|group| group.at >= group.rows.len()) {
            if self.next >= self.reader.metadata().num_row_groups() {
                return Ok(false);
            }
            let (reader, index) = (&self.reader, self.next);
            let read = |group: &dyn RowGroupReader| {
                let rows = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
                Ok(SharedRows {
                    streams: read_column::<ByteArrayType>(group, shared::STREAM, rows)?,
                    timelines: read_column::<Int32Type>(group, shared::TIMELINE, rows)?,
                    rows: Rows::read_group(group, shared::BEFORE)?,
                    at: 0,
                })
            };
            let group = catch_panic(|| reader.with_group(index, read));
            let key = &self.key;
            self.group = Some(
                group.map_err(|source| SegmentError::Unreadable { key: key.clone(), source })?,
            );
            self.next += 1;
        }
        Ok(true)
    }
}

impl SharedRows {
    /// Returns the place of the next row: rows come by stream, timeline and sequence.
    fn place(&self) -> (&[u8], u32, u64) {
        let seq = self.rows.seq[self.at].cast_unsigned();
        (self.streams[self.at].data(), self.timelines[self.at].cast_unsigned(), seq)
    }
}
