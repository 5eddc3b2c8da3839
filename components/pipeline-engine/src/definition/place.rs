//! Places in a document: from a path of keys to line and column.

use std::collections::BTreeMap;

use serde_json::value::RawValue;
use toml::de::{DeTable, DeValue};

use super::stage::Format;

/// A step of a path.
#[derive(Debug, Clone)]
pub(super) enum Step {
    Key(String),
    Index(usize),
}

/// Returns the range in bytes of the value at a path, or of the nearest that encloses it.
pub(super) fn range(text: &str, format: Format, path: &[Step]) -> std::ops::Range<usize> {
    match format {
        Format::Toml => in_toml(text, path),
        Format::Json => in_json(text, path),
    }
}

fn in_toml(text: &str, path: &[Step]) -> std::ops::Range<usize> {
    let Ok(root) = DeTable::parse(text) else { return 0..0 };
    let (mut range, mut value) = (0..0, DeValue::Table(root.into_inner()));
    for step in path {
        let next = match (step, value) {
            (Step::Key(key), DeValue::Table(mut table)) => table.remove(key.as_str()),
            (Step::Index(index), DeValue::Array(array)) => array.into_iter().nth(*index),
            _ => None,
        };
        let Some(next) = next else { break };
        range = next.span();
        value = next.into_inner();
    }
    range
}

fn in_json(text: &str, path: &[Step]) -> std::ops::Range<usize> {
    let mut value = text;
    for step in path {
        let next = match step {
            Step::Key(key) => serde_json::from_str::<BTreeMap<String, &RawValue>>(value)
                .ok()
                .and_then(|mut object| object.remove(key)),
            Step::Index(index) => serde_json::from_str::<Vec<&RawValue>>(value)
                .ok()
                .and_then(|array| array.get(*index).copied()),
        };
        let Some(next) = next else { break };
        value = next.get();
    }
    let start = value.as_ptr() as usize - text.as_ptr() as usize;
    start..start + value.len()
}
