//! The event `capability.added`, version 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Capability, ComponentId};

/// A component has a capability. It follows from an event of the component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct CapabilityAdded {
    /// The component.
    #[serde(flatten)]
    pub id: ComponentId,
    /// The capability.
    pub capability: Capability,
}
