//! The rules: which request becomes which event, and which is refused.

use std::num::NonZeroU32;

use cim_core::envelope::Content;
use cim_core::names::{AggregateId, ContentId, EventType};
use cim_runtime::component::{Code, Fact, Refusal};
use serde_json::Value;

use crate::contract::{
    Body, Create, Created, Edge, Link, Linked, RegisterType, TypeRegistered, Update, Updated, Word,
};
use crate::packed::Packed;
use crate::record::{Record, inexact};
use crate::state::{Unit, Units, Version};
use crate::validators;

/// There is another unit of this name.
pub(crate) const UNIT_EXISTS: Code = Code { word: "unit_exists", number: 409 };
/// There is no such unit.
pub(crate) const UNIT_NOT_FOUND: Code = Code { word: "unit_not_found", number: 404 };
/// The unit has a newer version than the caller knows.
pub(crate) const VERSION_CONFLICT: Code = Code { word: "version_conflict", number: 409 };
/// There is no such version.
pub(crate) const VERSION_NOT_FOUND: Code = Code { word: "version_not_found", number: 404 };
/// There is no such type.
pub(crate) const TYPE_NOT_FOUND: Code = Code { word: "type_not_found", number: 404 };
/// The schema is none that can be used.
pub(crate) const TYPE_INVALID: Code = Code { word: "type_invalid", number: 400 };
/// The type has another version than the caller knows.
pub(crate) const TYPE_CONFLICT: Code = Code { word: "type_conflict", number: 409 };
/// The metadata does not meet its type.
pub(crate) const METADATA_INVALID: Code = Code { word: "metadata_invalid", number: 400 };

/// A request to change something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Command {
    /// `unit.create`
    Create(Create),
    /// `unit.update`
    Update(Update),
    /// `unit.link`
    Link(Link),
    /// `type.register`
    Register(RegisterType),
}

pub(crate) fn decide(units: &Units, command: &Command) -> Result<Option<Fact>, Refusal> {
    match command {
        Command::Create(asked) => create(units, asked),
        Command::Update(asked) => update(units, asked),
        Command::Link(asked) => link(units, asked),
        Command::Register(asked) => register(units, asked),
    }
}

fn create(units: &Units, asked: &Create) -> Result<Option<Fact>, Refusal> {
    let Create { unit, body } = asked;
    let version = Record::new(unit, None, body).id();
    if let Some(known) = units.all.get(unit) {
        if known.versions.len() == 1 && known.head().id == version {
            return Ok(None);
        }
        return Err(Refusal::new(
            UNIT_EXISTS,
            format!("`{unit}` exists with another content"),
            "send `unit.update`, or give the new unit another name",
        ));
    }
    let type_version = checked(units, body)?;
    let event = Created { unit: unit.clone(), version, type_version, body: body.clone() };
    let content = body.content.clone().map(|id| Content { id, previous: None });
    Ok(Some(fact("unit.created", unit, content, &event)))
}

fn update(units: &Units, asked: &Update) -> Result<Option<Fact>, Refusal> {
    let Update { unit, expected, body } = asked;
    let head = find(units, unit)?.head();
    let version = Record::new(unit, Some(expected), body).id();
    if head.id == version || (head.id == *expected && head.body == Packed::new(body)) {
        return Ok(None);
    }
    if head.id != *expected {
        return Err(Refusal::new(
            VERSION_CONFLICT,
            format!("the newest version of `{unit}` is `{}`, not `{expected}`", head.id),
            "look at it with `unit.get`, and send the update with that version as `expected`",
        ));
    }
    let type_version = checked(units, body)?;
    let event = Updated {
        unit: unit.clone(),
        version,
        previous: expected.clone(),
        type_version,
        body: body.clone(),
    };
    let before = head.body.body().content;
    let content = body.content.clone().map(|id| Content { id, previous: before });
    Ok(Some(fact("unit.updated", unit, content, &event)))
}

fn link(units: &Units, asked: &Link) -> Result<Option<Fact>, Refusal> {
    let Link { unit, relation, target } = asked.clone();
    find(units, &target)?;
    let edge = Edge { relation, unit: target };
    if find(units, &unit)?.links.contains(&edge) {
        return Ok(None);
    }
    let event = Linked { unit, relation: edge.relation, target: edge.unit };
    Ok(Some(fact("unit.linked", &event.unit, None, &event)))
}

fn register(units: &Units, asked: &RegisterType) -> Result<Option<Fact>, Refusal> {
    let RegisterType { kind, schema, expected } = asked;
    let newest = units.newest(kind);
    if newest.is_some_and(|(_, known)| known == schema) {
        return Ok(None);
    }
    let number = newest.map(|(number, _)| number);
    if number != *expected {
        let is = number.map_or("not there".into(), |number| format!("of version {number}"));
        return Err(Refusal::new(
            TYPE_CONFLICT,
            format!("type `{kind}` is {is}"),
            "send the version that you know as `expected`, and none for a new type",
        ));
    }
    if let Some(number) = inexact(schema) {
        return Err(too_large(number));
    }
    if let Some(problem) = validators::problem(schema) {
        return Err(Refusal::new(
            TYPE_INVALID,
            format!("the schema of `{kind}` cannot be used: {problem}"),
            "send a JSON Schema that needs no other document",
        ));
    }
    let version = number.map_or(Some(NonZeroU32::MIN), |number| number.checked_add(1));
    let version = version.ok_or_else(|| {
        Refusal::new(TYPE_CONFLICT, "the type has too many versions", "register another type")
    })?;
    let event = TypeRegistered { kind: kind.clone(), version, schema: schema.clone() };
    // No unit has a `/` in its name.
    let id = AggregateId::new(format!("type/{kind}")).expect("a word is an aggregate id");
    let registered = event_type("type.registered");
    Ok(Some(Fact::new(registered, id, &event)))
}

/// Checks metadata, and returns the version of the type that it was checked against.
fn checked(units: &Units, body: &Body) -> Result<Option<NonZeroU32>, Refusal> {
    if let Some(number) = body.metadata.values().find_map(inexact) {
        return Err(too_large(number));
    }
    let Some(kind) = &body.kind else { return Ok(None) };
    let (version, schema) = newest(units, kind)?;
    let problems = validators::problems(schema, &body.metadata);
    if problems.is_empty() {
        return Ok(Some(version));
    }
    Err(Refusal::new(
        METADATA_INVALID,
        format!(
            "the metadata is none of type `{kind}`, version {version}: {}",
            problems.join("; ")
        ),
        "mend it, or look at the type's schema in the view of its name",
    ))
}

fn too_large(number: &serde_json::Number) -> Refusal {
    Refusal::new(
        Code::INVALID,
        format!("`{number}` is beyond 2^53, where readers of JSON begin to round"),
        "send it as a string",
    )
}

/// Returns the newest version of a type.
pub(crate) fn newest<'a>(
    units: &'a Units,
    kind: &Word,
) -> Result<(NonZeroU32, &'a Value), Refusal> {
    units.newest(kind).ok_or_else(|| {
        let what = format!("there is no type `{kind}`");
        Refusal::new(TYPE_NOT_FOUND, what, "send `type.register` first, or leave the type out")
    })
}

/// Returns a unit.
pub(crate) fn find<'a>(units: &'a Units, unit: &Word) -> Result<&'a Unit, Refusal> {
    units.all.get(unit).ok_or_else(|| {
        let what = format!("there is no unit `{unit}`");
        Refusal::new(UNIT_NOT_FOUND, what, "send `unit.create` first, or look with `unit.list`")
    })
}

fn event_type(name: &str) -> EventType {
    EventType::new(name).expect("these event types are valid")
}

fn fact(name: &str, about: &Word, content: Option<Content>, event: &impl serde::Serialize) -> Fact {
    Fact { content, ..Fact::new(event_type(name), about.aggregate(), event) }
}

/// Returns the version of a unit that has this id.
pub(crate) fn version<'a>(
    unit: &'a Unit,
    name: &Word,
    id: Option<&ContentId>,
) -> Result<&'a Version, Refusal> {
    let Some(id) = id else { return Ok(unit.head()) };
    unit.versions.iter().find(|version| version.id == *id).ok_or_else(|| {
        let what = format!("`{name}` has no version `{id}`");
        Refusal::new(VERSION_NOT_FOUND, what, "look at `versions` of `unit.get`")
    })
}
