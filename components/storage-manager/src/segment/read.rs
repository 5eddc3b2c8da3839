//! Parquet to messages. The file comes from outside: whatever is in it, reading it must not panic.

use std::ops::Range;

use bytes::Bytes;
use cim_core::archive::{Part, Segment, Sha256};
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::reader::RowGroupReader;

use super::catch_panic::catch_panic;
use super::column::{read_column, read_rows};
use super::columns::Message;
use super::error::SegmentError;
use super::file::File;
use super::schema::{HEADERS, PAYLOAD, SCHEMA, SEQ, SUBJECT, TIME};
use super::shared::{self, Content};

/// The rows of one row group.
pub struct Rows {
    pub(super) seq: Vec<i64>,
    time: Vec<i64>,
    subject: Vec<ByteArray>,
    headers: Vec<ByteArray>,
    payload: Vec<ByteArray>,
}

impl Rows {
    /// Checks the file against the manifest and calls `each` for every row group, in order.
    /// The hash is checked before the first row is believed.
    pub fn read<E: From<SegmentError>>(
        segment: &Segment,
        file: &Bytes,
        mut each: impl FnMut(&Rows) -> Result<(), E>,
    ) -> Result<(), E> {
        if let Some(part) = &segment.part {
            let rows = Self::read_part(segment, part, file)?;
            return rows.iter().try_for_each(each);
        }
        let key = || segment.key.clone();
        let actual = Sha256::of(file);
        if actual != segment.sha256 {
            let stated = segment.sha256;
            return Err(SegmentError::Damaged { key: key(), stated, actual }.into());
        }
        let unreadable = |source| SegmentError::Unreadable { key: key(), source };
        let contradiction = |what: String| SegmentError::Contradiction { key: key(), what };
        let reader = catch_panic(|| File::open(file.clone())).map_err(unreadable)?;
        if reader.metadata().file_metadata().schema() != SCHEMA.as_ref() {
            return Err(contradiction("it has other columns".into()).into());
        }
        let (mut messages, mut last_seq) = (0, None);
        for index in 0..reader.metadata().num_row_groups() {
            let rows = catch_panic(|| reader.with_group(index, |group| Self::read_group(group, 0)));
            let rows = rows.map_err(unreadable)?;
            for seq in rows.seq.iter().map(|seq| seq.cast_unsigned()) {
                if last_seq.is_some_and(|last| seq <= last)
                    || seq < segment.first_seq
                    || seq > segment.last_seq
                {
                    return Err(contradiction(format!("sequence {seq} is out of place")).into());
                }
                last_seq = Some(seq);
            }
            messages += rows.len() as u64;
            each(&rows)?;
        }
        if messages != segment.messages {
            let what = format!("{messages} messages, not {}", segment.messages);
            return Err(contradiction(what).into());
        }
        Ok(())
    }

    /// Reads the rows of a segment that shares its object with others, row group by row group. All of them are checked
    /// before the first one is believed.
    fn read_part(segment: &Segment, part: &Part, file: &Bytes) -> Result<Vec<Self>, SegmentError> {
        let key = || segment.key.clone();
        let unreadable = |source| SegmentError::Unreadable { key: key(), source };
        let contradiction = |what: String| SegmentError::Contradiction { key: key(), what };
        let reader = catch_panic(|| File::open(file.clone())).map_err(unreadable)?;
        if reader.metadata().file_metadata().schema() != shared::SCHEMA.as_ref() {
            return Err(contradiction("it has other columns".into()));
        }
        let groups =
            part.group as usize..(part.group as usize).saturating_add(part.groups as usize);
        let there = reader.metadata().num_row_groups();
        if groups.end > there {
            return Err(contradiction(format!("it has {there} row groups")));
        }
        let (mut found, mut content, mut messages) = (Vec::new(), Content::default(), 0);
        for index in groups {
            let read = |group: &dyn RowGroupReader| {
                let rows = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
                let streams = read_column::<ByteArrayType>(group, shared::STREAM, rows)?;
                let timelines = read_column::<Int32Type>(group, shared::TIMELINE, rows)?;
                let all = Self::read_group(group, shared::BEFORE)?;
                Ok(all.retain(|index, seq| {
                    streams[index].data() == part.stream.as_str().as_bytes()
                        && timelines[index].cast_unsigned() == segment.timeline
                        && (segment.first_seq..=segment.last_seq).contains(&seq)
                }))
            };
            let rows = catch_panic(|| reader.with_group(index, read)).map_err(unreadable)?;
            rows.messages().for_each(|message| content.push(&message.hash()));
            messages += rows.len() as u64;
            found.push(rows);
        }
        let actual = content.finish();
        if actual != segment.sha256 {
            return Err(SegmentError::Damaged { key: key(), stated: segment.sha256, actual });
        }
        if messages != segment.messages {
            return Err(contradiction(format!("{messages} messages, not {}", segment.messages)));
        }
        Ok(found)
    }

    /// Keeps the rows for which `keep` says so, of their index and sequence.
    fn retain(self, keep: impl Fn(usize, u64) -> bool) -> Self {
        let kept: Vec<usize> = (0..self.len())
            .filter(|index| keep(*index, self.seq[*index].cast_unsigned()))
            .collect();
        let of = |column: &[ByteArray]| kept.iter().map(|i| column[*i].clone()).collect();
        let numbers = |column: &[i64]| kept.iter().map(|i| column[*i]).collect();
        Self {
            seq: numbers(&self.seq),
            time: numbers(&self.time),
            subject: of(&self.subject),
            headers: of(&self.headers),
            payload: of(&self.payload),
        }
    }

    /// Reads a row group in whose schema `before` columns stand before a segment's.
    pub(super) fn read_group(
        group: &dyn RowGroupReader,
        before: usize,
    ) -> Result<Self, ParquetError> {
        let rows = usize::try_from(group.metadata().num_rows()).unwrap_or_default();
        Self::read_some(group, before, 0..rows)
    }

    /// Reads some rows of a row group.
    pub(super) fn read_some(
        group: &dyn RowGroupReader,
        before: usize,
        rows: Range<usize>,
    ) -> Result<Self, ParquetError> {
        Ok(Self {
            seq: read_rows::<Int64Type>(group, before + SEQ, rows.clone())?,
            time: read_rows::<Int64Type>(group, before + TIME, rows.clone())?,
            subject: read_rows::<ByteArrayType>(group, before + SUBJECT, rows.clone())?,
            headers: read_rows::<ByteArrayType>(group, before + HEADERS, rows.clone())?,
            payload: read_rows::<ByteArrayType>(group, before + PAYLOAD, rows)?,
        })
    }

    /// Returns the number of rows.
    pub fn len(&self) -> usize {
        self.seq.len()
    }

    /// Returns true if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.seq.is_empty()
    }

    /// Returns the messages, ascending by sequence.
    pub fn messages(&self) -> impl Iterator<Item = Message<'_>> {
        (0..self.len()).map(|index| self.message(index))
    }

    pub(super) fn message(&self, index: usize) -> Message<'_> {
        Message {
            seq: self.seq[index].cast_unsigned(),
            time: self.time[index],
            subject: self.subject[index].data(),
            headers: self.headers[index].data(),
            payload: self.payload[index].data(),
        }
    }
}

#[cfg(test)]
mod tests {
    use cim_core::names::StreamName;
    use cim_testing::{cases, corrupted, corruptions};
    use proptest::prelude::*;

    use super::*;
    use crate::crypt::{self, testing};
    use crate::segment::schema::Encryption;
    use crate::segment::{Columns, Finished, SegmentWriter, group_sizes, times};

    type Row = (u64, i64, Vec<u8>, Vec<u8>, Vec<u8>);

    fn row() -> impl Strategy<Value = (u64, i64, Vec<u8>, Vec<u8>, Vec<u8>)> {
        let bytes = || prop::collection::vec(any::<u8>(), 0..40);
        (1u64..1000, any::<i64>(), "[a-z.]{1,20}".prop_map(String::into_bytes), bytes(), bytes())
    }

    fn write(groups: &[Vec<Row>]) -> (Vec<Row>, Finished) {
        write_with(groups, None)
    }

    fn write_with(groups: &[Vec<Row>], encryption: Encryption) -> (Vec<Row>, Finished) {
        let (mut seq, mut rows) = (0, Vec::new());
        let mut writer = SegmentWriter::begin(1, encryption);
        for group in groups {
            let mut columns = Columns::default();
            for (gap, time, subject, headers, payload) in group {
                seq += gap;
                columns.push(Message { seq, time: *time, subject, headers, payload });
                rows.push((seq, *time, subject.clone(), headers.clone(), payload.clone()));
            }
            writer.append(columns).unwrap();
        }
        let stream = StreamName::new("S").unwrap();
        (rows, writer.finish(&stream, 1, false).unwrap())
    }

    fn read(finished: &Finished) -> Result<Vec<Row>, SegmentError> {
        let mut rows = Vec::new();
        Rows::read(&finished.segment, &finished.file, |group| {
            rows.extend(group.messages().map(|m| {
                (m.seq, m.time, m.subject.to_vec(), m.headers.to_vec(), m.payload.to_vec())
            }));
            Ok::<_, SegmentError>(())
        })?;
        Ok(rows)
    }

    proptest! {
        #![proptest_config(cases(64))]

        #[test]
        fn what_goes_in_comes_out(groups in prop::collection::vec(prop::collection::vec(row(), 1..50), 1..4)) {
            let (rows, finished) = write(&groups);
            prop_assert_eq!(finished.segment.messages, rows.len() as u64);
            prop_assert_eq!(read(&finished).unwrap(), rows);
        }

        #[test]
        fn a_changed_file_is_noticed(rows in prop::collection::vec(row(), 1..20), corruptions in corruptions()) {
            let (written, mut finished) = write(&[rows]);
            let file = corrupted(&finished.file, &corruptions);
            let same = finished.file == file;
            finished.file = file.into();
            match read(&finished) {
                Ok(read) => prop_assert!(same && read == written),
                Err(SegmentError::Damaged { .. }) => prop_assert!(!same),
                Err(error) => prop_assert!(false, "{error}"),
            }
        }

        /// Even bytes whose hash agrees (a foreign file) are refused, not believed.
        #[test]
        fn foreign_bytes_never_panic(rows in prop::collection::vec(row(), 1..20), corruptions in corruptions()) {
            let (_, mut finished) = write(&[rows]);
            finished.file = corrupted(&finished.file, &corruptions).into();
            finished.segment.sha256 = Sha256::of(&finished.file);
            drop(read(&finished));
        }

        #[test]
        fn what_is_encrypted_comes_out_as_it_went_in(groups in prop::collection::vec(prop::collection::vec(row(), 1..50), 1..4)) {
            let (rows, finished) = write_with(&groups, testing::encryption());
            prop_assert!(crypt::is_encrypted(&finished.file));
            prop_assert_eq!(read(&finished).unwrap(), rows);
            prop_assert!(group_sizes(&finished.file).unwrap().len() == groups.len());
            let times = times(&finished.file, finished.file.len() as u64).unwrap().unwrap();
            prop_assert!(times.0 <= times.1);
        }

        /// Whatever is done to an encrypted file: its rows come out, or none.
        #[test]
        fn a_changed_encrypted_file_is_refused(rows in prop::collection::vec(row(), 1..20), corruptions in corruptions()) {
            let (written, mut finished) = write_with(&[rows], testing::encryption());
            finished.file = corrupted(&finished.file, &corruptions).into();
            finished.segment.sha256 = Sha256::of(&finished.file);
            if let Ok(read) = read(&finished) {
                prop_assert_eq!(read, written);
            }
        }
    }

    #[test]
    fn row_groups_of_an_encrypted_file_are_small() {
        let row = |n: u8| (1, 1, b"s".to_vec(), Vec::new(), vec![n; 100 << 10]);
        let rows: Vec<Row> = (0..10).map(row).collect();
        let (written, clear) = write(std::slice::from_ref(&rows));
        let (_, encrypted) = write_with(&[rows], testing::encryption());
        assert_eq!(group_sizes(&clear.file).unwrap(), [10]);
        assert_eq!(group_sizes(&encrypted.file).unwrap(), [3, 3, 3, 1]);
        assert_eq!(read(&encrypted).unwrap(), written);
    }

    #[test]
    fn which_key_a_file_takes_is_known_from_its_last_bytes_and_what_they_point_at() {
        let row: Row = (1, 1, b"s".to_vec(), Vec::new(), vec![7; 100]);
        let looked = |encryption: Encryption| {
            let (_, Finished { file, .. }) = write_with(&[vec![row.clone()]], encryption);
            let range = crypt::label_range(&file[file.len() - 8..], file.len() as u64)?;
            let at = |end: u64| usize::try_from(end).unwrap();
            Some(crypt::check_range(&file[at(range.start)..at(range.end)]).is_ok())
        };
        assert_eq!(looked(testing::encryption()), Some(true));
        assert_eq!(looked(testing::locked()), Some(false));
        assert_eq!(looked(None), None);
    }

    #[test]
    fn what_there_is_no_key_of_is_told_from_damage() {
        let row: Row = (1, 1, b"secret.subject".to_vec(), Vec::new(), b"secret payload".to_vec());
        let (_, finished) = write_with(&[vec![row]], testing::locked());
        let text = String::from_utf8_lossy(&finished.file).into_owned();
        assert!(!text.contains("secret"));
        assert!(crypt::check(&finished.file).is_err());
        let mut damaged = finished.file.to_vec();
        // The name of its key is no name any more.
        let at = finished.file.windows(11).position(|at| at == b"masterKeyID").unwrap() + 14;
        damaged[at] = if damaged[at] == b'0' { b'1' } else { b'0' };
        assert!(crypt::check(&damaged).is_ok());
        assert!(read(&Finished { file: damaged.into(), ..finished }).is_err());
    }
}
