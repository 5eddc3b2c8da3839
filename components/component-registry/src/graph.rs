//! The graph of components, as views: `component.<name>.<instance>` with its edges, `capability.<name>`.

use cim_runtime::component::Changed;
use serde_json::{Value, json};

use crate::contract::{Capability, Component, ComponentId, Need, Providers};
use crate::requirements;
use crate::state::{Registry, Running};

const COMPONENT: &str = "component.";
const CAPABILITY: &str = "capability.";

pub(crate) fn capability_key(name: &str) -> String {
    format!("{CAPABILITY}{name}")
}

/// Returns the view at a key.
pub(crate) fn view(registry: &Registry, key: &str) -> Option<Value> {
    if let Some(key) = key.strip_prefix(COMPONENT) {
        return registry.components.get(key).map(|running| json!(component(registry, running)));
    }
    let name = key.strip_prefix(CAPABILITY)?;
    let capability = Capability::try_from(name.to_owned()).ok()?;
    registry.capabilities.get(name)?;
    Some(json!(providers(registry, capability)))
}

/// Returns the keys of all views.
pub(crate) fn keys(registry: &Registry) -> Changed {
    let components = registry.components.keys().map(|key| format!("{COMPONENT}{key}"));
    components.chain(registry.capabilities.keys().map(|name| capability_key(name))).collect()
}

/// Names the views that change with a component: its own, and those of the components that need it.
pub(crate) fn touch(registry: &Registry, id: &ComponentId, changed: &mut Changed) {
    changed.insert(format!("{COMPONENT}{}", id.key()));
    let dependents = registry.dependents.get(id.name.as_str());
    changed.extend(dependents.into_iter().flatten().map(|key| format!("{COMPONENT}{key}")));
}

/// Returns a component with its edges.
pub(crate) fn component(registry: &Registry, running: &Running) -> Component {
    let registered = running.registered.clone();
    let requires = registered.requires.into_iter().map(|requirement| {
        let met_by = requirements::met_by(registry, &requirement);
        Need { requirement, met_by }
    });
    Component {
        id: registered.id,
        version: registered.version,
        capabilities: registered.capabilities,
        requires: requires.collect(),
        expires_after_seconds: registered.expires_after_seconds,
    }
}

/// Returns the components that have a capability.
pub(crate) fn providers(registry: &Registry, capability: Capability) -> Providers {
    let components = registry.capabilities.get(capability.as_str());
    let components = components.into_iter().flatten().cloned().collect();
    Providers { capability, components }
}
