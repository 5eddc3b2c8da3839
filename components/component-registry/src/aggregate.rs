//! The registry as the runtime knows it.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use cim_core::archive::RawJson;
use cim_core::envelope::Envelope;
use cim_core::names::EventType;
use cim_core::subjects::Component;
use cim_runtime::component::{Aggregate, Changed, Endpoint, Fact, Owed, Refusal};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use crate::contract::{CapabilityAdded, CapabilityRemoved};
use crate::decide::{self, Command};
use crate::state::{BEATS, Event, Follows, Registry, event_type};
use crate::{endpoints, fold, graph, schemas};

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
        fold::fold(self, event, envelope, changed);
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
