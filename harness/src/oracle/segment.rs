//! A segment: a Parquet file of five columns, checked against its record in the manifest.

use std::panic::{self, AssertUnwindSafe};

use bytes::Bytes;
use cim_core::archive::Segment;
use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::{ByteArray, ByteArrayType, DataType, Int64Type};
use parquet::file::reader::{FileReader as _, RowGroupReader, SerializedFileReader};
use sha2::{Digest as _, Sha256};

use super::fingerprint::{Fingerprint, Parts};

const COLUMNS: [&str; 5] = ["seq", "time", "subject", "headers", "payload"];

/// Returns 64 lowercase hex digits.
pub(super) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Returns the fingerprints of a segment's messages, in its order, checked against the manifest.
pub(super) fn read(segment: &Segment, bytes: Bytes, seed: u64) -> Result<Vec<Fingerprint>, String> {
    let hash = sha256(&bytes);
    if hash != segment.sha256.to_string() {
        return Err(format!("its SHA-256 is {hash}, the manifest says {}", segment.sha256));
    }
    if !segment.key.ends_with(&format!("-{}.parquet", &hash[..16])) {
        return Err("its key does not end in its hash".into());
    }
    if bytes.len() as u64 != segment.size {
        return Err(format!("it has {} bytes, the manifest says {}", bytes.len(), segment.size));
    }
    // The parquet crate panics at some contradicting lengths. The judge must go on.
    let parsed = panic::catch_unwind(AssertUnwindSafe(|| parse(bytes, seed)));
    let (fingerprints, volume) = parsed.unwrap_or_else(|_| Err(contradicting()))?;
    check(segment, &fingerprints, volume)?;
    Ok(fingerprints)
}

/// Returns the error for a file at which the parquet crate panics.
pub(super) fn contradicting() -> String {
    "its lengths contradict each other".to_owned()
}

/// Returns the fingerprints of a file's messages, and the bytes that they hold.
fn parse(bytes: Bytes, seed: u64) -> Result<(Vec<Fingerprint>, u64), String> {
    let file = SerializedFileReader::new(bytes).map_err(|e| e.to_string())?;
    let names: Vec<_> = file
        .metadata()
        .file_metadata()
        .schema_descr()
        .columns()
        .iter()
        .map(|c| c.name().to_owned())
        .collect();
    if names != COLUMNS {
        return Err(format!("its columns are {names:?}"));
    }
    let mut fingerprints = Vec::new();
    let mut volume = 0;
    for group in 0..file.num_row_groups() {
        let group = file.get_row_group(group).map_err(|e| e.to_string())?;
        rows(group.as_ref(), seed, &mut fingerprints, &mut volume)?;
    }
    Ok((fingerprints, volume))
}

fn rows(
    group: &dyn RowGroupReader,
    seed: u64,
    fingerprints: &mut Vec<Fingerprint>,
    volume: &mut u64,
) -> Result<(), String> {
    let (seqs, times) = (number(group, 0)?, number(group, 1)?);
    let (subjects, headers, payloads) = (text(group, 2)?, text(group, 3)?, text(group, 4)?);
    for row in 0..seqs.len() {
        let bytes = |column: &[ByteArray]| column[row].data().to_vec();
        let (subject, headers, payload) = (bytes(&subjects), bytes(&headers), bytes(&payloads));
        *volume += (subject.len() + headers.len() + payload.len()) as u64;
        let parts = Parts { subject: &subject, headers: &headers, payload: &payload };
        fingerprints.push(Fingerprint::of(seed, seqs[row].cast_unsigned(), times[row], &parts));
    }
    Ok(())
}

fn number(group: &dyn RowGroupReader, index: usize) -> Result<Vec<i64>, String> {
    column::<Int64Type>(group, index, COLUMNS[index])
}

fn text(group: &dyn RowGroupReader, index: usize) -> Result<Vec<ByteArray>, String> {
    column::<ByteArrayType>(group, index, COLUMNS[index])
}

/// Returns all values of a column; every row must have one.
pub(super) fn column<T: DataType>(
    group: &dyn RowGroupReader,
    index: usize,
    name: &str,
) -> Result<Vec<T::T>, String> {
    let rows = usize::try_from(group.metadata().num_rows()).map_err(|e| e.to_string())?;
    let reader = group.get_column_reader(index).map_err(|e| e.to_string())?;
    let nullable = group.metadata().column(index).column_descr().max_def_level() > 0;
    let mut reader = get_typed_column_reader::<T>(reader);
    // No space is reserved by the file's own claim of its size, which may be wrong.
    let (mut values, mut levels) = (Vec::new(), Vec::new());
    let mut read = 0;
    while read < rows {
        let levels = nullable.then_some(&mut levels);
        let (records, _, _) = reader
            .read_records(rows - read, levels, None, &mut values)
            .map_err(|e| format!("column `{name}`: {e}"))?;
        if records == 0 {
            break;
        }
        read += records;
    }
    if values.len() != rows {
        return Err(format!("column `{name}` has {} values in {rows} rows", values.len()));
    }
    Ok(values)
}

/// Checks messages against their segment's record in the manifest.
pub(super) fn check(
    segment: &Segment,
    fingerprints: &[Fingerprint],
    volume: u64,
) -> Result<(), String> {
    let (Some(first), Some(last)) = (fingerprints.first(), fingerprints.last()) else {
        return Err("it has no messages".into());
    };
    if fingerprints.len() as u64 != segment.messages {
        return Err(format!(
            "it has {} messages, the manifest says {}",
            fingerprints.len(),
            segment.messages
        ));
    }
    if !fingerprints.windows(2).all(|w| w[0].seq < w[1].seq) {
        return Err("its sequences do not ascend".into());
    }
    if first.seq < segment.first_seq || last.seq > segment.last_seq {
        return Err(format!(
            "it goes from {} to {}, the manifest says from {} to {}",
            first.seq, last.seq, segment.first_seq, segment.last_seq
        ));
    }
    if volume != segment.bytes {
        return Err(format!("it holds {volume} bytes, the manifest says {}", segment.bytes));
    }
    let nanos = |time: jiff::Timestamp| i64::try_from(time.as_nanosecond()).unwrap_or(i64::MAX);
    if (first.time, last.time) != (nanos(segment.first_time), nanos(segment.last_time)) {
        return Err("its times are not those of the manifest".into());
    }
    if last.seq != segment.last.seq {
        return Err(format!(
            "its last message is {}, the manifest says {}",
            last.seq, segment.last.seq
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cim_testing::{cases, corrupted, corruptions};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use proptest::prelude::*;

    use super::*;

    const SCHEMA: &str = "message segment {
        required int64 seq (INTEGER(64,false));
        required int64 time (TIMESTAMP(NANOS,true));
        required byte_array subject (STRING);
        required byte_array headers;
        required byte_array payload;
    }";

    fn parquet(seqs: &[i64]) -> Vec<u8> {
        let schema = Arc::new(parse_message_type(SCHEMA).unwrap());
        let properties = Arc::new(WriterProperties::builder().build());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let times: Vec<i64> = seqs.iter().map(|seq| seq * 1_000_000_000).collect();
        let texts: Vec<ByteArray> = seqs.iter().map(|_| ByteArray::from("text")).collect();
        for index in 0..5 {
            let mut column = group.next_column().unwrap().unwrap();
            match index {
                0 => column.typed::<Int64Type>().write_batch(seqs, None, None).unwrap(),
                1 => column.typed::<Int64Type>().write_batch(&times, None, None).unwrap(),
                _ => column.typed::<ByteArrayType>().write_batch(&texts, None, None).unwrap(),
            };
            column.close().unwrap();
        }
        group.close().unwrap();
        writer.into_inner().unwrap()
    }

    fn describe(bytes: &[u8], seqs: &[i64]) -> Segment {
        let hash = sha256(bytes);
        let (first, last) = (seqs[0], seqs[seqs.len() - 1]);
        let time = |seq: i64| jiff::Timestamp::from_second(seq).unwrap().to_string();
        let key =
            format!("v1/streams/S/segments/0001/{first:020}-{last:020}-{}.parquet", &hash[..16]);
        let segment = serde_json::json!({
            "key": key, "timeline": 1, "first_seq": first, "last_seq": last,
            "first_time": time(first), "last_time": time(last), "messages": seqs.len(),
            "bytes": seqs.len() * 12, "size": bytes.len(), "sha256": hash,
            "last": { "seq": last, "time": time(last), "sha256": hash },
        });
        serde_json::from_value(segment).unwrap()
    }

    fn refused(change: impl Fn(&mut Vec<u8>, &mut Segment)) -> String {
        let seqs = [3, 4, 9];
        let mut bytes = parquet(&seqs);
        let mut segment = describe(&bytes, &seqs);
        change(&mut bytes, &mut segment);
        read(&segment, bytes.into(), 0).unwrap_err()
    }

    #[test]
    fn a_good_segment_is_read() {
        let bytes = parquet(&[3, 4, 9]);
        let fingerprints = read(&describe(&bytes, &[3, 4, 9]), bytes.into(), 0).unwrap();
        let places: Vec<_> = fingerprints.iter().map(|p| (p.seq, p.time)).collect();
        assert_eq!(places, [(3, 3_000_000_000), (4, 4_000_000_000), (9, 9_000_000_000)]);
    }

    #[test]
    fn a_flipped_bit_and_a_cut_are_found_by_the_hash() {
        let hash = "its SHA-256 is ";
        assert!(refused(|bytes, _| bytes[20] ^= 1).starts_with(hash));
        assert!(refused(|bytes, _| bytes.truncate(100)).starts_with(hash));
    }

    #[test]
    fn a_segment_that_is_not_what_the_manifest_says_is_refused() {
        assert_eq!(refused(|_, s| s.messages = 4), "it has 3 messages, the manifest says 4");
        assert_eq!(refused(|_, s| s.bytes = 35), "it holds 36 bytes, the manifest says 35");
        assert!(
            refused(|_, s| s.size += 1)
                .ends_with(&format!("the manifest says {}", parquet(&[3, 4, 9]).len() + 1))
        );
        assert!(refused(|_, s| s.first_seq = 4).starts_with("it goes from 3 to 9, "));
        assert_eq!(refused(|_, s| s.last.seq = 8), "its last message is 9, the manifest says 8");
        assert_eq!(
            refused(|_, s| s.last_time = s.first_time),
            "its times are not those of the manifest"
        );
        assert_eq!(refused(|_, s| s.key.push('x')), "its key does not end in its hash");
        let other = [3, 9, 4];
        let (bytes, mut segment) = (parquet(&other), describe(&parquet(&other), &[3, 9, 4]));
        segment.last_seq = 9;
        assert_eq!(read(&segment, bytes.into(), 0).unwrap_err(), "its sequences do not ascend");
    }

    proptest! {
        #![proptest_config(cases(64))]

        #[test]
        fn a_changed_segment_is_refused(corruptions in corruptions()) {
            let seqs = [3, 4, 9];
            let bytes = parquet(&seqs);
            let changed = corrupted(&bytes, &corruptions);
            let same = changed == bytes;
            prop_assert_eq!(read(&describe(&bytes, &seqs), changed.into(), 0).is_ok(), same);
        }

        /// Forges segments with correct hashes: they are refused or read, and the judge goes on.
        #[test]
        fn a_forged_segment_is_refused_or_read(corruptions in corruptions()) {
            let seqs = [3, 4, 9];
            let changed = corrupted(&parquet(&seqs), &corruptions);
            drop(read(&describe(&changed, &seqs), changed.into(), 0));
        }
    }
}
