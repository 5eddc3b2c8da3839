//! Requirements: which are met, which a registration would break.
//!
//! A requirement that no process of the component could meet, because none runs, is open: components start in any
//! order. One is broken when processes run and none of them is of the range.

use crate::contract::{ComponentId, Requirement, Version};
use crate::state::Registry;

/// Returns the processes that meet a requirement, as `<name>.<instance>`.
pub(crate) fn met_by(registry: &Registry, requirement: &Requirement) -> Vec<String> {
    let of_name = registry.components.iter().filter(|(_, running)| {
        let registered = &running.registered;
        registered.id.name == requirement.component
            && requirement.version.0.matches(&registered.version.0)
    });
    of_name.map(|(key, _)| key.clone()).collect()
}

/// Returns the versions of a component that run, but for one process.
fn others(registry: &Registry, id: &ComponentId, name: &str) -> Vec<Version> {
    let all = registry.components.values().map(|running| &running.registered);
    let others = all.filter(|other| other.id.name.as_str() == name && other.id != *id);
    others.map(|other| other.version.clone()).collect()
}

fn is_broken(requirement: &Requirement, versions: &[Version]) -> bool {
    !versions.is_empty() && !versions.iter().any(|v| requirement.version.0.matches(&v.0))
}

/// Returns the first of a component's own requirements that would be broken, and the versions that run.
pub(crate) fn own<'a>(
    registry: &Registry,
    id: &ComponentId,
    version: &Version,
    requires: &'a [Requirement],
) -> Option<(&'a Requirement, Vec<Version>)> {
    requires.iter().find_map(|requirement| {
        let mut versions = others(registry, id, requirement.component.as_str());
        if requirement.component == id.name {
            versions.push(version.clone());
        }
        is_broken(requirement, &versions).then_some((requirement, versions))
    })
}

/// Returns the first component whose requirement a process of this version would break, and the requirement.
pub(crate) fn dependents<'a>(
    registry: &'a Registry,
    id: &ComponentId,
    version: &Version,
) -> Option<(&'a str, &'a Requirement)> {
    let mut after = others(registry, id, id.name.as_str());
    let mut before = after.clone();
    after.push(version.clone());
    let own = registry.components.get(&id.key());
    before.extend(own.map(|running| running.registered.version.clone()));
    registry.components.iter().filter(|(key, _)| **key != id.key()).find_map(|(key, running)| {
        let needs = running.registered.requires.iter().filter(|need| need.component == id.name);
        let mut broken = needs.filter(|need| is_broken(need, &after) && !is_broken(need, &before));
        broken.next().map(|need| (key.as_str(), need))
    })
}
