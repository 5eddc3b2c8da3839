//! The event `unit.created`, version 1.

use std::num::NonZeroU32;

use cim_core::names::ContentId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Body, Word};

/// There is a new unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Created {
    /// The unit.
    pub unit: Word,
    /// The id of its first version: the CID of the version's record in DAG-CBOR.
    pub version: ContentId,
    /// The version of the type that its metadata was checked against.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub type_version: Option<NonZeroU32>,
    /// Its first version.
    #[serde(flatten)]
    pub body: Body,
}
