//! The request `component.register`, version 1.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Capability, ComponentId, Requirement, Version};

/// A component says that it runs. Saying so again with the same content changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Register {
    /// The component.
    #[serde(flatten)]
    pub id: ComponentId,
    /// Its version.
    pub version: Version,
    /// Its capabilities.
    #[serde(default)]
    pub capabilities: BTreeSet<Capability>,
    /// The components that it needs.
    #[serde(default)]
    pub requires: Vec<Requirement>,
    /// The seconds without a heartbeat after which it counts as gone.
    #[serde(default = "thirty")]
    #[schemars(range(min = 1, max = 86400))]
    pub expires_after_seconds: u32,
}

fn thirty() -> u32 {
    30
}
