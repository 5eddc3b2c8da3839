//! What lies in an object, whatever an archive says of it: rows that count nowhere any more lie there too.

use bytes::Bytes;
use parquet::data_type::{ByteArray, ByteArrayType, Int32Type, Int64Type};
use parquet::file::reader::RowGroupReader;

use super::catch_panic::catch_panic;
use super::column::read_rows;
use super::error::SegmentError;
use super::file::File;
use super::schema::{SCHEMA, SEQ, SUBJECT};
use super::shared;

/// A row of any object that holds messages.
#[derive(Debug, Clone, Copy)]
pub struct RawRow<'a> {
    /// Its stream and timeline, where the object says them: a segment with a file of its own has them in its key.
    pub of: Option<(&'a [u8], u32)>,
    /// Its sequence.
    pub seq: u64,
    /// Its subject.
    pub subject: &'a [u8],
}

/// The columns of a row group that tell rows apart.
struct Group {
    of: Option<(Vec<ByteArray>, Vec<i32>)>,
    seq: Vec<i64>,
    subject: Vec<ByteArray>,
}

/// Hands every row of an object to `each`, in the order in which they lie there. No hash is looked at.
///
/// # Errors
/// When it is no object that holds messages, or damaged.
pub fn raw_rows(
    key: &str,
    file: &Bytes,
    mut each: impl FnMut(RawRow<'_>),
) -> Result<(), SegmentError> {
    let unreadable = |source| SegmentError::Unreadable { key: key.into(), source };
    let reader = catch_panic(|| File::open(file.clone())).map_err(unreadable)?;
    let schema = reader.metadata().file_metadata().schema();
    let is_shared = schema == shared::SCHEMA.as_ref();
    if !is_shared && schema != SCHEMA.as_ref() {
        let what = "it has other columns".into();
        return Err(SegmentError::Contradiction { key: key.into(), what });
    }
    let before = if is_shared { shared::BEFORE } else { 0 };
    for index in 0..reader.metadata().num_row_groups() {
        let read = |group: &dyn RowGroupReader| {
            let all = 0..usize::try_from(group.metadata().num_rows()).unwrap_or_default();
            let of = if is_shared {
                let streams = read_rows::<ByteArrayType>(group, shared::STREAM, all.clone())?;
                Some((streams, read_rows::<Int32Type>(group, shared::TIMELINE, all.clone())?))
            } else {
                None
            };
            let seq = read_rows::<Int64Type>(group, before + SEQ, all.clone())?;
            let subject = read_rows::<ByteArrayType>(group, before + SUBJECT, all)?;
            Ok(Group { of, seq, subject })
        };
        let group = catch_panic(|| reader.with_group(index, read)).map_err(unreadable)?;
        for (at, (seq, subject)) in group.seq.iter().zip(&group.subject).enumerate() {
            let of = group.of.as_ref();
            let of =
                of.map(|(streams, timelines)| (streams[at].data(), timelines[at].cast_unsigned()));
            each(RawRow { of, seq: seq.cast_unsigned(), subject: subject.data() });
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::columns::{Columns, Message};
    use super::super::shared::{Batch, SharedWriter};
    use super::super::write::SegmentWriter;
    use super::*;

    fn columns(seqs: &[u64]) -> Columns {
        let mut columns = Columns::default();
        for seq in seqs {
            let subject = format!("s.{seq}").into_bytes();
            columns.push(Message {
                seq: *seq,
                time: 1,
                subject: &subject,
                headers: b"",
                payload: b"p",
            });
        }
        columns
    }

    /// A row's stream and timeline, sequence and subject.
    type Row = (Option<(String, u32)>, u64, String);

    fn found(file: &Bytes) -> Vec<Row> {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let mut found = Vec::new();
        raw_rows("k", file, |row| {
            let of = row.of.map(|(stream, timeline)| (text(stream), timeline));
            found.push((of, row.seq, text(row.subject)));
        })
        .unwrap();
        found
    }

    #[test]
    fn every_row_is_seen_whatever_counts() {
        let mut writer = SharedWriter::new(1);
        for (stream, seqs) in [("A", &[1, 2][..]), ("B", &[7])] {
            let batch =
                Batch { stream: stream.parse().unwrap(), timeline: 3, columns: columns(seqs) };
            writer.append(batch).unwrap();
        }
        let of = |stream: &str, seq| (Some((stream.to_owned(), 3)), seq, format!("s.{seq}"));
        let shared = writer.finish(None).unwrap();
        assert_eq!(found(&shared), [of("A", 1), of("A", 2), of("B", 7)]);

        let mut writer = SegmentWriter::new(1);
        writer.append(columns(&[4, 9])).unwrap();
        let file = writer.finish(&"A".parse().unwrap(), 1, false).unwrap().file;
        assert_eq!(found(&file), [(None, 4, "s.4".into()), (None, 9, "s.9".into())]);
        assert!(raw_rows("k", &file.slice(..file.len() - 9), |_| {}).is_err());
    }
}
