//! The event `unit.updated`, version 1.

use std::num::NonZeroU32;

use cim_core::names::ContentId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Body, Word};

/// A unit has a new version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Updated {
    /// The unit.
    pub unit: Word,
    /// The id of the new version: the CID of the version's record in DAG-CBOR.
    pub version: ContentId,
    /// The id of the version before.
    pub previous: ContentId,
    /// The version of the type that its metadata was checked against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_version: Option<NonZeroU32>,
    /// The new version, as a whole.
    #[serde(flatten)]
    pub body: Body,
}
