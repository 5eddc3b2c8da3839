//! Lines of JSON for what comes out, equal for equal events.

use serde::Serialize;
use serde_json::value::RawValue;

use super::event::{Lost, Out, Reason};
use super::late;
use crate::definition::Definition;
use crate::value;

#[derive(Serialize)]
struct Record<'a> {
    output: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    time: Option<String>,
    #[serde(skip_serializing_if = "str::is_empty")]
    key: &'a str,
    value: Box<RawValue>,
}

/// Returns the line of an event that left by an output.
///
/// # Errors
/// With the event as a dead letter, when its value is no JSON.
pub fn out_line(definition: &Definition, out: &Out) -> Result<String, Lost> {
    let event = &out.event;
    let output = &definition.outputs[out.output].name;
    let Some(value) = value::write(&event.value) else {
        return Err(Lost {
            stage: output.as_str().into(),
            id: event.id.clone(),
            reason: Reason::Failed(
                "the value is no JSON: NaN, bytes, or keys that are no texts".into(),
            ),
            value: value::text(&event.value.to_string()),
        });
    };
    let value = RawValue::from_string(value).expect("it was read as JSON");
    let record = Record {
        output,
        id: &event.id,
        time: event.time.map(late::rfc3339),
        key: &event.key,
        value,
    };
    Ok(serde_json::to_string(&record).expect("texts and JSON are JSON"))
}

#[derive(Serialize)]
struct LostRecord<'a> {
    /// `dead` or `late`.
    lost: &'static str,
    stage: &'a str,
    id: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    why: Option<&'a str>,
    value: Box<RawValue>,
}

/// Returns the line of an event that went no further.
pub fn lost_line(event: &Lost) -> String {
    let (lost, why) = match &event.reason {
        Reason::Failed(why) => ("dead", Some(why.as_str())),
        Reason::Late => ("late", None),
    };
    let value = value::write(&event.value);
    let value = value.or_else(|| value::write(&value::text(&event.value.to_string())));
    let value = value.and_then(|value| RawValue::from_string(value).ok()).expect("a text is JSON");
    let record = LostRecord { lost, stage: &event.stage, id: &event.id, why, value };
    serde_json::to_string(&record).expect("texts and JSON are JSON")
}
