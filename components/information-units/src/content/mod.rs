//! Content: cut into chunks where its bytes say so, each in the object store once, and checked at every read.
//!
//! A chunk is an object named by its content id. Content of one chunk is that chunk. Content of several is, beside them,
//! a list of theirs (`<content id>.chunks`), written last: content that has a list, or is a chunk, is there as a whole.
//!
//! Chunks are cut by content (FastCDC): where bytes are inserted, those behind them are cut as before, so versions of a
//! document share their chunks. Of fixed sizes all that follow would be new.

mod bucket;
mod cut;
mod error;
mod list;
mod read;
mod write;

pub(crate) use bucket::Bucket;
pub(crate) use error::ContentError;
pub(crate) use list::{Chunk, List};
pub(crate) use read::Got;

use bucket::Source;

/// Content in an object store, and the place that it is healed from.
pub(crate) struct Contents {
    bucket: Bucket,
    second: Option<Box<dyn Source>>,
}

impl Contents {
    pub(crate) fn new(bucket: Bucket, second: Option<Bucket>) -> Self {
        let second = second.map(|second| Box::new(second) as Box<dyn Source>);
        Self { bucket, second }
    }
}
