//! Information units as a component: the parts put together.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use cim_core::archive::RawJson;
use cim_core::envelope::Envelope;
use cim_core::names::EventType;
use cim_core::subjects::Component;
use cim_runtime::component::{Aggregate, Changed, Endpoint, Fact, Refusal};
use jiff::Timestamp;
use serde_json::{Value, json};

use crate::contract::Word;
use crate::decide::{self, Command};
use crate::fold::{self, Event, TYPE};
use crate::state::Units;
use crate::{endpoints, schemas};

impl Aggregate for Units {
    const COMPONENT: Component = Component::InformationUnits;
    const NAME: &'static str = "information-units";
    const PROGRAM: &'static str = "cim-information-units";
    const VERSION: &'static str = env!("CARGO_PKG_VERSION");
    const ABOUT: &'static str =
        "Immutable content by content id, with metadata, versions, links and types.";
    const CAPABILITIES: &'static [&'static str] =
        &["unit.create", "unit.update", "unit.link", "unit.query", "type.register", "full-text"];
    type Event = Event;
    type Command = Command;

    fn decode(
        event_type: &EventType,
        version: NonZeroU32,
        payload: &RawJson,
    ) -> Result<Option<Event>, serde_json::Error> {
        let text = payload.get();
        Ok(Some(match (event_type.as_str(), version.get()) {
            ("unit.created", 1) => Event::Created(serde_json::from_str(text)?),
            ("unit.updated", 1) => Event::Updated(serde_json::from_str(text)?),
            ("unit.linked", 1) => Event::Linked(serde_json::from_str(text)?),
            ("type.registered", 1) => Event::Registered(serde_json::from_str(text)?),
            _ => return Ok(None),
        }))
    }

    fn fold(&mut self, event: Event, envelope: &Envelope, changed: &mut Changed) {
        fold::fold(self, event, envelope, changed);
    }

    fn decide(&self, command: &Command, _now: Timestamp) -> Result<Option<Fact>, Refusal> {
        decide::decide(self, command)
    }

    fn view(&self, key: &str) -> Option<Value> {
        let kind = Word::try_from(key.strip_prefix(TYPE)?.to_owned()).ok()?;
        let (version, schema) = self.newest(&kind)?;
        Some(json!({ "type": kind, "version": version, "schema": schema }))
    }

    fn views(&self) -> Changed {
        self.types.keys().map(|kind| format!("{TYPE}{kind}")).collect()
    }

    fn endpoints() -> Vec<Endpoint<Self>> {
        endpoints::endpoints()
    }

    fn schemas() -> BTreeMap<String, Value> {
        schemas::by_name()
    }
}
