//! Objects of a journal that a disk has damaged.

use bytes::Bytes;
use parquet::file::metadata::{ParquetMetaDataReader, RowGroupMetaData};

/// Returns a Parquet object in which a bit of the first payloads has flipped.
pub(crate) fn rotten(object: &Bytes) -> Vec<u8> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(object).unwrap();
    let (start, length) = metadata.row_group(0).columns().last().unwrap().byte_range();
    let mut bytes = object.to_vec();
    bytes[usize::try_from(start + length).unwrap() - 4] ^= 1;
    bytes
}

/// Returns a Parquet object in which every byte of every row has changed, or `None` where it has no rows.
pub(crate) fn rotten_throughout(object: &Bytes) -> Option<Vec<u8>> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(object).unwrap();
    let mut bytes = object.to_vec();
    for column in metadata.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        let (start, length) = column.byte_range();
        let range = usize::try_from(start).unwrap()..usize::try_from(start + length).unwrap();
        for byte in &mut bytes[range] {
            *byte ^= 1;
        }
    }
    (metadata.num_row_groups() > 0).then_some(bytes)
}

/// Returns an entry of which a bit of what it decides has flipped; its messages are whole.
pub(crate) fn flipped(object: &Bytes) -> Vec<u8> {
    let mut bytes = object.to_vec();
    let text = bytes.windows(9).rposition(|w| w == b"cim.entry").unwrap();
    bytes[text + 200] ^= 1;
    bytes
}
