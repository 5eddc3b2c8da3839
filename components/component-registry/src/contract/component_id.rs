//! The identity of a running component.

use std::fmt;

use cim_core::names::{AggregateId, NodeName};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// One process of a component: its name and the node that it runs on, or another word that tells it from its likes.
#[derive(
    Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub struct ComponentId {
    /// The component's name: `information-units`.
    pub name: NodeName,
    /// The process: `host`.
    pub instance: NodeName,
}

impl ComponentId {
    /// Returns the id as one text, `<name>.<instance>`: neither part has a dot.
    pub fn key(&self) -> String {
        format!("{}.{}", self.name, self.instance)
    }

    /// Returns the id of a text that [`ComponentId::key`] made.
    pub fn of_key(key: &str) -> Option<Self> {
        let (name, instance) = key.split_once('.')?;
        Some(Self { name: name.parse().ok()?, instance: instance.parse().ok()? })
    }

    /// Returns the id in an envelope.
    pub fn aggregate(&self) -> AggregateId {
        AggregateId::new(self.key()).expect("two labels and a dot are an aggregate id")
    }
}

impl fmt::Display for ComponentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.name, self.instance)
    }
}
