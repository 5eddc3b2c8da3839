//! The request `component.get`, version 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ComponentId;

/// Asks for one component.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Get {
    /// The component.
    #[serde(flatten)]
    pub id: ComponentId,
}
