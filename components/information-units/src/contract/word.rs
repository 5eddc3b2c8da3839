//! Words: the names of units, types, relations and tags.

use std::borrow::Cow;
use std::fmt;

use cim_core::names::AggregateId;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};

/// The most bytes of a word.
const MAX: usize = 127;

/// A name that a caller gives: of a unit, a type, a relation or a tag.
///
/// 1 to 127 lowercase letters, digits, `-`, `_` and single `.`, beginning and ending with a letter or digit: a key of
/// a bucket as well.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String")]
pub struct Word(String);

/// A text that is no word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoWord(String);

impl fmt::Display for NoWord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "`{}` is no name: it is 1 to {MAX} lowercase letters, digits, `-`, `_` and single `.`, and begins and ends with a letter or digit",
            self.0.escape_debug()
        )
    }
}

impl std::error::Error for NoWord {}

impl Word {
    /// Returns the text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Returns the word as the id of an entity.
    pub fn aggregate(&self) -> AggregateId {
        AggregateId::new(self.0.clone()).expect("127 plain letters are an aggregate id")
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for Word {
    type Error = NoWord;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        let plain = |c: u8| c.is_ascii_lowercase() || c.is_ascii_digit();
        let bytes = text.as_bytes();
        let ends =
            bytes.first().is_some_and(|c| plain(*c)) && bytes.last().is_some_and(|c| plain(*c));
        let inner = bytes.iter().all(|c| plain(*c) || b"-_.".contains(c));
        if ends && inner && text.len() <= MAX && !text.contains("..") {
            Ok(Self(text))
        } else {
            Err(NoWord(text.chars().take(MAX + 1).collect()))
        }
    }
}

impl std::str::FromStr for Word {
    type Err = NoWord;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::try_from(text.to_owned())
    }
}

impl JsonSchema for Word {
    fn schema_name() -> Cow<'static, str> {
        "Word".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A name that a caller gives: of a unit, a type, a relation or a tag.",
            "minLength": 1,
            "maxLength": MAX,
            "pattern": r"^[a-z0-9]([a-z0-9_-]|\.[a-z0-9_-])*$",
        })
    }
}
