//! Numbers with a maximum.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A whole number from `MIN` to `MAX`, both included.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u64", into = "u64")]
pub struct Within<const MIN: u64, const MAX: u64>(u64);

/// Bytes or messages: what a JSON number holds exactly everywhere.
pub type Count = Within<1, 9_007_199_254_740_991>;
/// Bytes of one message.
pub type MessageSize = Within<1, 67_108_864>;
/// The most bytes of any message on a server.
pub type MaxPayload = Within<65_536, 67_108_864>;
/// A TCP port.
pub type Port = Within<1, 65_535>;
/// Values of a key.
pub type History = Within<1, 64>;

/// A number that is too small or too large.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("number `{0}` is not one from {1} to {2}")]
pub struct NumberError(String, u64, u64);

impl<const MIN: u64, const MAX: u64> Within<MIN, MAX> {
    /// Takes the number if it is one from `MIN` to `MAX`.
    ///
    /// # Errors
    /// It is none.
    pub fn new(number: u64) -> Result<Self, NumberError> {
        if (MIN..=MAX).contains(&number) {
            Ok(Self(number))
        } else {
            Err(NumberError(number.to_string(), MIN, MAX))
        }
    }

    /// Returns the number.
    pub const fn get(self) -> u64 {
        self.0
    }
}

impl<const MIN: u64, const MAX: u64> fmt::Display for Within<MIN, MAX> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, f)
    }
}

impl<const MIN: u64, const MAX: u64> FromStr for Within<MIN, MAX> {
    type Err = NumberError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let number = text.parse().map_err(|_| NumberError(crate::names::shown(text), MIN, MAX))?;
        Self::new(number)
    }
}

impl<const MIN: u64, const MAX: u64> TryFrom<u64> for Within<MIN, MAX> {
    type Error = NumberError;

    fn try_from(number: u64) -> Result<Self, Self::Error> {
        Self::new(number)
    }
}

impl<const MIN: u64, const MAX: u64> From<Within<MIN, MAX>> for u64 {
    fn from(number: Within<MIN, MAX>) -> Self {
        number.0
    }
}

impl<const MIN: u64, const MAX: u64> JsonSchema for Within<MIN, MAX> {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> std::borrow::Cow<'static, str> {
        format!("From{MIN}To{MAX}").into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "minimum": MIN, "maximum": MAX })
    }
}
