//! Versions, and what a component needs of others.

use std::borrow::Cow;

use cim_core::names::NodeName;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// A version: semantic versioning 2.0.0.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Version(pub semver::Version);

/// A range of versions, as Cargo writes it: `^1.2`, `>=1.2, <3`. A pre-release matches only a range that names one of
/// its version.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Range(pub semver::VersionReq);

/// Another component that a component needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
pub struct Requirement {
    /// The other component's name.
    pub component: NodeName,
    /// The versions of it that do.
    pub version: Range,
}

impl JsonSchema for Version {
    fn schema_name() -> Cow<'static, str> {
        "Version".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A version: semantic versioning 2.0.0.",
            "pattern": r"^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?$",
        })
    }
}

impl JsonSchema for Range {
    fn schema_name() -> Cow<'static, str> {
        "Range".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A range of versions, as Cargo writes it: `^1.2`, `>=1.2, <3`, `*`.",
            "minLength": 1,
        })
    }
}
