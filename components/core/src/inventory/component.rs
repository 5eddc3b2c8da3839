//! The seven components by the names of their programs.

use std::fmt;
use std::str::FromStr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::subjects;

/// A component as an inventory, a unit and a container name it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ComponentName {
    /// `information-units`
    InformationUnits,
    /// `component-registry`
    ComponentRegistry,
    /// `pipeline-engine`
    PipelineEngine,
    /// `plugin-system`
    PluginSystem,
    /// `storage-manager`
    StorageManager,
    /// `ui-framework`
    UiFramework,
    /// `integration-hub`
    IntegrationHub,
}

impl ComponentName {
    /// Every component, in the order of CIM's documents.
    pub const ALL: [Self; 7] = [
        Self::InformationUnits,
        Self::ComponentRegistry,
        Self::PipelineEngine,
        Self::PluginSystem,
        Self::StorageManager,
        Self::UiFramework,
        Self::IntegrationHub,
    ];

    /// Returns the name as it is written.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::InformationUnits => "information-units",
            Self::ComponentRegistry => "component-registry",
            Self::PipelineEngine => "pipeline-engine",
            Self::PluginSystem => "plugin-system",
            Self::StorageManager => "storage-manager",
            Self::UiFramework => "ui-framework",
            Self::IntegrationHub => "integration-hub",
        }
    }

    /// Returns the component whose subjects it publishes.
    pub const fn subjects(self) -> subjects::Component {
        match self {
            Self::InformationUnits => subjects::Component::InformationUnits,
            Self::ComponentRegistry => subjects::Component::ComponentRegistry,
            Self::PipelineEngine => subjects::Component::PipelineEngine,
            Self::PluginSystem => subjects::Component::PluginSystem,
            Self::StorageManager => subjects::Component::StorageManager,
            Self::UiFramework => subjects::Component::UserInterface,
            Self::IntegrationHub => subjects::Component::IntegrationHub,
        }
    }
}

impl fmt::Display for ComponentName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for ComponentName {
    type Err = String;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|c| c.as_str() == name).ok_or_else(|| {
            let all = Self::ALL.map(|c| format!("`{c}`")).join(", ");
            format!("component `{}` is unknown: it is none of {all}", crate::names::shown(name))
        })
    }
}

impl JsonSchema for ComponentName {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ComponentName".into()
    }

    // A plain list, so that it also checks a map's keys.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "enum": Self::ALL.map(Self::as_str) })
    }
}
