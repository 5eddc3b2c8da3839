//! Values that a stage keeps, and their form in a checkpoint.

use std::collections::BTreeMap;
use std::sync::Arc;

use jaq_json::{Val, read};
use serde::{Deserialize, Serialize};

/// Values by the time and id of their events.
pub(super) type Values = BTreeMap<(i64, Arc<str>), Val>;

/// A value as text, in jaq's own form, which has NaN too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Kept {
    time: i64,
    id: String,
    value: String,
}

/// Returns the form of values in a checkpoint.
pub(super) fn save(values: &Values) -> Vec<Kept> {
    let kept = |((time, id), value): (&(i64, Arc<str>), &Val)| Kept {
        time: *time,
        id: id.to_string(),
        value: value.to_string(),
    };
    values.iter().map(kept).collect()
}

/// Returns the values of a checkpoint.
pub(super) fn load(kept: Vec<Kept>) -> Result<Values, String> {
    let value = |kept: Kept| {
        let value = read::parse_single(kept.value.as_bytes());
        let value = value.map_err(|error| format!("the value of `{}`: {error}", kept.id))?;
        Ok(((kept.time, kept.id.into()), value))
    };
    kept.into_iter().map(value).collect()
}
