//! The rules: what is registered, and what is refused.

use cim_runtime::component::{Code, Fact, Refusal};

use crate::contract::{ComponentId, Reason, Register, Registered, Unregister, Unregistered};
use crate::requirements;
use crate::state::{Registry, event_type};

/// A component needs another in a version that does not run.
pub(crate) const REQUIREMENT_UNMET: Code = Code { word: "requirement_unmet", number: 409 };
/// Another component needs this one in another version.
pub(crate) const BREAKS_DEPENDENT: Code = Code { word: "breaks_dependent", number: 409 };
/// There is no such component.
pub(crate) const NOT_REGISTERED: Code = Code { word: "not_registered", number: 404 };

/// A request to change the registry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `component.register`
    Register(Register),
    /// `component.unregister`
    Unregister(Unregister),
    /// The registry's own: heartbeats stopped.
    Expire(ComponentId),
}

pub(crate) fn decide(registry: &Registry, command: &Command) -> Result<Option<Fact>, Refusal> {
    match command {
        Command::Register(asked) => register(registry, asked),
        Command::Unregister(asked) => Ok(unregister(registry, &asked.id, Reason::Asked)),
        Command::Expire(id) => Ok(unregister(registry, id, Reason::Expired)),
    }
}

fn register(registry: &Registry, asked: &Register) -> Result<Option<Fact>, Refusal> {
    let Register { id, version, capabilities, requires, expires_after_seconds } = asked.clone();
    if !(1..=86_400).contains(&expires_after_seconds) {
        return Err(Refusal::new(
            Code::INVALID,
            format!("`expires_after_seconds` is {expires_after_seconds}"),
            "send 1 to 86400",
        ));
    }
    if let Some((need, versions)) = requirements::own(registry, &id, &version, &requires) {
        let running: Vec<_> = versions.iter().map(|version| version.0.to_string()).collect();
        return Err(Refusal::new(
            REQUIREMENT_UNMET,
            format!(
                "`{id}` needs `{}` {}, and of it {} runs",
                need.component,
                need.version.0,
                running.join(", ")
            ),
            format!("start `{}` in a version of that range first", need.component),
        ));
    }
    if let Some((dependent, need)) = requirements::dependents(registry, &id, &version) {
        return Err(Refusal::new(
            BREAKS_DEPENDENT,
            format!("`{id}` is {}, and `{dependent}` needs {}", version.0, need.version.0),
            format!("keep a process of that range running, or unregister `{dependent}` first"),
        ));
    }
    let new = Registered { id, version, capabilities, requires, expires_after_seconds };
    let present = registry.components.get(&new.id.key());
    if present.is_some_and(|present| present.registered == new) {
        return Ok(None);
    }
    Ok(Some(Fact::new(event_type("component.registered"), new.id.aggregate(), &new)))
}

fn unregister(registry: &Registry, id: &ComponentId, reason: Reason) -> Option<Fact> {
    registry.components.get(&id.key())?;
    let event = Unregistered { id: id.clone(), reason };
    Some(Fact::new(event_type("component.unregistered"), id.aggregate(), &event))
}
