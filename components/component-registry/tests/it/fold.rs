//! Properties of fold and decide, without any server.

use std::collections::{BTreeMap, BTreeSet};

use cim_component_registry::contract::{ComponentId, Register, Unregister};
use cim_component_registry::{Command, Registry};
use cim_core::envelope::{Envelope, EventId, NewEvent};
use cim_core::subjects::Component;
use cim_runtime::component::digest::digest;
use cim_runtime::component::{Aggregate as _, Changed, Fact};
use jiff::Timestamp;
use proptest::prelude::*;
use serde_json::json;

fn command() -> impl Strategy<Value = Command> {
    let version = prop::sample::select(vec!["1.0.0", "1.1.0", "2.0.0", "2.1.0-rc.1"]);
    let ranges = prop::sample::select(vec!["^1", ">=1.1", "^2", "*"]);
    let capabilities = prop::collection::btree_set(prop::sample::select(vec!["a", "b", "c"]), 0..3);
    let requires = prop::collection::vec((0..3u8, ranges), 0..2);
    let id = |name: u8, instance: u8| -> ComponentId {
        serde_json::from_value(
            json!({"name": format!("c{name}"), "instance": format!("i{instance}")}),
        )
        .unwrap()
    };
    let register = (0..3u8, 0..2u8, version, capabilities, requires).prop_map(
        move |(name, instance, version, capabilities, requires)| {
            let requires: Vec<_> = requires
                .into_iter()
                .map(|(name, range)| json!({"component": format!("c{name}"), "version": range}))
                .collect();
            let body = json!({
                "name": format!("c{name}"), "instance": format!("i{instance}"), "version": version,
                "capabilities": capabilities, "requires": requires,
            });
            Command::Register(serde_json::from_value::<Register>(body).unwrap())
        },
    );
    let gone = (0..3u8, 0..2u8, any::<bool>()).prop_map(move |(name, instance, asked)| {
        let id = id(name, instance);
        if asked { Command::Unregister(Unregister { id }) } else { Command::Expire(id) }
    });
    prop_oneof![3 => register, 1 => gone]
}

/// The log of a registry alone, without a server: what was appended, and the state that folds it.
#[derive(Default)]
struct Log {
    state: Registry,
    events: Vec<String>,
    changed: Changed,
}

impl Log {
    fn append(&mut self, fact: Fact, cause: Option<EventId>) {
        let sequence = self.events.len() as u64 + 1;
        let event = NewEvent {
            event_type: fact.event_type,
            source: Component::ComponentRegistry,
            aggregate_id: fact.aggregate_id,
            aggregate_version: sequence,
            schema_version: fact.schema_version,
            content: None,
            payload: fact.payload,
        };
        let id = EventId::from_parts(sequence, &[0; 10]);
        let mut event = Envelope::root(id, Timestamp::UNIX_EPOCH, event);
        event.causation_id = cause.unwrap_or(id);
        self.events.push(serde_json::to_string(&event).unwrap());
        fold(&mut self.state, self.events.last().unwrap(), &mut self.changed);
    }
}

fn fold(state: &mut Registry, text: &str, changed: &mut Changed) {
    let event: Envelope = serde_json::from_str(text).unwrap();
    let decoded = Registry::decode(&event.event_type, event.schema_version, &event.payload);
    state.fold(decoded.unwrap().expect("a known event"), &event, changed);
}

fn played(commands: &[Command]) -> Log {
    let mut log = Log::default();
    for command in commands {
        if let Ok(Some(fact)) = log.state.decide(command, Timestamp::UNIX_EPOCH) {
            log.append(fact, None);
            // The same command again finds everything as asked.
            assert_eq!(log.state.decide(command, Timestamp::UNIX_EPOCH), Ok(None));
        }
        let mut owed = 0;
        while let Some(next) = log.state.owed() {
            log.append(next.fact, Some(next.cause));
            owed += 1;
            assert!(owed <= 6, "what is owed comes to an end");
        }
    }
    log
}

proptest! {
    #[test]
    fn a_fold_is_the_same_from_the_log_and_from_any_snapshot(
        commands in prop::collection::vec(command(), 0..40),
        at in any::<prop::sample::Index>(),
    ) {
        let log = played(&commands);
        let (mut anew, mut changed) = (Registry::default(), Changed::new());
        let cut = if log.events.is_empty() { 0 } else { at.index(log.events.len()) };
        for (n, event) in log.events.iter().enumerate() {
            if n == cut {
                let snapshot = serde_json::to_string(&anew).unwrap();
                anew = serde_json::from_str(&snapshot).unwrap();
            }
            fold(&mut anew, event, &mut changed);
        }
        prop_assert_eq!(digest(&anew), digest(&log.state));
        prop_assert_eq!(&anew, &log.state);
    }

    #[test]
    fn views_that_are_said_to_change_are_all_that_do(commands in prop::collection::vec(command(), 0..40)) {
        let mut log = Log::default();
        let mut views: BTreeMap<String, serde_json::Value> = BTreeMap::new();
        for event in played(&commands).events {
            let mut changed = Changed::new();
            fold(&mut log.state, &event, &mut changed);
            for key in changed {
                match log.state.view(&key) {
                    Some(view) => views.insert(key, view),
                    None => views.remove(&key),
                };
            }
            let whole = log.state.views().into_iter().map(|key| {
                let view = log.state.view(&key).expect("a key has a view");
                (key, view)
            });
            prop_assert_eq!(&views, &whole.collect());
        }
    }

    #[test]
    fn capabilities_are_those_of_the_components_and_of_the_events(commands in prop::collection::vec(command(), 0..40)) {
        let log = played(&commands);
        let mut said: BTreeSet<(String, String)> = BTreeSet::new();
        for event in &log.events {
            let event: Envelope = serde_json::from_str(event).unwrap();
            let name = event.payload.value()["capability"].as_str().unwrap_or_default().to_owned();
            let pair = (name, event.aggregate_id.to_string());
            match event.event_type.as_str() {
                "capability.added" => prop_assert!(said.insert(pair), "added twice"),
                "capability.removed" => prop_assert!(said.remove(&pair), "removed twice"),
                _ => {}
            }
        }
        let mut held = BTreeSet::new();
        for key in log.state.views().iter().filter(|key| key.starts_with("capability.")) {
            let view = log.state.view(key).unwrap();
            for id in view["components"].as_array().unwrap() {
                let name = view["capability"].as_str().unwrap().to_owned();
                held.insert((name, id.as_str().unwrap().to_owned()));
            }
        }
        prop_assert_eq!(said, held);
    }

    /// A component that was taken in with all its needs met keeps them, as long as processes of that name run.
    #[test]
    fn no_registration_breaks_a_need(commands in prop::collection::vec(command(), 0..40)) {
        let mut state = Registry::default();
        let broken = |state: &Registry| -> BTreeSet<String> {
            let runs = |name: &str| state.views().iter().any(|key| key.starts_with(&format!("component.{name}.")));
            let all = state.views();
            let components = all.iter().filter(|key| key.starts_with("component."));
            components.filter(|key| {
                let view = state.view(key).unwrap();
                view["requires"].as_array().unwrap().iter().any(|need| {
                    need["met_by"].as_array().unwrap().is_empty() && runs(need["component"].as_str().unwrap())
                })
            }).cloned().collect()
        };
        let mut log = Log::default();
        for command in &commands {
            let before = broken(&state);
            if let Ok(Some(fact)) = state.decide(command, Timestamp::UNIX_EPOCH) {
                log.append(fact, None);
                state = log.state.clone();
                if matches!(command, Command::Register(_)) {
                    let new: Vec<_> = broken(&state).difference(&before).cloned().collect();
                    prop_assert!(new.is_empty(), "{:?} broke {:?}", command, new);
                }
            }
        }
    }
}
