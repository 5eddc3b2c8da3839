//! Segments: messages as Parquet and back.
//!
//! A segment is written row group by row group while messages arrive, so that of the bytes in memory
//! only the last few MiB are not yet compressed, and read row group by row group, so that a reader
//! holds one segment's file and one row group's rows.

mod catch_panic;
mod columns;
mod file;
mod part;
mod raw;
mod read;
mod schema;
mod shared;
mod write;

pub use columns::{Columns, Message};
pub use part::{Footer, Window, read_parts};
pub use raw::{RawRow, raw_rows};
pub use read::{Rows, SegmentError, SharedReader, group_sizes, times};
pub use shared::{Batch, SharedWriter, content, entry_text};
pub use write::{Finished, SegmentWriter};
