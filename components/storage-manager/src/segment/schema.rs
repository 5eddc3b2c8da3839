//! The one Parquet schema, as docs/archive.md describes it.

use std::sync::{Arc, LazyLock};

use parquet::basic::{Compression, Encoding, ZstdLevel};
use parquet::encryption::encrypt::FileEncryptionProperties;
use parquet::file::properties::{
    EnabledStatistics, WriterProperties, WriterPropertiesBuilder, WriterVersion,
};
use parquet::schema::parser::parse_message_type;
use parquet::schema::types::{ColumnPath, Type};

/// Column positions.
pub(super) const SEQ: usize = 0;
pub(super) const TIME: usize = 1;
pub(super) const SUBJECT: usize = 2;
pub(super) const HEADERS: usize = 3;
pub(super) const PAYLOAD: usize = 4;

pub(super) static SCHEMA: LazyLock<Arc<Type>> = LazyLock::new(|| {
    let schema = "
        message segment {
            required int64 seq (INTEGER(64, false));
            required int64 time (TIMESTAMP(NANOS, true));
            required binary subject (STRING);
            required binary headers;
            required binary payload;
        }";
    Arc::new(parse_message_type(schema).expect("the schema above is valid"))
});

/// Returns the properties of a file, with a zstd level: fresh segments want speed, sealed ones are kept for ever.
pub(super) fn properties(level: i32, encryption: Encryption) -> Arc<WriterProperties> {
    Arc::new(common(level, encryption).build())
}

/// The encryption of a file, if there is one.
pub(super) type Encryption = Option<Arc<FileEncryptionProperties>>;

/// Returns the properties of objects that several streams share.
pub(super) fn shared_properties(level: i32, encryption: Encryption) -> Arc<WriterProperties> {
    let column = |name: &str| ColumnPath::from(name);
    let properties = common(level, encryption)
        .set_column_dictionary_enabled(column("stream"), true)
        .set_column_encoding(column("timeline"), Encoding::DELTA_BINARY_PACKED)
        .set_column_statistics_enabled(column("stream"), EnabledStatistics::Chunk);
    Arc::new(properties.build())
}

fn common(level: i32, encryption: Encryption) -> WriterPropertiesBuilder {
    let level = ZstdLevel::try_new(level).expect("levels here are constants");
    let column = |name: &str| ColumnPath::from(name);
    let properties = WriterProperties::builder()
        .set_writer_version(WriterVersion::PARQUET_2_0)
        .set_created_by(concat!("cim-storage-manager ", env!("CARGO_PKG_VERSION")).into())
        .set_compression(Compression::ZSTD(level))
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        // One page per megabyte keeps zstd's window full: small pages cost a third on JSON.
        .set_data_page_size_limit(1 << 20)
        .set_column_encoding(column("seq"), Encoding::DELTA_BINARY_PACKED)
        .set_column_encoding(column("time"), Encoding::DELTA_BINARY_PACKED)
        .set_column_dictionary_enabled(column("subject"), true)
        .set_column_encoding(column("headers"), Encoding::DELTA_LENGTH_BYTE_ARRAY)
        .set_column_encoding(column("payload"), Encoding::DELTA_LENGTH_BYTE_ARRAY);
    let properties = match encryption {
        // DuckDB 2.0.0 decrypts pages of the first version alone, and of a column of a row group the first one.
        Some(encryption) => properties
            .set_writer_version(WriterVersion::PARQUET_1_0)
            .set_data_page_size_limit(usize::MAX)
            .set_data_page_row_count_limit(usize::MAX)
            .set_dictionary_page_size_limit(usize::MAX)
            .with_file_encryption_properties(encryption),
        None => properties,
    };
    let statistics = ["seq", "time", "subject"];
    statistics.iter().fold(properties, |p, name| {
        p.set_column_statistics_enabled(column(name), EnabledStatistics::Chunk)
    })
}
