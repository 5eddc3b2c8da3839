//! The request `component.list` and its reply, version 1.

use std::collections::BTreeSet;

use cim_core::names::NodeName;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Capability, ComponentId, Requirement, Version};

/// Asks for all components, or for those of one name.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// The name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<NodeName>,
}

/// The components, by name and instance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Components {
    /// The components.
    pub components: Vec<Component>,
}

/// A component that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Component {
    /// The component.
    #[serde(flatten)]
    pub id: ComponentId,
    /// Its version.
    pub version: Version,
    /// Its capabilities.
    pub capabilities: BTreeSet<Capability>,
    /// The components that it needs, and which of them do.
    pub requires: Vec<Need>,
    /// The seconds without a heartbeat after which it counts as gone.
    pub expires_after_seconds: u32,
}

/// An edge of the graph: a need, and the processes that meet it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Need {
    /// The need.
    #[serde(flatten)]
    pub requirement: Requirement,
    /// The processes that meet it, as `<name>.<instance>`. Empty while none of them runs.
    pub met_by: Vec<String>,
}
