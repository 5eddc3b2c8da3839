//! The manifest: the root of an export.

use std::collections::BTreeMap;

use cid::Cid;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::Word;

/// The word that says what a manifest is of.
pub(crate) const FORMAT: &str = "cim-information-units";
/// The version of its form.
pub(crate) const VERSION: u32 = 1;

/// A unit and all that belongs to it: its versions, the units that it links to, and so on, their types and content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    /// [`FORMAT`].
    pub(crate) format: String,
    /// [`VERSION`].
    pub(crate) version: u32,
    /// The unit.
    pub(crate) unit: Word,
    /// Versions of types and units in the order in which they were made.
    pub(crate) history: Vec<Step>,
    /// The links between the units.
    pub(crate) links: Vec<Link>,
    /// The content by content id.
    pub(crate) contents: BTreeMap<String, Content>,
}

/// A version of a type or a unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Step {
    /// Of a type.
    Type {
        /// The type.
        name: Word,
        /// Its JSON Schema.
        schema: Value,
    },
    /// Of a unit: its record.
    Unit {
        /// The record.
        record: Cid,
    },
}

/// A link from a unit to another one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Link {
    /// The unit that the link leads from.
    pub(crate) unit: Word,
    /// The link's type.
    pub(crate) relation: Word,
    /// The unit that it leads to.
    pub(crate) target: Word,
}

/// Some content.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Content {
    /// The content as a file of UnixFS, or as one raw block.
    pub(crate) file: Cid,
    /// The list of its chunks: a block of links.
    pub(crate) chunks: Cid,
    /// Its bytes.
    pub(crate) size: u64,
}
