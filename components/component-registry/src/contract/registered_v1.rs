//! The event `component.registered`, version 1.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Capability, ComponentId, Requirement, Version};

/// A component runs, or runs in another form than before. `capability.added` and `capability.removed` follow from it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registered {
    /// The component.
    #[serde(flatten)]
    pub id: ComponentId,
    /// Its version.
    pub version: Version,
    /// All of its capabilities.
    pub capabilities: BTreeSet<Capability>,
    /// The components that it needs.
    pub requires: Vec<Requirement>,
    /// The seconds without a heartbeat after which it counts as gone.
    pub expires_after_seconds: u32,
}
