//! A Parquet file and its row groups, encrypted or not.

use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::ReaderProperties;
use parquet::file::reader::{ChunkReader, RowGroupReader};
use parquet::file::serialized_reader::SerializedRowGroupReader;

use crate::crypt::{FileKey, metadata};

/// A file in memory.
pub(super) struct File {
    bytes: Arc<Bytes>,
    metadata: ParquetMetaData,
    key: Option<FileKey>,
}

impl File {
    /// Reads what the end of a file says.
    pub(super) fn open(bytes: Bytes) -> Result<Self, ParquetError> {
        let (metadata, key) = metadata(&bytes, bytes.len() as u64)?;
        Ok(Self { bytes: Arc::new(bytes), metadata, key })
    }

    pub(super) fn metadata(&self) -> &ParquetMetaData {
        &self.metadata
    }

    /// Reads from a row group.
    pub(super) fn with_group<T>(
        &self,
        index: usize,
        read: impl FnOnce(&dyn RowGroupReader) -> Result<T, ParquetError>,
    ) -> Result<T, ParquetError> {
        with_group(&self.bytes, &self.metadata, self.key.as_ref(), index, read)
    }
}

/// Reads from a row group of a file, of which `source` has at least that; `key` opens it, where it is encrypted.
pub(super) fn with_group<R: ChunkReader + 'static, T>(
    source: &Arc<R>,
    metadata: &ParquetMetaData,
    key: Option<&FileKey>,
    index: usize,
    read: impl FnOnce(&dyn RowGroupReader) -> Result<T, ParquetError>,
) -> Result<T, ParquetError> {
    let (group, pages) = (metadata.row_group(index), metadata.page_index_for_row_group(index));
    let properties = Arc::new(ReaderProperties::builder().build());
    let Some(key) = key else {
        let source = Arc::clone(source);
        return read(&SerializedRowGroupReader::new(source, group, pages, properties)?);
    };
    let (group, bytes) = key.row_group(index, group, &**source)?;
    read(&SerializedRowGroupReader::new(Arc::new(bytes), &group, pages, properties)?)
}
