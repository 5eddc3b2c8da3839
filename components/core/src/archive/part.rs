//! A segment that is a part of an object.

use crate::names::StreamName;

/// The place of a segment that shares its object with others: rows whose `stream` and `timeline` are the
/// segment's and whose `seq` is within its bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// The stream.
    pub stream: StreamName,
    /// The first row group that has rows of it.
    pub group: u32,
    /// The number of row groups that have.
    pub groups: u32,
}
