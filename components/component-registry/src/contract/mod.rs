//! Everything that the registry takes, emits and answers: one file a type and version.
//!
//! Requests and replies are read with unknown fields passed over, so that an older registry takes a newer caller's.
//! The JSON Schema of each type is `fixtures/schemas/registry-…/v<version>.json`.

mod capability;
mod capability_added_v1;
mod capability_removed_v1;
mod component_id;
mod get_v1;
mod heartbeat_v1;
mod list_v1;
mod query_v1;
mod register_v1;
mod registered_v1;
mod requirement;
mod unregister_v1;
mod unregistered_v1;

pub use capability::{Capability, NoCapability};
pub use capability_added_v1::CapabilityAdded;
pub use capability_removed_v1::CapabilityRemoved;
pub use component_id::ComponentId;
pub use get_v1::Get;
pub use heartbeat_v1::Heartbeat;
pub use list_v1::{Component, Components, List, Need};
pub use query_v1::{Providers, Query};
pub use register_v1::Register;
pub use registered_v1::Registered;
pub use requirement::{Range, Requirement, Version};
pub use unregister_v1::Unregister;
pub use unregistered_v1::{Reason, Unregistered};
