//! The JSON Schema of scenario files, for editors and for the reference.

use schemars::generate::SchemaSettings;
use serde_json::Value;

use super::Scenario;

/// Returns the JSON Schema of a scenario file, draft 7: the newest that editors' TOML extensions
/// understand.
pub fn schema() -> Value {
    let generator = SchemaSettings::draft07().into_generator();
    let mut schema = generator.into_root_schema_for::<Scenario>().to_value();
    without_null(&mut schema);
    schema
}

/// Returns every kind of step and its effect, in the order of the type.
pub(crate) fn kinds_of_step() -> Vec<(String, String)> {
    let schema = schema();
    let text = |value: &Value| value.as_str().unwrap_or_default().replace('\n', " ");
    let kinds = schema["definitions"]["Step"]["oneOf"].as_array().into_iter().flatten();
    kinds
        .map(|kind| (text(&kind["properties"]["do"]["const"]), text(&kind["description"])))
        .collect()
}

/// Removes null from a schema: TOML has none, and an optional key is absent instead.
fn without_null(schema: &mut Value) {
    match schema {
        Value::Array(items) => items.iter_mut().for_each(without_null),
        Value::Object(keys) => {
            if let Some(Value::Array(types)) = keys.get_mut("type") {
                types.retain(|name| name != "null");
                if let [only] = &types[..] {
                    let only = only.clone();
                    keys.insert("type".into(), only);
                }
            }
            if let Some(Value::Array(of)) = keys.get_mut("anyOf") {
                of.retain(|schema| schema["type"] != "null");
                if of.len() == 1 {
                    let only = keys.remove("anyOf").expect("it was just there");
                    keys.insert("allOf".into(), only);
                }
            }
            if keys.get("default").is_some_and(Value::is_null) {
                keys.remove("default");
            }
            keys.values_mut().for_each(without_null);
        }
        _ => {}
    }
}
