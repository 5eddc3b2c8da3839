//! The request `component.unregister`, version 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ComponentId;

/// A component says that it ends. Saying so of one that is not registered changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Unregister {
    /// The component.
    #[serde(flatten)]
    pub id: ComponentId,
}
