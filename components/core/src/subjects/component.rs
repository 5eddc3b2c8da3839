//! The seven components.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::names::shown;

/// One of CIM's seven components; written as its token.
///
/// The list is closed. A component more means a new version of every type that names one, so that a
/// reader that is too old for it says so instead of passing its events by.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Component {
    /// Immutable content by content id, its metadata, links, versions and types.
    #[serde(rename = "iu")]
    InformationUnits,
    /// Who is running and what each can do.
    #[serde(rename = "registry")]
    ComponentRegistry,
    /// Pipeline definitions and their execution.
    #[serde(rename = "pipeline")]
    PipelineEngine,
    /// Extension points, and the plugins in them.
    #[serde(rename = "plugin")]
    PluginSystem,
    /// Objects and events at every tier, and their way back.
    #[serde(rename = "storage")]
    StorageManager,
    /// Sessions, views and notifications over the other components.
    #[serde(rename = "ui")]
    UserInterface,
    /// Connectors to systems outside.
    #[serde(rename = "integration")]
    IntegrationHub,
}

/// A token that stands for no component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "component `{0}` is unknown: it is none of `iu`, `registry`, `pipeline`, `plugin`, `storage`, `ui`, `integration`"
)]
pub struct UnknownComponent(String);

impl Component {
    /// Every component, in the order of CIM's documents.
    pub const ALL: [Self; 7] = [
        Self::InformationUnits,
        Self::ComponentRegistry,
        Self::PipelineEngine,
        Self::PluginSystem,
        Self::StorageManager,
        Self::UserInterface,
        Self::IntegrationHub,
    ];

    /// Returns the token that stands for the component in subjects and in JSON.
    pub const fn token(self) -> &'static str {
        match self {
            Self::InformationUnits => "iu",
            Self::ComponentRegistry => "registry",
            Self::PipelineEngine => "pipeline",
            Self::PluginSystem => "plugin",
            Self::StorageManager => "storage",
            Self::UserInterface => "ui",
            Self::IntegrationHub => "integration",
        }
    }
}

impl fmt::Display for Component {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.token())
    }
}

impl FromStr for Component {
    type Err = UnknownComponent;

    fn from_str(token: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|component| component.token() == token)
            .ok_or_else(|| UnknownComponent(shown(token)))
    }
}
