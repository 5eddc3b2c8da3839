//! The event `capability.removed`, version 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Capability, ComponentId};

/// A component has lost a capability. It follows from an event of the component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CapabilityRemoved {
    /// The component.
    #[serde(flatten)]
    pub id: ComponentId,
    /// The capability.
    pub capability: Capability,
}
