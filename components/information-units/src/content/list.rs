//! The list of the chunks of some content.

use cim_core::names::ContentId;
use serde::{Deserialize, Serialize};

/// The chunks of some content, in its order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct List {
    /// The content's bytes.
    pub(crate) size: u64,
    /// Its chunks.
    pub(crate) chunks: Vec<Chunk>,
}

/// A chunk in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Chunk {
    /// Its id.
    pub(crate) id: ContentId,
    /// Its bytes.
    pub(crate) size: u64,
}
