//! A server, the program, and calls.

mod nats;
mod program;

pub(crate) use nats::{Nats, wait_until};
pub(crate) use program::{Program, mortal, peak, points, report, run};

use async_nats::HeaderMap;
use cim_core::envelope::EventId;
use serde_json::{Value, json};

/// A reply, or a refusal's code and text.
pub(crate) type Answer = Result<Value, (String, String)>;

/// Calls a service of information units, once.
pub(crate) async fn call_as(
    client: &async_nats::Client,
    operation: &str,
    id: Option<EventId>,
    body: &Value,
) -> Answer {
    let mut headers = HeaderMap::new();
    if let Some(id) = id {
        headers.insert("Cim-Command-Id", id.to_string());
    }
    let subject = format!("cim.service.iu.{operation}");
    let sent = client.request_with_headers(subject, headers, body.to_string().into()).await;
    let message = sent.map_err(|error| ("no_answer".into(), error.to_string()))?;
    let headers = message.headers.unwrap_or_default();
    match headers.get("Cim-Error-Code") {
        None => Ok(serde_json::from_slice(&message.payload).unwrap()),
        Some(code) => {
            Err((code.to_string(), headers.get("Nats-Service-Error").unwrap().to_string()))
        }
    }
}

/// Calls with a new id.
pub(crate) async fn call(client: &async_nats::Client, operation: &str, body: Value) -> Answer {
    call_as(client, operation, Some(EventId::now()), &body).await
}

/// Returns a note: a unit with a title and a text.
pub(crate) fn note(unit: &str, text: &str) -> Value {
    json!({
        "unit": unit, "tags": ["note"], "metadata": {"title": format!("note {unit}"), "text": text},
    })
}
