//! Every component registers itself, says that it runs while it does, and says that it ends.

use std::time::Duration;

use async_nats::jetstream::kv::Store;
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use cim_core::subjects::Component;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::aggregate::Aggregate;
use super::engine::Ask;
use super::refusal::{CODE_HEADER, WHAT_HEADER};
use super::service::dispatch;
use crate::retry::Backoff;

/// The time between two heartbeats, of which the registry waits for three.
const BEAT: Duration = Duration::from_secs(10);
/// The registry is waited for so long at the end.
const PATIENCE: Duration = Duration::from_secs(5);

/// The way to the registry: over NATS, or, for the registry itself, to its own engine.
pub(super) struct Registrar<A: Aggregate> {
    pub(super) client: Client,
    pub(super) asks: mpsc::Sender<Ask<A>>,
    pub(super) bucket: Store,
    pub(super) instance: String,
}

impl<A: Aggregate> Registrar<A> {
    /// Registers, and sends heartbeats, until `cancel` comes; then unregisters.
    pub(super) async fn keep(self, cancel: CancellationToken) {
        let id = json!({ "name": A::NAME, "instance": self.instance });
        let mut registration = id.clone();
        registration["version"] = A::VERSION.into();
        registration["capabilities"] = json!(A::CAPABILITIES);
        let needs = A::REQUIRES.iter();
        let needs = needs.map(|(name, range)| json!({ "component": name, "version": range }));
        registration["requires"] = Value::Array(needs.collect());
        registration["expires_after_seconds"] = (3 * BEAT.as_secs()).into();
        let (mut tries, mut said) = (0, String::new());
        loop {
            match self.call("component.register", &registration).await {
                Ok(()) => {
                    tracing::info!("registered as `{}.{}`", A::NAME, self.instance);
                    (tries, said) = (0, String::new());
                    self.beat(&id, &cancel).await;
                }
                Err(why) => {
                    tries += 1;
                    if why != said {
                        tracing::warn!("not registered: {why}; trying again");
                        said = why;
                    }
                }
            }
            let backoff = Backoff { first: Duration::from_millis(250), most: BEAT };
            if cancel.is_cancelled() || !backoff.wait(tries, &cancel).await {
                break;
            }
        }
        let ended = timeout(PATIENCE, self.call("component.unregister", &id)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::debug!("not unregistered: the registration expires");
        }
    }

    /// Sends heartbeats until the registry does not know the component (any more), or `cancel` comes.
    async fn beat(&self, id: &Value, cancel: &CancellationToken) {
        loop {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = tokio::time::sleep(BEAT) => {}
            }
            match self.call("component.heartbeat", id).await {
                Err(why) if why.starts_with("not_registered") => return,
                // One that is lost is followed by another.
                Err(why) => tracing::debug!("heartbeat: {why}"),
                Ok(()) => {}
            }
        }
    }

    async fn call(&self, operation: &str, body: &Value) -> Result<(), String> {
        let body = Bytes::from(body.to_string());
        if A::COMPONENT == Component::ComponentRegistry {
            let own = A::endpoints().into_iter().find(|own| own.operation == operation);
            let own = own.expect("the registry has these endpoints");
            let done = dispatch(&own, &HeaderMap::new(), &body, &self.asks, &self.bucket).await;
            return done.map(drop).map_err(|refusal| format!("{}: {refusal}", refusal.code.word));
        }
        let subject = format!("cim.service.{}.{operation}", Component::ComponentRegistry);
        let answer = self.client.request(subject, body).await.map_err(|e| e.to_string())?;
        let headers = answer.headers.unwrap_or_default();
        match (headers.get(CODE_HEADER), headers.get(WHAT_HEADER)) {
            (Some(code), what) => {
                Err(format!("{code}: {}", what.map_or("", async_nats::HeaderValue::as_str)))
            }
            (None, _) => Ok(()),
        }
    }
}

/// Returns the name of this machine as an instance's: of `Host.example` `host`.
pub(super) fn machine() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.split('.').next().unwrap_or_default().to_ascii_lowercase();
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    let name: String = name.chars().filter(|c| plain(*c)).take(63).collect();
    let name = name.trim_matches('-');
    if name.is_empty() { "local".into() } else { name.into() }
}
