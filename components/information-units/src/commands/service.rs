//! Commands that are sent to the running service.

use std::time::Duration;

use async_nats::client::RequestErrorKind;
use async_nats::{Client, HeaderMap};
use cim_core::envelope::EventId;
use cim_core::subjects::Component;
use cim_runtime::component::{CODE_HEADER, Code, Done, Failure, WAY_OUT_HEADER, WHAT_HEADER};
use serde_json::Value;

/// A command is sent so often.
const TRIES: u32 = 5;
/// The time between two tries.
const PAUSE: Duration = Duration::from_millis(500);

/// The way to the service.
pub(super) struct Service {
    client: Client,
}

impl Service {
    pub(super) fn new(client: Client) -> Self {
        Self { client }
    }

    /// Sends a command until it is answered, and reports whether it changed anything.
    pub(super) async fn command(&self, operation: &str, body: &Value) -> Result<bool, Failure> {
        let subject = format!("cim.service.{}.{operation}", Component::InformationUnits);
        let mut headers = HeaderMap::new();
        headers.insert("Cim-Command-Id", EventId::now().to_string());
        let mut said = String::new();
        for _ in 0..TRIES {
            let sent = self.client.request_with_headers(
                subject.clone(),
                headers.clone(),
                body.to_string().into(),
            );
            match sent.await {
                Ok(answer) => {
                    let headers = answer.headers.unwrap_or_default();
                    let header = |name: &str| headers.get(name).map_or("", |value| value.as_str());
                    let code = header(CODE_HEADER);
                    if code.is_empty() {
                        let done = serde_json::from_slice::<Done>(&answer.payload);
                        let done = done.map_err(|error| Failure::Other(error.to_string()))?;
                        return Ok(done.changed);
                    }
                    said = format!("{}: {}", header(WHAT_HEADER), header(WAY_OUT_HEADER));
                    if code != Code::UNAVAILABLE.word {
                        return Err(Failure::Own {
                            status: 6,
                            said: format!("{operation}: {said}"),
                        });
                    }
                }
                Err(error) if error.kind() == RequestErrorKind::NoResponders => {
                    said = "no process answers: start `cim-information-units serve`".into();
                }
                Err(error) => said = error.to_string(),
            }
            tokio::time::sleep(PAUSE).await;
        }
        Err(Failure::Own { status: 3, said: format!("{operation}: {said}") })
    }
}
