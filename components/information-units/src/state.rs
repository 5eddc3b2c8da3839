//! The state: units with their versions and links, and types.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use cim_core::names::ContentId;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::{Edge, Word};
use crate::index::Index;
use crate::packed::Packed;

/// All units and types.
#[derive(Debug, Clone, Default, Serialize, Deserialize, JsonSchema)]
pub struct Units {
    /// The units by name.
    pub(crate) all: BTreeMap<Word, Unit>,
    /// The versions of each type, the oldest first.
    pub(crate) types: BTreeMap<Word, Vec<TypeVersion>>,
    /// The number of events, which gives versions their order.
    pub(crate) events: u64,
    /// The index of the newest versions: a cache, no part of the state.
    #[serde(skip)]
    #[schemars(skip)]
    pub(crate) index: Index,
}

/// A unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Unit {
    /// Its versions, the oldest first; never empty.
    pub(crate) versions: Vec<Version>,
    /// The units that it links to.
    pub(crate) links: BTreeSet<Edge>,
    /// The units that link to it.
    pub(crate) linked_from: BTreeSet<Edge>,
    /// The time of its last event.
    #[schemars(with = "String")]
    pub(crate) time: Timestamp,
}

/// A version of a unit.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Version {
    /// Its id.
    pub(crate) id: ContentId,
    /// The number of its event among all.
    pub(crate) order: u64,
    /// The version of the type that it was checked against.
    pub(crate) checked_against: Option<NonZeroU32>,
    /// The version.
    pub(crate) body: Packed,
    /// The time of its event.
    #[schemars(with = "String")]
    pub(crate) time: Timestamp,
}

/// A version of a type.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TypeVersion {
    /// The number of its event among all.
    pub(crate) order: u64,
    /// Its JSON Schema.
    pub(crate) schema: Value,
}

impl Unit {
    /// Returns the newest version.
    pub(crate) fn head(&self) -> &Version {
        self.versions.last().expect("a unit begins with a version")
    }
}

impl Units {
    /// Returns the newest version of a type, and its number.
    pub(crate) fn newest(&self, kind: &Word) -> Option<(NonZeroU32, &Value)> {
        let versions = self.types.get(kind)?;
        let number = u32::try_from(versions.len()).ok().and_then(NonZeroU32::new)?;
        Some((number, &versions.last()?.schema))
    }
}
