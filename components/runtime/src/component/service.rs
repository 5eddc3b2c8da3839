//! The component as a micro-service of NATS: endpoints with their schemas, and what came in handed to the engine.

use std::collections::HashMap;

use async_nats::jetstream::kv::Store;
use async_nats::service::{Request, Service, ServiceExt as _};
use async_nats::{Client, HeaderMap};
use bytes::Bytes;
use cim_core::envelope::EventId;
use futures_util::StreamExt as _;
use sha2::{Digest as _, Sha256};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinSet;

use super::aggregate::Aggregate;
use super::aggregate::{Endpoint, Kind, reply};
use super::done::Done;
use super::engine::{Ask, Command};
use super::refusal::{Code, Refusal};

/// The header with a command's id, a UUID of version 7. NATS's own header for it is taken as well.
pub const COMMAND_ID_HEADER: &str = "Cim-Command-Id";
/// The header with the id of the event that caused the command.
pub const CAUSATION_HEADER: &str = "Cim-Causation-Id";
/// The header with the id of the conversation that the command is part of.
pub const CORRELATION_HEADER: &str = "Cim-Correlation-Id";

/// The service, and its endpoints at work.
pub(super) struct Serving {
    service: Service,
    endpoints: JoinSet<()>,
}

/// Starts the service. Every process of a component is in one queue group, so a request reaches one of them.
pub(super) async fn start<A: Aggregate>(
    client: &Client,
    bucket: &Store,
    asks: &mpsc::Sender<Ask<A>>,
) -> Result<Serving, async_nats::Error> {
    let service = client
        .service_builder()
        .description(A::ABOUT)
        .queue_group(A::NAME)
        .start(A::NAME, A::VERSION)
        .await?;
    let mut endpoints = JoinSet::new();
    for endpoint in A::endpoints() {
        let name = endpoint.operation.replace('.', "-");
        let codes = [Code::INVALID, Code::UNAVAILABLE];
        let codes = codes.iter().chain(endpoint.refusals);
        let codes: Vec<_> = codes.map(|code| format!("{} {}", code.number, code.word)).collect();
        let metadata = HashMap::from([
            ("request".into(), endpoint.request.into()),
            ("reply".into(), endpoint.reply.into()),
            ("errors".into(), codes.join(", ")),
        ]);
        let subject = format!("cim.service.{}.{}", A::COMPONENT, endpoint.operation);
        let mut requests =
            service.endpoint_builder().name(name).metadata(metadata).add(subject).await?;
        let (asks, bucket) = (asks.clone(), bucket.clone());
        endpoints.spawn(async move {
            while let Some(request) = requests.next().await {
                let result = answered(&endpoint, &request, &asks, &bucket).await;
                let sent = match result {
                    Ok(body) => request.respond(Ok(body)).await,
                    Err(refusal) => {
                        tracing::debug!("{} refused: {refusal}", endpoint.operation);
                        request.respond_with_headers(Err(refusal.micro()), refusal.headers()).await
                    }
                };
                if let Err(error) = sent {
                    tracing::debug!("{} not answered: {error}", endpoint.operation);
                }
            }
        });
    }
    Ok(Serving { service, endpoints })
}

impl Serving {
    /// Takes no more requests, and answers those that came.
    pub(super) async fn drain(mut self) {
        if let Err(error) = self.service.stop().await {
            tracing::warn!("the service does not stop: {error}");
        }
        while self.endpoints.join_next().await.is_some() {}
    }
}

async fn answered<A: Aggregate>(
    endpoint: &Endpoint<A>,
    request: &Request,
    asks: &mpsc::Sender<Ask<A>>,
    bucket: &Store,
) -> Result<Bytes, Refusal> {
    let headers = request.message.headers.clone().unwrap_or_default();
    dispatch(endpoint, &headers, &request.message.payload, asks, bucket).await
}

/// Hands a request to the engine, and returns the body of its reply.
pub(super) async fn dispatch<A: Aggregate>(
    endpoint: &Endpoint<A>,
    headers: &HeaderMap,
    body: &Bytes,
    asks: &mpsc::Sender<Ask<A>>,
    bucket: &Store,
) -> Result<Bytes, Refusal> {
    match endpoint.kind {
        Kind::Command(read) => {
            let asked = read(body)?;
            let id = match id_of(headers, COMMAND_ID_HEADER)? {
                Some(id) => Some(id),
                None => id_of(headers, cim_core::envelope::MSG_ID_HEADER)?,
            };
            let (reply_to, result) = oneshot::channel();
            let command = Command {
                id: id.unwrap_or_else(EventId::now),
                digest: id.map(|_| command_digest(endpoint.operation, body)),
                correlation: id_of(headers, CORRELATION_HEADER)?,
                causation: id_of(headers, CAUSATION_HEADER)?,
                asked,
                reply: reply_to,
            };
            let _ = asks.send(Ask::Command(command)).await;
            let done: Done = result.await.map_err(|_| ending())??;
            Ok(reply(&done))
        }
        Kind::Query(answer) => {
            let body = body.clone();
            ask(asks, move |state| answer(state, &body)).await?
        }
        Kind::Note(note) => {
            let body = body.clone();
            let note = ask(asks, move |state| note(state, &body)).await??;
            bucket.put(&note.key, note.value).await.map_err(|error| {
                let what = format!("`{}` could not be written: {error}", note.key);
                Refusal::new(Code::UNAVAILABLE, what, "send it again")
            })?;
            Ok(Bytes::from_static(b"{}"))
        }
    }
}

async fn ask<A: Aggregate, T: Send + 'static>(
    asks: &mpsc::Sender<Ask<A>>,
    question: impl FnOnce(&A) -> T + Send + 'static,
) -> Result<T, Refusal> {
    let (reply_to, result) = oneshot::channel();
    let query = Ask::Query(Box::new(move |state| {
        let _ = reply_to.send(question(state));
    }));
    let _ = asks.send(query).await;
    result.await.map_err(|_| ending())
}

fn ending() -> Refusal {
    Refusal::new(
        Code::UNAVAILABLE,
        "this process is ending",
        "send the same request again, with the same id: another process or the next one answers it",
    )
}

fn id_of(headers: &HeaderMap, name: &str) -> Result<Option<EventId>, Refusal> {
    let Some(value) = headers.get(name) else { return Ok(None) };
    let id = value.as_str().parse().map_err(|error| {
        let what = format!("header `{name}` is no id: {error}");
        Refusal::new(Code::INVALID, what, "send a UUID of version 7, or leave the header out")
    })?;
    Ok(Some(id))
}

fn command_digest(operation: &str, body: &[u8]) -> String {
    let hash = Sha256::new().chain_update(operation).chain_update([0]).chain_update(body);
    hex::encode(&hash.finalize()[..16])
}
