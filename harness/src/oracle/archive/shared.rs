//! An object that streams share, a journal's entry or a merged object, read in parts.

use std::panic::{self, AssertUnwindSafe};

use bytes::buf::Reader;
use bytes::{Buf as _, Bytes};
use cim_core::archive::{Part, Segment};
use parquet::data_type::{ByteArrayType, Int32Type, Int64Type};
use parquet::errors::ParquetError;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, ParquetMetaDataReader};
use parquet::file::reader::{ChunkReader, FileReader as _, Length, SerializedFileReader};
use sha2::{Digest as _, Sha256};

use crate::oracle::fingerprint::{Fingerprint, Parts};
use crate::oracle::segment::{check, column, contradicting};

const COLUMNS: [&str; 7] = ["stream", "timeline", "seq", "time", "subject", "headers", "payload"];
/// The key of a journal's entry in a file's metadata.
const ENTRY: &str = "cim.entry";
/// The last bytes of every Parquet file, after its metadata's length in four bytes.
const MAGIC: &[u8] = b"PAR1";
const LAST: usize = 8;

/// A Parquet file, read in parts.
#[derive(Debug, Clone)]
pub(super) struct Shared {
    bytes: Sparse,
    metadata: ParquetMetaData,
}

/// Some bytes of a file and their offsets in it.
#[derive(Debug, Clone)]
struct Sparse {
    size: u64,
    pieces: Vec<(u64, Bytes)>,
}

/// Returns the length of a file's footer, from its last bytes.
pub(super) fn footer(end: &[u8], size: u64) -> Result<u64, String> {
    let none = || "is cut short, or no Parquet file".to_owned();
    let last = end.len().checked_sub(LAST).map(|at| &end[at..]).ok_or_else(none)?;
    let (length, magic) = last.split_at(4);
    let length = u32::from_le_bytes(length.try_into().map_err(|_| none())?);
    let length = u64::from(length) + LAST as u64;
    if magic == MAGIC && length <= size { Ok(length) } else { Err(none()) }
}

impl Shared {
    /// Opens a whole object.
    pub(super) fn whole(bytes: Bytes) -> Result<Self, String> {
        Self::open(bytes.len() as u64, 0, bytes)
    }

    /// Opens an object of which the end is given, from `from` on.
    pub(super) fn open(size: u64, from: u64, end: Bytes) -> Result<Self, String> {
        let length = usize::try_from(footer(&end, size)?).unwrap_or(usize::MAX);
        let start = end.len().checked_sub(length).ok_or("is longer than the part that was read")?;
        let text = &end[start..end.len() - LAST];
        let decode = AssertUnwindSafe(|| ParquetMetaDataReader::decode_metadata(text));
        let metadata = panic::catch_unwind(decode).map_err(|_| contradicting())?;
        let metadata = metadata.map_err(|e| format!("has metadata that cannot be read: {e}"))?;
        Ok(Self { bytes: Sparse { size, pieces: vec![(from, end)] }, metadata })
    }

    /// Returns the journal's entry in its metadata.
    pub(super) fn entry(&self) -> Result<&str, String> {
        let pairs = self.metadata.file_metadata().key_value_metadata().into_iter().flatten();
        let mut entries =
            pairs.filter(|pair| pair.key == ENTRY).filter_map(|pair| pair.value.as_deref());
        match (entries.next(), entries.next()) {
            (Some(entry), None) => Ok(entry),
            (None, _) => Err("has no entry in its metadata".into()),
            (Some(_), Some(_)) => Err("has two entries in its metadata".into()),
        }
    }

    /// Returns the byte range of some row groups.
    pub(super) fn span(&self, group: u32, groups: u32) -> Result<(u64, u64), String> {
        let there = self.metadata.num_row_groups();
        let (first, last) = (group as usize, group as usize + groups as usize);
        if groups == 0 || last > there {
            return Err(format!("it has {there} row groups, the part is in {first} to {last}"));
        }
        let ranges = AssertUnwindSafe(|| {
            let columns = (first..last).flat_map(|at| self.metadata.row_group(at).columns());
            let ranges = columns.map(ColumnChunkMetaData::byte_range);
            ranges.fold((u64::MAX, 0), |(from, to), (start, length)| {
                (from.min(start), to.max(start.saturating_add(length)))
            })
        });
        let (from, to) = panic::catch_unwind(ranges).map_err(|_| contradicting())?;
        if from < to && to <= self.bytes.size { Ok((from, to)) } else { Err(contradicting()) }
    }

    pub(super) fn has(&self, from: u64, to: u64) -> bool {
        let pieces = self.bytes.pieces.iter();
        pieces.map(|(at, bytes)| (*at, at + bytes.len() as u64)).any(|(a, b)| a <= from && to <= b)
    }

    pub(super) fn add(&mut self, from: u64, bytes: Bytes) {
        self.bytes.pieces.insert(0, (from, bytes));
    }

    /// Returns the fingerprints of a part's messages, in its order, checked against the entry.
    pub(super) fn read(
        self,
        segment: &Segment,
        part: &Part,
        seed: u64,
    ) -> Result<Vec<Fingerprint>, String> {
        self.span(part.group, part.groups)?;
        let parse = AssertUnwindSafe(|| parse(self.bytes, segment, part, seed));
        let found = panic::catch_unwind(parse).unwrap_or_else(|_| Err(contradicting()))?;
        let hash = hex::encode(found.content.finalize());
        if hash != segment.sha256.to_string() {
            return Err(format!(
                "the hash of its messages is {hash}, the entry says {}",
                segment.sha256
            ));
        }
        if hex::encode(found.last) != segment.last.sha256.to_string() {
            return Err("its last message is not the one that the entry names".into());
        }
        check(segment, &found.fingerprints, found.volume)?;
        Ok(found.fingerprints)
    }
}

/// The content of a part.
struct Found {
    fingerprints: Vec<Fingerprint>,
    volume: u64,
    content: Sha256,
    last: [u8; 32],
}

fn parse(bytes: Sparse, segment: &Segment, part: &Part, seed: u64) -> Result<Found, String> {
    let file = SerializedFileReader::new(bytes).map_err(|e| e.to_string())?;
    let schema = file.metadata().file_metadata().schema_descr();
    let names: Vec<_> = schema.columns().iter().map(|c| c.name().to_owned()).collect();
    if names != COLUMNS {
        return Err(format!("its columns are {names:?}"));
    }
    let mut found =
        Found { fingerprints: Vec::new(), volume: 0, content: Sha256::new(), last: [0; 32] };
    for group in part.group..part.group + part.groups {
        let group = file.get_row_group(group as usize).map_err(|e| e.to_string())?;
        let group = group.as_ref();
        let text = |at| column::<ByteArrayType>(group, at, COLUMNS[at]);
        let number = |at| column::<Int64Type>(group, at, COLUMNS[at]);
        let (streams, timelines) = (text(0)?, column::<Int32Type>(group, 1, COLUMNS[1])?);
        let (seqs, times) = (number(2)?, number(3)?);
        let (subjects, headers, payloads) = (text(4)?, text(5)?, text(6)?);
        for row in 0..seqs.len() {
            let (seq, time) = (seqs[row].cast_unsigned(), times[row]);
            let own = streams[row].data() == part.stream.as_str().as_bytes()
                && timelines[row].cast_unsigned() == segment.timeline
                && (segment.first_seq..=segment.last_seq).contains(&seq);
            if own {
                let [subject, headers, payload] =
                    [&subjects, &headers, &payloads].map(|column| column[row].data());
                found.take(seed, seq, time, &Parts { subject, headers, payload });
            }
        }
    }
    Ok(found)
}

impl Found {
    fn take(&mut self, seed: u64, seq: u64, time: i64, parts: &Parts<'_>) {
        self.last = message_hash(seq, time, parts);
        self.content.update(self.last);
        let Parts { subject, headers, payload } = parts;
        self.volume += (subject.len() + headers.len() + payload.len()) as u64;
        self.fingerprints.push(Fingerprint::of(seed, seq, time, parts));
    }
}

/// Returns the hash of one message: over its sequence, its time, and its parts, each led by its
/// length.
fn message_hash(seq: u64, time: i64, parts: &Parts<'_>) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(seq.to_le_bytes());
    hash.update(time.to_le_bytes());
    for part in [parts.subject, parts.headers, parts.payload] {
        hash.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_le_bytes());
        hash.update(part);
    }
    hash.finalize().into()
}

impl Sparse {
    fn from(&self, start: u64) -> Result<Bytes, ParquetError> {
        let at = |(from, bytes): &(u64, Bytes)| {
            let skip = usize::try_from(start.checked_sub(*from)?).ok()?;
            (skip < bytes.len()).then(|| bytes.slice(skip..))
        };
        let found = self.pieces.iter().filter_map(at).max_by_key(Bytes::len);
        found.ok_or_else(|| ParquetError::EOF(format!("byte {start} was not read")))
    }
}

impl Length for Sparse {
    fn len(&self) -> u64 {
        self.size
    }
}

impl ChunkReader for Sparse {
    type T = Reader<Bytes>;

    fn get_read(&self, start: u64) -> Result<Self::T, ParquetError> {
        Ok(self.from(start)?.reader())
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes, ParquetError> {
        let bytes = self.from(start)?;
        if bytes.len() < length {
            return Err(ParquetError::EOF(format!("{length} bytes from {start} were not read")));
        }
        Ok(bytes.slice(..length))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cim_core::archive::LastMessage;
    use cim_testing::{cases, corrupted, corruptions};
    use parquet::data_type::ByteArray;
    use parquet::file::metadata::KeyValue;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use proptest::prelude::*;

    use super::*;

    const SCHEMA: &str = "message shared {
        required byte_array stream (STRING);
        required int32 timeline (INTEGER(32,false));
        required int64 seq (INTEGER(64,false));
        required int64 time (TIMESTAMP(NANOS,true));
        required byte_array subject (STRING);
        required byte_array headers;
        required byte_array payload;
    }";

    /// Makes an object with messages 3, 4 and 9 of `S`, each of its own text.
    fn object() -> Vec<u8> {
        let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
        let properties = Arc::new(WriterProperties::builder().build());
        let mut file = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
        let mut group = file.next_row_group().unwrap();
        for index in 0..7 {
            let mut column = group.next_column().unwrap().unwrap();
            let texts = [3, 4, 9].map(|seq| ByteArray::from(format!("text {seq}").as_str()));
            let streams = [(); 3].map(|()| ByteArray::from("S"));
            match index {
                0 => column.typed::<ByteArrayType>().write_batch(&streams, None, None).unwrap(),
                1 => column.typed::<Int32Type>().write_batch(&[1; 3], None, None).unwrap(),
                2 | 3 => column.typed::<Int64Type>().write_batch(&[3, 4, 9], None, None).unwrap(),
                _ => column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap(),
            };
            column.close().unwrap();
        }
        group.close().unwrap();
        file.append_key_value_metadata(KeyValue::new(ENTRY.to_owned(), "the entry".to_owned()));
        file.into_inner().unwrap()
    }

    fn segment() -> Segment {
        let hash = |seq: u64| {
            let text = format!("text {seq}");
            let text = text.as_bytes();
            cim_core::archive::message_hash(seq, seq.cast_signed(), text, text, text)
        };
        let hashes: Vec<u8> = [3, 4, 9].iter().flat_map(|seq| *hash(*seq).as_bytes()).collect();
        let time = |at| jiff::Timestamp::from_nanosecond(at).unwrap();
        Segment {
            key: String::new(),
            timeline: 1,
            first_seq: 3,
            last_seq: 9,
            first_time: time(3),
            last_time: time(9),
            messages: 3,
            bytes: 3 * 3 * 6,
            size: 0,
            sha256: cim_core::archive::Sha256::of(&hashes),
            last: LastMessage { seq: 9, time: time(9), sha256: hash(9) },
            sealed: false,
            part: Some(Part { stream: "S".parse().unwrap(), group: 0, groups: 1 }),
        }
    }

    /// Reads the sequences of the part, or the error; and the entry.
    fn read(bytes: Vec<u8>) -> (Result<Vec<u64>, String>, Result<String, String>) {
        let segment = segment();
        let part = segment.part.as_ref().unwrap();
        let shared = Shared::whole(bytes.into());
        let entry =
            shared.as_ref().map_err(Clone::clone).and_then(|s| s.entry().map(str::to_owned));
        let fingerprints = shared.and_then(|shared| shared.read(&segment, part, 0));
        (
            fingerprints.map(|fingerprints| {
                fingerprints.iter().map(|fingerprint| fingerprint.seq).collect()
            }),
            entry,
        )
    }

    #[test]
    fn a_good_object_is_read() {
        assert_eq!(read(object()), (Ok(vec![3, 4, 9]), Ok("the entry".to_owned())));
    }

    proptest! {
        #![proptest_config(cases(64))]

        /// Changes bytes at random: the object is refused, or read as it was written.
        #[test]
        fn a_changed_object_is_refused_or_as_it_was(corruptions in corruptions()) {
            let (found, _) = read(corrupted(&object(), &corruptions));
            if let Ok(found) = found {
                prop_assert_eq!(found, [3, 4, 9]);
            }
        }
    }
}
