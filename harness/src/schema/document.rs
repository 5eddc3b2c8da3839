//! The catalogue of documents: each schema of today with its keys, by name.

use serde_json::Value;

use super::Catalogue;
use super::validate::event_of;

/// A schema as a reader of the catalogue sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Entry {
    /// The schema's name.
    pub(crate) name: String,
    /// The newest version.
    pub(crate) version: u32,
    /// The number of older versions.
    pub(crate) older: usize,
    /// The component whose schema it is, by its token.
    pub(crate) component: Option<String>,
    /// Its meaning, on one line.
    pub(crate) description: String,
    /// The keys of the document; empty if it is no object.
    pub(crate) fields: Vec<Field>,
}

/// A key of a document.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Field {
    /// The key.
    pub(crate) key: String,
    /// Its type, in a few words.
    pub(crate) kind: String,
    /// True if a document must have it.
    pub(crate) required: bool,
    /// Its meaning, on one line.
    pub(crate) meaning: String,
}

/// Returns the newest version of each schema.
pub(crate) fn entries(catalogue: &Catalogue) -> Vec<Entry> {
    let entry = |(name, versions): (&String, &std::collections::BTreeMap<u32, Value>)| {
        let (version, schema) = versions.last_key_value()?;
        Some(Entry {
            name: name.clone(),
            version: *version,
            older: versions.len() - 1,
            component: event_of(name).map(|(component, _)| component.to_string()),
            description: one_line(schema["description"].as_str().unwrap_or_default()),
            fields: fields(schema),
        })
    };
    catalogue.schemas.iter().filter_map(entry).collect()
}

impl Entry {
    /// Returns the version and the component in words.
    pub(super) fn place(&self) -> String {
        let older = match self.older {
            0 => String::new(),
            1 => ", one older version is read".into(),
            older => format!(", {older} older versions are read"),
        };
        let of = self.component.as_ref().map(|component| format!(" of the component {component}"));
        format!("Version {}{}{older}.", self.version, of.unwrap_or_default())
    }
}

/// Returns the keys of an object.
fn fields(schema: &Value) -> Vec<Field> {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let field = |(key, of): (&String, &Value)| Field {
        key: key.clone(),
        kind: kind(of),
        required: required.contains(&key.as_str()),
        meaning: one_line(of["description"].as_str().unwrap_or("–")),
    };
    schema["properties"].as_object().into_iter().flatten().map(field).collect()
}

/// Returns a type in a few words.
fn kind(of: &Value) -> String {
    if let Some(reference) = of["$ref"].as_str() {
        return reference.rsplit('/').next().unwrap_or(reference).to_owned();
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

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
