//! The request `component.heartbeat`, version 1.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::ComponentId;

/// A component says that it still runs. It is refused (`not_registered`) when the component has to register anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Heartbeat {
    /// The component.
    #[serde(flatten)]
    pub id: ComponentId,
}
