//! The requests that the registry answers.

use cim_runtime::component::{Endpoint, Kind, Note, Refusal, reply, request};
use serde_json::json;

use crate::contract::{ComponentId, Components, Get, Heartbeat, List, Query};
use crate::decide::{BREAKS_DEPENDENT, Command, NOT_REGISTERED, REQUIREMENT_UNMET};
use crate::graph;
use crate::state::{BEATS, Registry, Running};

const DONE: &str = "component-done/v1";

pub(crate) fn endpoints() -> Vec<Endpoint<Registry>> {
    vec![
        Endpoint {
            operation: "component.register",
            request: "registry-component-register/v1",
            reply: DONE,
            refusals: &[REQUIREMENT_UNMET, BREAKS_DEPENDENT],
            kind: Kind::Command(|body| request(body).map(Command::Register)),
        },
        Endpoint {
            operation: "component.unregister",
            request: "registry-component-unregister/v1",
            reply: DONE,
            refusals: &[],
            kind: Kind::Command(|body| request(body).map(Command::Unregister)),
        },
        Endpoint {
            operation: "component.heartbeat",
            request: "registry-component-heartbeat/v1",
            reply: "an empty object",
            refusals: &[NOT_REGISTERED],
            kind: Kind::Note(|registry, body| {
                let Heartbeat { id } = request(body)?;
                find(registry, &id)?;
                // Of the form of a view, so that it is removed like one when the component ends.
                let value = reply(&json!({ "position": 0, "value": id }));
                Ok(Note { key: format!("{BEATS}.{}", id.key()), value })
            }),
        },
        Endpoint {
            operation: "component.get",
            request: "registry-component-get/v1",
            reply: "registry-component/v1",
            refusals: &[NOT_REGISTERED],
            kind: Kind::Query(|registry, body| {
                let Get { id } = request(body)?;
                let running = find(registry, &id)?;
                Ok(reply(&graph::component(registry, running)))
            }),
        },
        Endpoint {
            operation: "component.list",
            request: "registry-component-list/v1",
            reply: "registry-components/v1",
            refusals: &[],
            kind: Kind::Query(|registry, body| {
                let List { name } = request(body)?;
                let all = registry.components.values();
                let asked = all.filter(|running| {
                    name.as_ref().is_none_or(|name| running.registered.id.name == *name)
                });
                let components = asked.map(|running| graph::component(registry, running)).collect();
                Ok(reply(&Components { components }))
            }),
        },
        Endpoint {
            operation: "capability.query",
            request: "registry-capability-query/v1",
            reply: "registry-capability-providers/v1",
            refusals: &[],
            kind: Kind::Query(|registry, body| {
                let Query { capability } = request(body)?;
                Ok(reply(&graph::providers(registry, capability)))
            }),
        },
    ]
}

fn find<'a>(registry: &'a Registry, id: &ComponentId) -> Result<&'a Running, Refusal> {
    registry.components.get(&id.key()).ok_or_else(|| {
        let what = format!("`{id}` is not registered");
        Refusal::new(
            NOT_REGISTERED,
            what,
            "send `component.register`, or look with `component.list`",
        )
    })
}
