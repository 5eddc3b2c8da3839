//! Validators: the JSON Schemas of types.

use serde_json::{Map, Value};

/// The most problems that are named.
const NAMED: usize = 10;

/// Returns the problem of a schema that cannot be used: one that is none, or that needs another document.
pub(crate) fn problem(schema: &Value) -> Option<String> {
    jsonschema::validator_for(schema).err().map(|error| cut(&error.to_string()))
}

/// Returns the problems of metadata under a schema, the first of them.
pub(crate) fn problems(schema: &Value, metadata: &Map<String, Value>) -> Vec<String> {
    let validator = match jsonschema::validator_for(schema) {
        Ok(validator) => validator,
        Err(error) => return vec![cut(&error.to_string())],
    };
    let document = Value::Object(metadata.clone());
    let found = validator.iter_errors(&document).take(NAMED);
    found.map(|error| cut(&format!("`{}`: {error}", error.instance_path()))).collect()
}

fn cut(text: &str) -> String {
    match text.char_indices().nth(300) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
