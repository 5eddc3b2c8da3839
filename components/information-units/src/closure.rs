//! All that belongs to a unit.

use std::collections::{BTreeMap, BTreeSet};

use cid::Cid;
use cim_core::names::ContentId;
use serde_json::Value;

use crate::contract::{Edge, Word};
use crate::ids;
use crate::record::Record;
use crate::state::Units;

/// A unit with the units that it links to, and so on, their versions, types and content.
pub(crate) struct Closure {
    /// Versions of types and units in the order in which they were made.
    pub(crate) history: Vec<Made>,
    /// The links between the units.
    pub(crate) links: Vec<(Word, Edge)>,
    /// The content.
    pub(crate) contents: BTreeSet<ContentId>,
}

/// A version of a type or a unit.
pub(crate) enum Made {
    /// Of a type.
    Type(Word, Value),
    /// Of a unit: the record's id and bytes.
    Unit(Cid, Vec<u8>),
}

/// Returns all that belongs to a unit; `None` when there is no such unit.
pub(crate) fn of(units: &Units, unit: &Word) -> Option<Closure> {
    units.all.get(unit)?;
    let (mut history, mut links) = (BTreeMap::new(), Vec::new());
    let (mut contents, mut kinds) = (BTreeSet::new(), BTreeSet::new());
    let (mut seen, mut next) = (BTreeSet::from([unit]), vec![unit]);
    while let Some(name) = next.pop() {
        let Some(unit) = units.all.get(name) else { continue };
        let mut previous = None;
        for version in &unit.versions {
            let body = version.body.body();
            let block = Record::new(name, previous, &body).block();
            history.insert(version.order, Made::Unit(ids::cid(&version.id), block));
            contents.extend(body.content);
            kinds.extend(body.kind);
            previous = Some(&version.id);
        }
        for edge in &unit.links {
            links.push((name.clone(), edge.clone()));
            if seen.insert(&edge.unit) {
                next.push(&edge.unit);
            }
        }
    }
    for kind in kinds {
        for version in units.types.get(&kind).into_iter().flatten() {
            history.insert(version.order, Made::Type(kind.clone(), version.schema.clone()));
        }
    }
    Some(Closure { history: history.into_values().collect(), links, contents })
}
