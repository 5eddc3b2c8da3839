//! Types: `type.register`, its event `type.registered`, and `type.validate`, version 1.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::Word;

/// Asks for a type, or for a new version of it. Asking again for the newest changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RegisterType {
    /// The type.
    #[serde(rename = "type")]
    pub kind: Word,
    /// The JSON Schema (2020-12 unless `$schema` says another) that metadata of the type has to meet.
    pub schema: Value,
    /// The version that the caller knows as the newest; absent for a new type.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected: Option<NonZeroU32>,
}

/// There is a type, or a new version of one. Units keep the version that they were checked against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TypeRegistered {
    /// The type.
    #[serde(rename = "type")]
    pub kind: Word,
    /// Its version; the first is 1.
    pub version: NonZeroU32,
    /// Its JSON Schema.
    pub schema: Value,
}

/// Asks if metadata meets the newest version of a type.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Validate {
    /// The type.
    #[serde(rename = "type")]
    pub kind: Word,
    /// The metadata.
    #[serde(default)]
    pub metadata: Map<String, Value>,
}

/// The result of a check of metadata.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Validated {
    /// The version of the type that it was checked against.
    pub version: NonZeroU32,
    /// Reports whether it meets the schema.
    pub valid: bool,
    /// The problems.
    pub problems: Vec<String>,
}
