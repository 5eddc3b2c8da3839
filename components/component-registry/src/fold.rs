//! The fold: what an event changes in the state, and in the views.

use std::collections::BTreeSet;

use cim_core::envelope::Envelope;
use cim_runtime::component::Changed;

use crate::contract::{
    Capability, CapabilityAdded, CapabilityRemoved, ComponentId, Registered, Requirement,
    Unregistered,
};
use crate::graph;
use crate::state::{BEATS, Event, Follows, Registry, Running};

/// Takes an event into the state, and names the views that it changes.
pub(crate) fn fold(
    registry: &mut Registry,
    event: Event,
    envelope: &Envelope,
    changed: &mut Changed,
) {
    match event {
        Event::Registered(registered) => registry.registered(registered, envelope, changed),
        Event::Unregistered(Unregistered { id, .. }) => {
            let key = id.key();
            if let Some(before) = registry.components.remove(&key) {
                registry.need(&key, &before.registered.requires, false);
                registry.turn(
                    &id,
                    &before.registered.capabilities,
                    &BTreeSet::new(),
                    envelope,
                    changed,
                );
            }
            changed.insert(format!("{BEATS}.{key}"));
            graph::touch(registry, &id, changed);
        }
        Event::Added(CapabilityAdded { id, capability }) => {
            registry.followed(&id, &capability, true, envelope);
        }
        Event::Removed(CapabilityRemoved { id, capability }) => {
            registry.followed(&id, &capability, false, envelope);
        }
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
