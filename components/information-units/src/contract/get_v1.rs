//! The request `unit.get` and its reply, version 1.

use cim_core::names::ContentId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Body, Word};

/// Asks for one version of a unit, the newest by default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The unit.
    pub unit: Word,
    /// The version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<ContentId>,
}

/// A unit in one of its versions, with its links and its chain of versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct UnitReply {
    /// The unit.
    pub unit: Word,
    /// The version's id.
    pub version: ContentId,
    /// The version.
    #[serde(flatten)]
    pub body: Body,
    /// The units that it links to.
    pub links: Vec<Edge>,
    /// The units that link to it.
    pub linked_from: Vec<Edge>,
    /// All versions, the oldest first; each has the one before as its previous.
    pub versions: Vec<Revision>,
}

/// A link, seen from one of its ends.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
pub struct Edge {
    /// The link's type.
    pub relation: Word,
    /// The unit at the other end.
    pub unit: Word,
}

/// One version in a chain.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Revision {
    /// The version's id.
    pub version: ContentId,
    /// The time of its event.
    pub time: String,
    /// Its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentId>,
}
