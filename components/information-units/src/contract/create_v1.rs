//! The request `unit.create`, version 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Body, Word};

/// Asks for a new unit. Asking again for the same one changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Create {
    /// The unit, by a name or UUID that the caller gives.
    pub unit: Word,
    /// Its first version.
    #[serde(flatten)]
    pub body: Body,
}
