//! Values between stages, and their JSON.

use jaq_json::{Val, read};

/// Reads one JSON value.
pub(crate) fn parse(json: &[u8]) -> Result<Val, String> {
    // jaq reads more than JSON: NaN, comments, keys that are no texts.
    serde_json::from_slice::<serde::de::IgnoredAny>(json).map_err(|error| error.to_string())?;
    read::parse_single(json).map_err(|error| error.to_string())
}

/// Writes a value as JSON. `None` when it has none: NaN, bytes, keys that are no texts.
pub(crate) fn write(value: &Val) -> Option<String> {
    let text = value.to_string();
    serde_json::from_str::<serde::de::IgnoredAny>(&text).ok()?;
    Some(text)
}

/// Returns a value of serde's.
pub(crate) fn of(json: &serde_json::Value) -> Val {
    read::parse_single(json.to_string().as_bytes()).expect("serde_json writes JSON")
}

/// Returns a text as a value.
pub(crate) fn text(text: &str) -> Val {
    Val::utf8_str(text.as_bytes().to_vec())
}

/// Returns an object.
pub(crate) fn object<const N: usize>(fields: [(&str, Val); N]) -> Val {
    Val::obj(fields.into_iter().map(|(key, value)| (text(key), value)).collect())
}

/// Returns the text of a value that is one.
pub(crate) fn as_text(value: &Val) -> Option<&str> {
    match value {
        Val::TStr(bytes) => std::str::from_utf8(bytes).ok(),
        _ => None,
    }
}

/// Returns a value's text where it is one, otherwise its JSON: the form of keys and ids.
pub(crate) fn label(value: &Val) -> String {
    as_text(value).map_or_else(|| value.to_string(), str::to_owned)
}
