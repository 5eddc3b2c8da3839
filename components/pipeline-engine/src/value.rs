//! Values between stages, and their JSON.

use jaq_json::{Val, read};

/// Returns a value of serde's.
pub(crate) fn of(json: &serde_json::Value) -> Val {
    read::parse_single(json.to_string().as_bytes()).expect("serde_json writes JSON")
}
