//! Segments: messages as Parquet and back.
//!
//! A segment is written row group by row group while messages arrive, so that of the bytes in memory
//! only the last few MiB are not yet compressed, and read row group by row group, so that a reader
//! holds one segment's file and one row group's rows.
//!
//! It owns the columns, the row groups, and what a file must be to be believed. It does not own which segments there
//! are (cim-core's archive), where they lie (`s3`), nor the keys that open them (`crypt`).

// The way down: messages into columns, columns into a file.
mod columns; // messages in memory
mod schema; // the five columns
mod write; // row group by row group
// Objects that several streams share.
mod shared; // rows of several streams
// The way back: a file from outside, whose reading must not panic.
mod catch_panic; // panics of the parquet crate
mod column; // values of one
mod error; // damaged, unreadable, other than stated
mod file; // metadata and row groups
mod footer; // counts and times without rows
mod part; // one stream out of a shared object
mod raw; // rows as they are, for repair
mod read; // a segment, checked
mod read_shared; // an object, part by part

pub use columns::{Columns, Message};
pub use error::SegmentError;
pub use footer::{group_sizes, times};
pub use part::{Footer, Window, read_parts};
pub use raw::{RawRow, raw_rows};
pub use read::Rows;
pub use read_shared::SharedReader;
pub use shared::{Batch, SharedWriter, content, entry_text};
pub use write::{Finished, SegmentWriter};
