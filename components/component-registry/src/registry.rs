//! The state, and the fold.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::num::NonZeroU32;

use cim_core::archive::RawJson;
use cim_core::envelope::{Envelope, EventId};
use cim_core::names::EventType;
use cim_core::subjects::Component;
use cim_runtime::component::{Aggregate, Changed, Endpoint, Fact, Owed, Refusal};
use jiff::{SignedDuration, Timestamp};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::{
    Capability, CapabilityAdded, CapabilityRemoved, ComponentId, Registered, Requirement,
    Unregistered,
};
use crate::decide::{self, Command};
use crate::{endpoints, graph, schemas};

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
    cause: EventId,
    correlation: EventId,
    #[schemars(with = "String")]
    time: Timestamp,
    id: ComponentId,
    capability: Capability,
    added: bool,
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

impl Aggregate for Registry {
    const COMPONENT: Component = Component::ComponentRegistry;
    const NAME: &'static str = "component-registry";
    const PROGRAM: &'static str = "cim-component-registry";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str = "Which components run, what each can do, and which need which.";
    const NOTES: Option<&'static str> = Some(BEATS);
    type Event = Event;
    type Command = Command;

    fn decode(
        event_type: &EventType,
        version: NonZeroU32,
        payload: &RawJson,
    ) -> Result<Option<Event>, serde_json::Error> {
        let text = payload.get();
        Ok(Some(match (event_type.as_str(), version.get()) {
            ("component.registered", 1) => Event::Registered(serde_json::from_str(text)?),
            ("component.unregistered", 1) => Event::Unregistered(serde_json::from_str(text)?),
            ("capability.added", 1) => Event::Added(serde_json::from_str(text)?),
            ("capability.removed", 1) => Event::Removed(serde_json::from_str(text)?),
            _ => return Ok(None),
        }))
    }

    fn fold(&mut self, event: Event, envelope: &Envelope, changed: &mut Changed) {
        match event {
            Event::Registered(registered) => self.registered(registered, envelope, changed),
            Event::Unregistered(Unregistered { id, .. }) => {
                let key = id.key();
                if let Some(before) = self.components.remove(&key) {
                    self.need(&key, &before.registered.requires, false);
                    self.turn(
                        &id,
                        &before.registered.capabilities,
                        &BTreeSet::new(),
                        envelope,
                        changed,
                    );
                }
                changed.insert(format!("{BEATS}.{key}"));
                graph::touch(self, &id, changed);
            }
            Event::Added(CapabilityAdded { id, capability }) => {
                self.followed(&id, &capability, true, envelope);
            }
            Event::Removed(CapabilityRemoved { id, capability }) => {
                self.followed(&id, &capability, false, envelope);
            }
        }
    }

    fn decide(&self, command: &Command, _now: Timestamp) -> Result<Option<Fact>, Refusal> {
        decide::decide(self, command)
    }

    fn owed(&self) -> Option<Owed> {
        let Follows { cause, correlation, time, id, capability, added } =
            self.owed.front()?.clone();
        let aggregate = id.aggregate();
        let fact = if added {
            let event = CapabilityAdded { id, capability };
            Fact::new(event_type("capability.added"), aggregate, &event)
        } else {
            let event = CapabilityRemoved { id, capability };
            Fact::new(event_type("capability.removed"), aggregate, &event)
        };
        Some(Owed { cause, correlation, time, fact })
    }

    fn view(&self, key: &str) -> Option<Value> {
        graph::view(self, key)
    }

    fn views(&self) -> Changed {
        graph::keys(self)
    }

    fn due(
        &self,
        notes: &BTreeMap<String, Timestamp>,
        since: Timestamp,
        now: Timestamp,
    ) -> Vec<Command> {
        let gone = self.components.iter().filter(|(key, running)| {
            // A registry that was away heard no one: all get their time anew.
            let heard = notes.get(*key).copied().unwrap_or(Timestamp::MIN);
            let last = heard.max(running.since).max(since);
            let patience = running.registered.expires_after_seconds;
            now.duration_since(last) > SignedDuration::from_secs(patience.into())
        });
        gone.map(|(_, running)| Command::Expire(running.registered.id.clone())).collect()
    }

    fn endpoints() -> Vec<Endpoint<Self>> {
        endpoints::endpoints()
    }

    fn schemas() -> BTreeMap<String, Value> {
        schemas::by_name()
    }
}

impl Registry {
    fn registered(&mut self, new: Registered, envelope: &Envelope, changed: &mut Changed) {
        let (id, key) = (new.id.clone(), new.id.key());
        let now = new.capabilities.clone();
        let needs = new.requires.clone();
        let running = Running { registered: new, since: envelope.time };
        let before = self.components.insert(key.clone(), running).map(|before| before.registered);
        if let Some(before) = &before {
            self.need(&key, &before.requires, false);
        }
        self.need(&key, &needs, true);
        let before = before.map(|before| before.capabilities).unwrap_or_default();
        self.turn(&id, &before, &now, envelope, changed);
        graph::touch(self, &id, changed);
    }

    /// Enters a component under the names that it needs, or strikes it out there.
    fn need(&mut self, key: &str, requires: &[Requirement], enter: bool) {
        for name in requires.iter().map(|need| need.component.as_str()) {
            let dependents = self.dependents.entry(name.to_owned()).or_default();
            if enter {
                dependents.insert(key.to_owned());
            } else {
                dependents.remove(key);
            }
            if dependents.is_empty() {
                self.dependents.remove(name);
            }
        }
    }

    /// Takes what a component could do before, and what it can do now, into the map of capabilities, and owes the
    /// events that say so.
    fn turn(
        &mut self,
        id: &ComponentId,
        before: &BTreeSet<Capability>,
        now: &BTreeSet<Capability>,
        envelope: &Envelope,
        changed: &mut Changed,
    ) {
        let added = now.difference(before).map(|capability| (capability, true));
        let removed = before.difference(now).map(|capability| (capability, false));
        for (capability, added) in added.chain(removed) {
            let name = capability.as_str();
            if added {
                self.capabilities.entry(name.into()).or_default().insert(id.key());
            } else if let Some(have) = self.capabilities.get_mut(name) {
                have.remove(&id.key());
                if have.is_empty() {
                    self.capabilities.remove(name);
                }
            }
            changed.insert(graph::capability_key(name));
            self.owed.push_back(Follows {
                cause: envelope.id,
                correlation: envelope.correlation_id,
                time: envelope.time,
                id: id.clone(),
                capability: capability.clone(),
                added,
            });
        }
    }

    /// Crosses out an event that was owed. One that was not changes nothing.
    fn followed(
        &mut self,
        id: &ComponentId,
        capability: &Capability,
        added: bool,
        envelope: &Envelope,
    ) {
        self.owed.retain(|owed| {
            !(owed.cause == envelope.causation_id
                && owed.id == *id
                && owed.capability == *capability
                && owed.added == added)
        });
    }
}

pub(crate) fn event_type(name: &str) -> EventType {
    EventType::new(name).expect("the registry's own event types are valid")
}
