//! The state: the components that run, and what is owed to the log.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use cim_core::envelope::EventId;
use cim_core::names::EventType;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::contract::{
    Capability, CapabilityAdded, CapabilityRemoved, ComponentId, Registered, Unregistered,
};

/// The prefix of heartbeats in the bucket.
pub(crate) const BEATS: &str = "beat";

/// The components that run, and the events that are still to follow from what happened to them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Registry {
    /// The components by `<name>.<instance>`.
    pub(crate) components: BTreeMap<String, Running>,
    /// The components that have each capability.
    pub(crate) capabilities: BTreeMap<String, BTreeSet<String>>,
    /// The components that need each name.
    pub(crate) dependents: BTreeMap<String, BTreeSet<String>>,
    /// Events that follow from others and are not in the log yet.
    pub(crate) owed: VecDeque<Follows>,
}

/// A component that runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Running {
    /// Its registration.
    pub(crate) registered: Registered,
    /// The time of the registration.
    #[schemars(with = "String")]
    pub(crate) since: Timestamp,
}

/// An event that follows from another one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Follows {
    pub(crate) cause: EventId,
    pub(crate) correlation: EventId,
    #[schemars(with = "String")]
    pub(crate) time: Timestamp,
    pub(crate) id: ComponentId,
    pub(crate) capability: Capability,
    pub(crate) added: bool,
}

/// An event of the registry, of any version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// `component.registered`
    Registered(Registered),
    /// `component.unregistered`
    Unregistered(Unregistered),
    /// `capability.added`
    Added(CapabilityAdded),
    /// `capability.removed`
    Removed(CapabilityRemoved),
}

/// Returns the type of one of the registry's events.
pub(crate) fn event_type(name: &str) -> EventType {
    EventType::new(name).expect("the registry's own event types are valid")
}
