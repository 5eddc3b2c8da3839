//! Facts that a file's footer says, without reading its rows.

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::statistics::Statistics;

use super::catch_panic::catch_panic;
use super::schema::TIME;
use crate::crypt::metadata;

/// Returns how many messages each row group of a file has, as its end says; `None` where that cannot be read.
pub fn group_sizes(file: &Bytes) -> Option<Vec<u64>> {
    let (groups, _) = catch_panic(|| metadata(file, file.len() as u64)).ok()?;
    groups.row_groups().iter().map(|group| u64::try_from(group.num_rows()).ok()).collect()
}

/// Reads the time range from the Parquet footer in `tail`, the end of a segment of `size` bytes. Returns `None` without
/// column statistics, and `Err(n)` if the last `n` bytes of the file are needed.
pub fn times(tail: &Bytes, size: u64) -> Result<Option<(i64, i64)>, u64> {
    let metadata = match catch_panic(|| metadata(tail, size)) {
        Ok((metadata, _)) => metadata,
        Err(ParquetError::NeedMoreData(needed)) => return Err(needed as u64),
        Err(_) => return Ok(None),
    };
    let of_group = metadata.row_groups().iter().map(|group| {
        match group.columns().get(TIME)?.statistics()? {
            Statistics::Int64(times) => Some((*times.min_opt()?, *times.max_opt()?)),
            _ => None,
        }
    });
    // One row group that does not say is enough not to know.
    let of_groups = of_group.collect::<Option<Vec<_>>>();
    let whole = |all: Vec<(i64, i64)>| {
        all.into_iter().reduce(|one, other| (one.0.min(other.0), one.1.max(other.1)))
    };
    Ok(of_groups.and_then(whole))
}
