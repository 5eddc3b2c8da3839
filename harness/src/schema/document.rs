//! The event catalogue: each schema of today in Markdown, by component.

use std::fmt::Write as _;

use serde_json::Value;

use super::Catalogue;
use super::validate::event_of;

/// Returns docs/events.md.
pub(crate) fn markdown(catalogue: &Catalogue) -> String {
    let mut text = String::from(
        "# Events, requests and stored documents\n\nMade by `cim-harness schema docs` from fixtures/schemas; a test holds it to that. `cim-harness schema show NAME@VERSION` prints a schema, `cim-harness schema validate FILE.ndjson` holds events against theirs.\n",
    );
    for (name, versions) in &catalogue.schemas {
        let Some((version, schema)) = versions.last_key_value() else { continue };
        let _ = write!(text, "\n## {name}\n");
        let older = versions.len() - 1;
        let beside = match older {
            0 => String::new(),
            1 => ", one older version is read".into(),
            _ => format!(", {older} older versions are read"),
        };
        let of = event_of(name).map(|(component, _)| format!(" of the component `{component}`"));
        let _ = write!(text, "Version {version}{}{beside}.", of.unwrap_or_default());
        if let Some(description) = schema["description"].as_str() {
            let _ = write!(text, " {}", one_line(description));
        }
        text.push('\n');
        fields(&mut text, schema);
    }
    text
}

/// Writes a table of an object's keys.
fn fields(text: &mut String, schema: &Value) {
    let Some(properties) = schema["properties"].as_object() else { return };
    if properties.is_empty() {
        return;
    }
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    text.push_str("\n| key | type | meaning |\n|---|---|---|\n");
    for (key, of) in properties {
        let needed = if required.contains(&key.as_str()) { "" } else { ", optional" };
        let meaning = one_line(of["description"].as_str().unwrap_or("–"));
        let _ = writeln!(text, "| `{key}` | {}{needed} | {meaning} |", kind(of));
    }
}

/// Returns a type in a few words.
fn kind(of: &Value) -> String {
    if let Some(reference) = of["$ref"].as_str() {
        let name = reference.rsplit('/').next().unwrap_or(reference);
        return format!("`{name}`");
    }
    match &of["type"] {
        Value::String(name) if name == "array" && !of["items"].is_null() => {
            format!("array of {}", kind(&of["items"]))
        }
        Value::String(name) => name.clone(),
        Value::Array(kinds) => {
            kinds.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(" or ")
        }
        _ => {
            let parts = ["anyOf", "oneOf", "allOf"].iter().find_map(|key| of[*key].as_array());
            let parts: Vec<_> = parts.into_iter().flatten().map(kind).collect();
            if parts.is_empty() { "any".into() } else { parts.join(" or ") }
        }
    }
}

/// Returns a text without line ends and bars, which would end a cell.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}
