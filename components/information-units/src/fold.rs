//! The fold: what each event makes of the state.

use std::collections::BTreeSet;

use cim_core::envelope::Envelope;
use cim_runtime::component::Changed;

use crate::contract::{Created, Edge, Linked, TypeRegistered, Updated};
use crate::packed::Packed;
use crate::state::{TypeVersion, Unit, Units, Version};

/// The prefix of the views of types.
pub(crate) const TYPE: &str = "type.";

/// An event, of any version.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// `unit.created`
    Created(Created),
    /// `unit.updated`
    Updated(Updated),
    /// `unit.linked`
    Linked(Linked),
    /// `type.registered`
    Registered(TypeRegistered),
}

pub(crate) fn fold(units: &mut Units, event: Event, envelope: &Envelope, changed: &mut Changed) {
    units.events += 1;
    let (order, time) = (units.events, envelope.time);
    match event {
        Event::Created(Created { unit, version, type_version, body }) => {
            let body = Packed::new(&body);
            let first = Version { id: version, order, checked_against: type_version, body, time };
            units.index.touch(&unit);
            units.all.entry(unit).or_insert_with(|| Unit {
                versions: vec![first],
                links: BTreeSet::new(),
                linked_from: BTreeSet::new(),
                time,
            });
        }
        Event::Updated(Updated { unit, version, previous, type_version, body }) => {
            // An event that does not follow on the newest version is none that this program wrote: it changes nothing.
            if let Some(known) = units.all.get_mut(&unit).filter(|u| u.head().id == previous) {
                let body = Packed::new(&body);
                let checked_against = type_version;
                known.versions.push(Version { id: version, order, checked_against, body, time });
                known.time = time;
                units.index.touch(&unit);
            }
        }
        Event::Linked(Linked { unit, relation, target }) => {
            if let Some(from) = units.all.get_mut(&unit) {
                from.links.insert(Edge { relation: relation.clone(), unit: target.clone() });
                from.time = time;
                units.index.touch(&unit);
            }
            if let Some(to) = units.all.get_mut(&target) {
                to.linked_from.insert(Edge { relation, unit });
            }
        }
        Event::Registered(TypeRegistered { kind, schema, .. }) => {
            changed.insert(format!("{TYPE}{kind}"));
            units.types.entry(kind).or_default().push(TypeVersion { order, schema });
        }
    }
}
