//! Names of capabilities.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// Something that a component can do: `unit.create`, `s3`, `full-text`.
///
/// 1 to 63 lowercase letters, digits, `-`, `_` and `.`, beginning and ending with a letter or digit: a key of a bucket
/// and a token of a file name alike.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Capability(String);

/// A text that names no capability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoCapability(String);

impl fmt::Display for NoCapability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no capability: it is 1 to 63 lowercase letters, digits, `-`, `_` and single `.`, and begins and ends with a letter or digit",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for NoCapability {}

impl Capability {
    /// Returns the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Capability {
    type Error = NoCapability;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let bytes = text.as_bytes();
        let ends =
            bytes.first().is_some_and(|c| plain(*c)) && bytes.last().is_some_and(|c| plain(*c));
        let inner = bytes.iter().all(|c| plain(*c) || b"-_.".contains(c));
        if ends && inner && text.len() <= 63 && !text.contains("..") {
            Ok(Self(text))
        } else {
            Err(NoCapability(text.chars().take(64).collect()))
        }
    }
}

impl JsonSchema for Capability {
    fn schema_name() -> Cow<'static, str> {
        "Capability".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "Something that a component can do.",
            "minLength": 1,
            "maxLength": 63,
            "pattern": r"^[a-z0-9]([a-z0-9_-]|\.[a-z0-9_-])*$",
        })
    }
}
