//! Parts of objects that several streams share, read from the row groups that hold them.
//!
//! An object is not fetched whole for one of its parts: its footer says where its row groups are, and of
//! each column only the rows that are asked for are decoded. A part is believed when its hash is right; the
//! footer that led there proves nothing.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::{Part, Segment};
use parquet::data_type::{ByteArrayType, Int32Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, RowGroupMetaData,
};
use parquet::file::reader::{ChunkReader, Length};

use super::catch_panic::catch_panic;
use super::column::read_rows;
use super::columns::Columns;
use super::error::SegmentError;
use super::file::with_group;
use super::read::Rows;
use super::shared::{self, Content};
use crate::crypt::{FileKey, metadata};

/// Where the row groups of a shared object are.
#[derive(Debug)]
pub struct Footer {
    metadata: ParquetMetaData,
    /// The key of its row groups, where it is encrypted.
    key: Option<FileKey>,
}

/// A stretch of an object.
#[derive(Debug, Clone)]
pub struct Window {
    /// Where it begins.
    pub start: u64,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Footer {
    /// Reads the footer of an object of `size` bytes, of which `tail` is the end; `Ok(Err)` is how many bytes
    /// of its end are needed.
    ///
    /// # Errors
    /// When it is no object that streams share.
    pub fn read(key: &str, tail: &Bytes, size: u64) -> Result<Result<Self, u64>, SegmentError> {
        let (metadata, file_key) = match catch_panic(|| metadata(tail, size)) {
            Ok(read) => read,
            Err(ParquetError::NeedMoreData(needed)) if needed as u64 > tail.len() as u64 => {
                return Ok(Err(needed as u64));
            }
            Err(source) => return Err(SegmentError::Unreadable { key: key.into(), source }),
        };
        let file = metadata.file_metadata();
        if file.schema() != shared::SCHEMA.as_ref() {
            let what = "it has other columns".into();
            return Err(SegmentError::Contradiction { key: key.into(), what });
        }
        // A journal's decision stands there too, and may be the most of it.
        let bare = FileMetaData::new(
            file.version(),
            file.num_rows(),
            None,
            None,
            file.schema_descr_ptr(),
            file.column_orders().cloned(),
        );
        let metadata = ParquetMetaData::new(bare, metadata.row_groups().to_vec());
        Ok(Ok(Self { metadata, key: file_key }))
    }

    /// Returns the bytes of memory that it takes.
    pub fn memory(&self) -> usize {
        self.metadata.memory_size()
    }

    /// Returns the range of a part's row groups in the object.
    ///
    /// # Errors
    /// The object has no such row groups.
    pub fn range(&self, segment: &Segment, part: &Part) -> Result<Range<u64>, SegmentError> {
        let groups = groups(part);
        let contradiction = |what| SegmentError::Contradiction { key: segment.key.clone(), what };
        let there = self.metadata.num_row_groups();
        if groups.end > there || groups.is_empty() {
            return Err(contradiction(format!("it has {there} row groups")));
        }
        let columns = self.metadata.row_groups()[groups].iter().flat_map(RowGroupMetaData::columns);
        let place = |column: &ColumnChunkMetaData| {
            let start = column.dictionary_page_offset().unwrap_or(column.data_page_offset());
            let start = u64::try_from(start).ok()?;
            Some((start, start.checked_add(u64::try_from(column.compressed_size()).ok()?)?))
        };
        let whole = columns.map(place).reduce(|one, other| {
            let ((from, to), (start, end)) = (one?, other?);
            Some((from.min(start), to.max(end)))
        });
        whole
            .flatten()
            .map(|(start, end)| start..end)
            .ok_or_else(|| contradiction("its columns lie nowhere".into()))
    }
}

/// Returns the row groups that a part is in.
fn groups(part: &Part) -> Range<usize> {
    part.group as usize..(part.group as usize).saturating_add(part.groups as usize)
}

impl Length for Window {
    fn len(&self) -> u64 {
        self.start + self.bytes.len() as u64
    }
}

impl ChunkReader for Window {
    type T = bytes::buf::Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        let length = self.len().saturating_sub(start);
        Ok(bytes::Buf::reader(self.get_bytes(start, usize::try_from(length)?)?))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let outside = || ParquetError::EOF(format!("{length} bytes at {start} are not there"));
        let from = start.checked_sub(self.start).and_then(|from| usize::try_from(from).ok());
        let from = from.ok_or_else(outside)?;
        let to = from.checked_add(length).filter(|to| *to <= self.bytes.len());
        Ok(self.bytes.slice(from..to.ok_or_else(outside)?))
    }
}

/// A part on its way out of an object.
struct Reading<'a> {
    segment: &'a Segment,
    part: &'a Part,
    columns: Columns,
    content: Content,
    failed: Option<SegmentError>,
}

/// Reads parts of one object, whose row groups lie in `window`. Each row group is decoded once, whatever the
/// number of parts in it. A part is whole and has its hash, or is an error. CPU-bound.
pub fn read_parts(
    footer: &Footer,
    window: Window,
    parts: &[(&Segment, &Part)],
) -> Vec<Result<Columns, SegmentError>> {
    let window = Arc::new(window);
    let mut readings: Vec<Reading<'_>> =
        parts.iter().map(|(segment, part)| Reading::begin(segment, part)).collect();
    let mut by_group: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for (index, (_, part)) in parts.iter().enumerate() {
        // One that is not there is enough for a part to fail.
        let there = groups(part).take_while(|group| *group <= footer.metadata.num_row_groups());
        there.for_each(|group| by_group.entry(group).or_default().push(index));
    }
    for (group, wanted) in by_group {
        if let Err(error) = read_group(footer, &window, group, &mut readings, &wanted) {
            for index in wanted {
                let key = readings[index].segment.key.clone();
                let source = ParquetError::General(error.to_string());
                readings[index].failed.get_or_insert(SegmentError::Unreadable { key, source });
            }
        }
    }
    readings.into_iter().map(Reading::finish).collect()
}

fn read_group(
    footer: &Footer,
    window: &Arc<Window>,
    group: usize,
    readings: &mut [Reading<'_>],
    wanted: &[usize],
) -> Result<(), ParquetError> {
    if group >= footer.metadata.num_row_groups() {
        let there = footer.metadata.num_row_groups();
        return Err(ParquetError::General(format!("it has {there} row groups")));
    }
    let key = footer.key.as_ref();
    let (first, streams, rows) = catch_panic(|| {
        with_group(window, &footer.metadata, key, group, |reader| {
            let all = 0..usize::try_from(reader.metadata().num_rows()).unwrap_or_default();
            let streams = read_rows::<ByteArrayType>(reader, shared::STREAM, all.clone())?;
            let timelines = read_rows::<Int32Type>(reader, shared::TIMELINE, all)?;
            let streams: Vec<_> = streams.into_iter().zip(timelines).collect();
            let is_wanted = |(stream, timeline): &(parquet::data_type::ByteArray, i32)| {
                wanted.iter().any(|index| readings[*index].is_of(stream.data(), *timeline))
            };
            let first = streams.iter().position(is_wanted).unwrap_or(streams.len());
            let end = streams.iter().rposition(is_wanted).map_or(first, |last| last + 1);
            let rows = Rows::read_some(reader, shared::BEFORE, first..end)?;
            Ok((first, streams, rows))
        })
    })?;
    let streams = &streams[first..first + rows.len()];
    let mut run = 0..0;
    while run.end < streams.len() {
        let (stream, timeline) = &streams[run.end];
        let length = streams[run.end..].iter().take_while(|s| *s == &streams[run.end]).count();
        run = run.end..run.end + length;
        for index in wanted {
            if readings[*index].is_of(stream.data(), *timeline) {
                readings[*index].take(&rows, run.clone());
            }
        }
    }
    Ok(())
}

impl<'a> Reading<'a> {
    fn begin(segment: &'a Segment, part: &'a Part) -> Self {
        let (columns, content) = (Columns::default(), Content::default());
        Self { segment, part, columns, content, failed: None }
    }

    fn is_of(&self, stream: &[u8], timeline: i32) -> bool {
        self.part.stream.as_str().as_bytes() == stream
            && self.segment.timeline == timeline.cast_unsigned()
    }

    /// Takes what belongs to it of a run of rows of its stream and timeline.
    fn take(&mut self, rows: &Rows, run: Range<usize>) {
        let seqs = self.segment.first_seq..=self.segment.last_seq;
        let messages =
            || run.clone().map(|index| rows.message(index)).filter(|m| seqs.contains(&m.seq));
        self.columns.reserve(messages());
        for message in messages() {
            self.content.push(&message.hash());
            self.columns.push(message);
        }
    }

    fn finish(self) -> Result<Columns, SegmentError> {
        if let Some(failed) = self.failed {
            return Err(failed);
        }
        let (key, stated) = (self.segment.key.clone(), self.segment.sha256);
        let actual = self.content.finish();
        if actual != stated {
            return Err(SegmentError::Damaged { key, stated, actual });
        }
        let messages = self.columns.len() as u64;
        if messages != self.segment.messages {
            let what = format!("{messages} messages, not {}", self.segment.messages);
            return Err(SegmentError::Contradiction { key, what });
        }
        Ok(self.columns)
    }
}

#[cfg(test)]
mod tests {
    use cim_core::names::StreamName;
    use cim_testing::{cases, corrupted, corruptions};
    use proptest::prelude::*;

    use super::super::columns::Message;
    use super::super::shared::{Batch, SharedWriter};
    use super::*;
    use crate::crypt::testing;

    type Row = (u64, i64, Vec<u8>);

    /// Draws messages of one stream: gap, time, payload. Some are so large that they fill a row group.
    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let size = prop_oneof![8 => 0..40_usize, 1 => Just(600 << 10)];
        let payload = (any::<u8>(), size).prop_map(|(byte, size)| vec![byte; size]);
        prop::collection::vec((1..9_u64, any::<i64>(), payload), 1..8)
    }

    /// Makes an object in which each of some streams has a part.
    fn object(streams: &[Vec<Row>], encrypted: bool) -> (Bytes, Vec<Segment>, Vec<Vec<Row>>) {
        let encryption = testing::encryption().filter(|_| encrypted);
        let (mut writer, mut written) = (SharedWriter::begin(1, encryption), Vec::new());
        for (n, rows) in streams.iter().enumerate() {
            let (mut columns, mut messages, mut seq) = (Columns::default(), Vec::new(), 0);
            for (gap, time, payload) in rows {
                seq += gap;
                columns.push(Message { seq, time: *time, subject: b"s", headers: b"", payload });
                messages.push((seq, *time, payload.clone()));
            }
            let stream = StreamName::new(format!("S{n:02}")).unwrap();
            writer.append(Batch { stream, timeline: 1, columns }).unwrap();
            written.push(messages);
        }
        let parts = writer.parts().unwrap();
        (writer.finish(None).unwrap(), parts, written)
    }

    fn read(object: &Bytes, wanted: &[&Segment]) -> Result<Vec<Vec<Row>>, SegmentError> {
        let footer = Footer::read("object", object, object.len() as u64)?;
        // It says that it is longer than the object.
        let cut = |_| SegmentError::Contradiction { key: "object".into(), what: "cut".into() };
        let footer = footer.map_err(cut)?;
        let parts: Vec<_> =
            wanted.iter().map(|part| (*part, part.part.as_ref().unwrap())).collect();
        let mut all: Option<Range<u64>> = None;
        for (segment, part) in &parts {
            let range = footer.range(segment, part)?;
            let known = all.get_or_insert(range.clone());
            *known = known.start.min(range.start)..known.end.max(range.end);
        }
        let (start, end) = all.map_or((0, 0), |range| (range.start, range.end));
        // What a service answers is no more than there is.
        let end = usize::try_from(end).unwrap().min(object.len());
        let bytes = object.slice(usize::try_from(start).unwrap().min(end)..end);
        let rows = |columns: Columns| {
            columns.messages().map(|m| (m.seq, m.time, m.payload.to_vec())).collect()
        };
        let read = read_parts(&footer, Window { start, bytes }, &parts);
        read.into_iter().map(|part| part.map(rows)).collect()
    }

    proptest! {
        #![proptest_config(cases(48))]

        #[test]
        fn parts_come_out_as_they_went_in(
            streams in prop::collection::vec(rows(), 1..7),
            wanted in prop::collection::vec(any::<bool>(), 7),
            encrypted in any::<bool>(),
        ) {
            let (object, parts, written) = object(&streams, encrypted);
            // The object's bytes are shared out, but for its footer.
            let sizes: u64 = parts.iter().map(|part| part.size).sum();
            prop_assert!(sizes > 0 && sizes < object.len() as u64, "{sizes} of {}", object.len());
            let (parts, written): (Vec<_>, Vec<_>) = parts
                .iter()
                .zip(written)
                .zip(wanted)
                .filter_map(|(part, wanted)| wanted.then_some(part))
                .unzip();
            prop_assert_eq!(read(&object, &parts).unwrap(), written);
        }

        #[test]
        fn a_changed_object_is_noticed(
            streams in prop::collection::vec(rows(), 1..5),
            corruptions in corruptions(),
            encrypted in any::<bool>(),
        ) {
            let (object, parts, written) = object(&streams, encrypted);
            let corrupted = Bytes::from(corrupted(&object, &corruptions));
            for (part, written) in parts.iter().zip(written) {
                if let Ok(read) = read(&corrupted, &[part]) {
                    prop_assert_eq!(&read, &[written]);
                }
            }
        }
    }
}
