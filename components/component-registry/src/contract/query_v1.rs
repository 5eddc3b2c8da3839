//! The request `capability.query` and its reply, version 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Capability;

/// Asks which components have a capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Query {
    /// The capability.
    pub capability: Capability,
}

/// The components that have a capability.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Providers {
    /// The capability.
    pub capability: Capability,
    /// The components, as `<name>.<instance>`.
    pub components: Vec<String>,
}
