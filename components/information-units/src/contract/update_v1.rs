//! The request `unit.update`, version 1.

use cim_core::names::ContentId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Body, Word};

/// Asks for a new version of a unit.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Update {
    /// The unit.
    pub unit: Word,
    /// The version that the caller knows as the newest. Refused (`version_conflict`) when there is a newer one.
    pub expected: ContentId,
    /// The new version, as a whole.
    #[serde(flatten)]
    pub body: Body,
}
