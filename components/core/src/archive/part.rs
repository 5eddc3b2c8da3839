//! A segment that is a part of an object.

use crate::names::StreamName;

/// Where a segment lies that shares its object with others: rows whose `stream` and `timeline` are the
/// segment's and whose `seq` is within its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The stream.
    pub stream: StreamName,
    /// The first row group that has rows of it.
    pub group: u32,
    /// How many row groups have.
    pub groups: u32,
}
