//! A server, the program, and calls.

mod nats;
mod program;

pub(crate) use nats::{Nats, wait_until};
pub(crate) use program::{Program, mortal, offline, offline_of, peak, report, run};

use async_nats::HeaderMap;
use cim_core::envelope::EventId;
use serde_json::{Value, json};

/// A reply, or a refusal's code, text and number.
pub(crate) type Answer = Result<Value, (String, String, String)>;

/// Calls a service of the registry, once.
pub(crate) async fn call(
    client: &async_nats::Client,
    operation: &str,
    id: Option<EventId>,
    body: &Value,
) -> Answer {
    let mut headers = HeaderMap::new();
    if let Some(id) = id {
        headers.insert("Cim-Command-Id", id.to_string());
    }
    let subject = format!("cim.service.registry.{operation}");
    let sent = client.request_with_headers(subject, headers, body.to_string().into()).await;
    let message = sent.map_err(|e| ("no_answer".into(), e.to_string(), String::new()))?;
    let headers = message.headers.unwrap_or_default();
    let header = |name: &str| headers.get(name).map_or_else(String::new, ToString::to_string);
    if header("Nats-Service-Error-Code").is_empty() {
        return Ok(serde_json::from_slice(&message.payload).unwrap());
    }
    assert!(message.payload.is_empty(), "a refusal is in headers alone");
    let said = format!("{}: {}", header("Cim-Error-What"), header("Cim-Error-Way-Out"));
    assert_eq!(header("Nats-Service-Error"), said);
    Err((header("Cim-Error-Code"), said, header("Nats-Service-Error-Code")))
}

/// Calls until an answer comes, as a caller does whose command has an id.
pub(crate) async fn insist(
    client: &async_nats::Client,
    operation: &str,
    id: EventId,
    body: &Value,
) -> Answer {
    wait_until("the registry answers", async || {
        match call(client, operation, Some(id), body).await {
            Err((code, what, _)) if code == "no_answer" || code == "unavailable" => Err(what),
            answer => Ok(answer),
        }
    })
    .await
}

/// Returns a registration.
pub(crate) fn registration(name: &str, version: &str, capabilities: &[&str]) -> Value {
    json!({
        "name": name, "instance": "host", "version": version, "capabilities": capabilities,
        "expires_after_seconds": 3600,
    })
}
