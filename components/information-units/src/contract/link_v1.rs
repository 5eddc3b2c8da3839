//! The request `unit.link` and the event `unit.linked`, version 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Word;

/// Asks for a link from a unit to another one. Asking again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Link {
    /// The unit that the link leads from.
    pub unit: Word,
    /// The link's type: `cites`, `part-of`.
    pub relation: Word,
    /// The unit that it leads to.
    pub target: Word,
}

/// A unit has a link to another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Linked {
    /// The unit that the link leads from.
    pub unit: Word,
    /// The link's type: `cites`, `part-of`.
    pub relation: Word,
    /// The unit that it leads to.
    pub target: Word,
}
