//! Reads a column of a row group.

use std::ops::Range;

use parquet::column::reader::get_typed_column_reader;
use parquet::data_type::DataType;
use parquet::errors::ParquetError;
use parquet::file::reader::RowGroupReader;

/// Reads all rows of a column.
pub(super) fn read_column<T: DataType>(
    group: &dyn RowGroupReader,
    index: usize,
    rows: usize,
) -> Result<Vec<T::T>, ParquetError> {
    read_rows::<T>(group, index, 0..rows)
}

/// Reads some rows of a column.
pub(super) fn read_rows<T: DataType>(
    group: &dyn RowGroupReader,
    index: usize,
    rows: Range<usize>,
) -> Result<Vec<T::T>, ParquetError> {
    let mut reader = get_typed_column_reader::<T>(group.get_column_reader(index)?);
    let skipped = if rows.start > 0 { reader.skip_records(rows.start)? } else { 0 };
    let mut values = Vec::new();
    let (mut read, mut last) = (0, 1);
    while read < rows.len() && last > 0 {
        (last, ..) = reader.read_records(rows.len() - read, None, None, &mut values)?;
        read += last;
    }
    if skipped == rows.start && values.len() == rows.len() {
        return Ok(values);
    }
    let (there, wanted) = (skipped + values.len(), rows.end);
    Err(ParquetError::General(format!("column {index} has {there} of {wanted} values")))
}
