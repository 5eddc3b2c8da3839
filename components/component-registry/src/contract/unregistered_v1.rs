//! The event `component.unregistered`, version 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ComponentId;

/// A component runs no more. `capability.removed` follows from it for each of its capabilities.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unregistered {
    /// The component.
    #[serde(flatten)]
    pub id: ComponentId,
    /// The reason.
    pub reason: Reason,
}

/// The reason for which a component is no longer registered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// It said so.
    Asked,
    /// Its heartbeats stopped.
    Expired,
}
