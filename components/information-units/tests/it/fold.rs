//! Properties of fold and decide, without any server.

use cim_core::envelope::{Envelope, EventId, NewEvent};
use cim_core::subjects::Component;
use cim_information_units::{Command, Units};
use cim_runtime::component::digest::digest;
use cim_runtime::component::{Aggregate as _, Changed, Fact};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::{Value, json};

/// A request of which the versions that it names are still to be found out.
#[derive(Debug, Clone)]
enum Asked {
    Create(u8, u8),
    /// Of a unit, to a text, from the newest version, or from one so many before it.
    Update(u8, u8, usize),
    Link(u8, u8),
    Register(u8, bool),
}

fn asked() -> impl Strategy<Value = Asked> {
    prop_oneof![
        2 => (0..3u8, 0..4u8).prop_map(|(unit, text)| Asked::Create(unit, text)),
        4 => (0..3u8, 0..4u8, 0..2usize).prop_map(|(unit, text, back)| Asked::Update(unit, text, back)),
        1 => (0..3u8, 0..3u8).prop_map(|(unit, target)| Asked::Link(unit, target)),
        1 => (0..2u8, any::<bool>()).prop_map(|(text, newest)| Asked::Register(text, newest)),
    ]
}

#[derive(Default)]
struct Log {
    state: Units,
    events: Vec<String>,
}

impl Log {
    fn append(&mut self, fact: Fact) {
        let sequence = self.events.len() as u64 + 1;
        let event = NewEvent {
            event_type: fact.event_type,
            source: Component::InformationUnits,
            aggregate_id: fact.aggregate_id,
            aggregate_version: sequence,
            schema_version: fact.schema_version,
            content: fact.content,
            payload: fact.payload,
        };
        let id = EventId::from_parts(sequence, &[0; 10]);
        let event = Envelope::root(id, Timestamp::UNIX_EPOCH, event);
        self.events.push(serde_json::to_string(&event).unwrap());
        take_in(&mut self.state, self.events.last().unwrap());
    }

    fn value(&self) -> Value {
        serde_json::to_value(&self.state).unwrap()
    }
}

fn take_in(state: &mut Units, event: &str) {
    let envelope: Envelope = serde_json::from_str(event).unwrap();
    let event = Units::decode(&envelope.event_type, envelope.schema_version, &envelope.payload);
    state.fold(event.unwrap().expect("a known event"), &envelope, &mut Changed::new());
}

fn command(asked: &Asked, now: &Value) -> Option<Command> {
    let body = |unit: u8, text: u8| json!({"unit": format!("u{unit}"), "metadata": {"t": text}});
    let read = |body: Value| serde_json::from_value(body);
    Some(match *asked {
        Asked::Create(unit, text) => Command::Create(read(body(unit, text)).unwrap()),
        Asked::Update(unit, text, back) => {
            let versions = now["all"][format!("u{unit}")]["versions"].as_array()?;
            let at = versions.len().checked_sub(1 + back)?;
            let mut body = body(unit, text);
            body["expected"] = versions[at]["id"].clone();
            Command::Update(serde_json::from_value(body).unwrap())
        }
        Asked::Link(unit, target) => {
            let link = json!({"unit": format!("u{unit}"), "relation": "r", "target": format!("u{target}")});
            Command::Link(serde_json::from_value(link).unwrap())
        }
        Asked::Register(text, newest) => {
            let known = now["types"]["k"].as_array().map_or(0, Vec::len);
            let mut body = json!({"type": "k", "schema": {"title": text.to_string()}});
            if newest && known > 0 {
                body["expected"] = known.into();
            }
            Command::Register(serde_json::from_value(body).unwrap())
        }
    })
}

proptest! {
    /// The rules keep the chains whole, a command that was followed changes nothing more, and the log alone makes the
    /// state again.
    #[test]
    fn chains_hold_and_the_log_makes_the_state(asked in prop::collection::vec(asked(), 0..40)) {
        let mut log = Log::default();
        for asked in &asked {
            let now = log.value();
            let Some(command) = command(asked, &now) else { continue };
            let Ok(Some(fact)) = log.state.decide(&command, Timestamp::UNIX_EPOCH) else { continue };
            log.append(fact);
            prop_assert!(log.value() != now, "{asked:?} became an event and changed nothing");
            let again = log.state.decide(&command, Timestamp::UNIX_EPOCH);
            prop_assert_eq!(again, Ok(None), "{:?}", asked);
        }
        let mut anew = Units::default();
        for event in &log.events {
            take_in(&mut anew, event);
        }
        prop_assert_eq!(digest(&anew), digest(&log.state));
        let state = log.value();
        for (name, unit) in state["all"].as_object().unwrap() {
            let ids: Vec<_> = unit["versions"].as_array().unwrap().iter().map(|v| &v["id"]).collect();
            for (at, id) in ids.iter().enumerate() {
                prop_assert!(!ids[..at].contains(id), "{name} has a version twice");
            }
            // Every link is seen from its other end.
            for edge in unit["links"].as_array().unwrap() {
                let back = json!({"relation": "r", "unit": name});
                let other = &state["all"][edge["unit"].as_str().unwrap()]["linked_from"];
                prop_assert!(other.as_array().unwrap().contains(&back));
            }
        }
    }
}
