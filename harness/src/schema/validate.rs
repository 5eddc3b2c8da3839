//! Lines of NDJSON, each an event in its envelope, against the schemas of the envelope and of the payload.

use std::collections::BTreeMap;

use boon::{Compiler, SchemaIndex, Schemas};
use cim_core::subjects::Component;
use serde::Serialize;
use serde_json::Value;

use super::Catalogue;

/// The schema of every event's envelope.
const ENVELOPE: &str = "event-envelope";

/// A line that is not as its schemas say, or whose schema is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(crate) struct Line {
    /// The line's number, from 1.
    #[serde(rename = "line")]
    pub(crate) number: usize,
    /// The schema with its version; absent if the line names none.
    pub(crate) schema: Option<String>,
    /// The place in the line, as a JSON pointer; empty for the line as a whole.
    pub(crate) path: String,
    /// The problem.
    pub(crate) reason: String,
}

/// The result for a file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Validated {
    /// The number of lines that are events.
    pub(crate) lines: usize,
    /// The lines that are not valid.
    pub(crate) invalid: Vec<Line>,
    /// The lines whose type or version has no schema here: readers keep and report such events.
    pub(crate) unknown: Vec<Line>,
}

/// Compiled schemas of a catalogue.
struct Validator<'a> {
    catalogue: &'a Catalogue,
    schemas: Schemas,
    compiled: BTreeMap<(String, u32), SchemaIndex>,
}

/// Validates lines; empty ones are passed over.
pub(crate) fn validate(catalogue: &Catalogue, text: &str) -> Validated {
    let mut validator = Validator { catalogue, schemas: Schemas::new(), compiled: BTreeMap::new() };
    let mut validated = Validated::default();
    for (line, number) in text.lines().zip(1..) {
        if line.trim().is_empty() {
            continue;
        }
        validated.lines += 1;
        let of = |schema: Option<String>, path: String, reason: String| Line {
            number,
            schema,
            path,
            reason,
        };
        let event: Value = match serde_json::from_str(line) {
            Ok(event) => event,
            Err(error) => {
                validated.invalid.push(of(None, String::new(), format!("is no JSON: {error}")));
                continue;
            }
        };
        let envelope = catalogue.schemas.get(ENVELOPE).and_then(|all| all.keys().next_back());
        let envelope = envelope.copied().unwrap_or(1);
        let problems = validator.problems(ENVELOPE, envelope, &event, "");
        if let Some((path, reason)) = problems.and_then(|problems| problems.into_iter().next()) {
            validated.invalid.push(of(Some(format!("{ENVELOPE}@{envelope}")), path, reason));
            continue;
        }
        let (name, version) = payload_schema(&event);
        let shown = format!("{name}@{version}");
        match validator.problems(&name, version, &event["payload"], "/payload") {
            None => {
                let reason = "its type or version has no schema here".into();
                validated.unknown.push(of(Some(shown), String::new(), reason));
            }
            Some(problems) => {
                let lines = problems.into_iter();
                validated
                    .invalid
                    .extend(lines.map(|(path, reason)| of(Some(shown.clone()), path, reason)));
            }
        }
    }
    validated
}

/// Returns the schema of an event's payload: `registry-component-registered` of `component.registered`.
fn payload_schema(event: &Value) -> (String, u32) {
    let text = |key: &str| event[key].as_str().unwrap_or_default();
    let version = event["schema_version"].as_u64().and_then(|version| version.try_into().ok());
    let name = format!("{}-{}", text("source"), text("type").replace('.', "-"));
    (name, version.unwrap_or(1))
}

/// Returns the name of the event type that a schema is of, and its component; `None` of other schemas.
pub(super) fn event_of(name: &str) -> Option<(Component, &str)> {
    Component::ALL
        .into_iter()
        .find_map(|of| Some((of, name.strip_prefix(of.token())?.strip_prefix('-')?)))
}

impl Validator<'_> {
    /// Returns the problems of a document, each with its place; `None` without such a schema.
    fn problems(
        &mut self,
        name: &str,
        version: u32,
        document: &Value,
        at: &str,
    ) -> Option<Vec<(String, String)>> {
        let index = self.index(name, version)?;
        let error = match self.schemas.validate(document, index) {
            Ok(()) => return Some(Vec::new()),
            Err(error) => error,
        };
        let mut problems = Vec::new();
        leaves(&error, at, &mut problems);
        Some(problems)
    }

    fn index(&mut self, name: &str, version: u32) -> Option<SchemaIndex> {
        let key = (name.to_owned(), version);
        if let Some(index) = self.compiled.get(&key) {
            return Some(*index);
        }
        let schema = self.catalogue.schemas.get(name)?.get(&version)?.clone();
        let mut compiler = Compiler::new();
        let url = format!("mem:///{name}/v{version}.json");
        compiler.add_resource(&url, schema).ok()?;
        let index = compiler.compile(&url, &mut self.schemas).ok()?;
        self.compiled.insert(key, index);
        Some(index)
    }
}

/// Collects the problems that have no closer cause.
fn leaves(error: &boon::ValidationError<'_, '_>, at: &str, found: &mut Vec<(String, String)>) {
    if error.causes.is_empty() {
        found.push((format!("{at}{}", error.instance_location), error.kind.to_string()));
    }
    for cause in &error.causes {
        leaves(cause, at, found);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn catalogue() -> Catalogue {
        Catalogue::load(None).unwrap()
    }

    fn event(kind: &str, version: u64, payload: &Value) -> String {
        let id = "0197f0f0-0000-7000-8000-000000000001";
        json!({
            "id": id, "type": kind, "source": "registry", "aggregate_id": "units.host",
            "aggregate_version": 1, "time": "2026-12-01T00:00:00Z", "schema_version": version,
            "payload": payload,
        })
        .to_string()
    }

    #[test]
    fn each_line_is_held_against_its_own_schemas() {
        let good = json!({ "name": "units", "instance": "host", "capability": "unit.create" });
        let lines = [
            event("capability.added", 1, &good),
            String::new(),
            "{".into(),
            event("capability.added", 1, &json!({ "name": "units" })),
            event("capability.added", 9, &good),
            event("capability.painted", 1, &good),
            event("capability.added", 1, &good).replace("\"type\"", "\"kind\""),
        ];
        let found = validate(&catalogue(), &lines.join("\n"));
        assert_eq!(found.lines, 6);
        let places = |lines: &[Line]| {
            let mut lines: Vec<_> =
                lines.iter().map(|l| (l.number, l.schema.clone().unwrap_or_default())).collect();
            lines.dedup();
            lines
        };
        let registry = |kind: &str, version: u32| format!("registry-capability-{kind}@{version}");
        assert_eq!(
            places(&found.invalid),
            [(3, String::new()), (4, registry("added", 1)), (7, "event-envelope@1".into())]
        );
        assert_eq!(
            places(&found.unknown),
            [(5, registry("added", 9)), (6, registry("painted", 1))]
        );
        assert!(found.invalid[1].path.starts_with("/payload"), "{found:?}");
    }
}
