//! The requests `unit.list` and `unit.query` and their reply, version 1.

use std::collections::BTreeSet;

use cim_core::names::ContentId;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Word;

/// Asks for units in the order of their names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct List {
    /// The unit behind which the list goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub after: Option<Word>,
    /// The most units of the answer: 1 to 1000.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: u16,
}

/// Asks for the units whose newest version is as described; every condition has to hold.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Query {
    /// The type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Word>,
    /// Tags, all of which it has.
    #[serde(default, skip_serializing_if = "BTreeSet::is_empty")]
    pub tags: BTreeSet<Word>,
    /// A unit that it links to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub links_to: Option<Word>,
    /// The type of a link that it has; with `links_to` of a link to that unit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relation: Option<Word>,
    /// The earliest time of its last event, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<String>,
    /// The time before which its last event was, RFC 3339.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<String>,
    /// Words that are in the texts of its metadata; `"in quotes"` as a phrase, `OR`, `-without`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The most units of the answer: 1 to 1000.
    #[serde(default = "hundred")]
    #[schemars(range(min = 1, max = 1000))]
    pub limit: u16,
}

/// Units: of a list by name; of a query those with the newest events first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Found {
    /// The number of all units that fit.
    pub total: u64,
    /// The units, no more than the limit.
    pub units: Vec<Summary>,
}

/// A unit in its newest version, in short.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Summary {
    /// The unit.
    pub unit: Word,
    /// The newest version's id.
    pub version: ContentId,
    /// The time of its last event.
    pub time: String,
    /// Its type.
    #[serde(default, rename = "type", skip_serializing_if = "Option::is_none")]
    pub kind: Option<Word>,
    /// Its content.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub content: Option<ContentId>,
}

fn hundred() -> u16 {
    100
}
