//! The admin endpoint: faults, stats, clock. JSON over HTTP on a port of its own, unauthenticated.
//!
//! ```text
//! GET    /healthz    {"status":"ok"} once S3 is served
//! GET    /stats      Stats
//! GET    /faults     {"seed":0,"rules":[RuleState…]}
//! PUT    /faults     [Rule…], in place of the plan in force; answers as GET
//! DELETE /faults     ends all faults; answers as GET
//! GET    /clock      {"offset_seconds":0}
//! PUT    /clock      {"advance_seconds":7776000}, moves the clock of storage on; answers as GET
//! GET    /behaviour  the table of Wasabi's behaviour
//! ```
//!
//! Errors are `{"error":"…"}` with status 400, 404 or 405.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::behaviour;
use crate::faults::{PlanError, Rule};
use crate::state::State;

const BODY_BYTES: usize = 1024 * 1024;

/// The admin endpoint.
#[derive(Clone)]
pub(crate) struct Admin {
    state: Arc<State>,
}

/// The body of `PUT /clock`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Advance {
    advance_seconds: u32,
}

/// JSON, or an error.
type Answer = Result<String, (StatusCode, String)>;

impl Admin {
    pub(crate) fn new(state: Arc<State>) -> Self {
        Self { state }
    }

    pub(crate) async fn serve(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<Full<Bytes>>, Infallible> {
        let (status, mut text) = match self.answer(request).await {
            Ok(text) => (StatusCode::OK, text),
            Err((status, error)) => (status, json!({ "error": error }).to_string()),
        };
        text.push('\n');
        let mut response = Response::new(Full::from(text));
        *response.status_mut() = status;
        let json = HeaderValue::from_static("application/json");
        response.headers_mut().insert(CONTENT_TYPE, json);
        Ok(response)
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        let (parts, body) = request.into_parts();
        match (parts.uri.path(), parts.method) {
            ("/healthz", Method::GET) => show(&json!({ "status": "ok" })),
            ("/stats", Method::GET) => {
                let state = self.state.clone();
                let counting =
                    tokio::task::spawn_blocking(move || state.counters.snapshot(&state.store));
                show(&counting.await.map_err(internal)?)
            }
            ("/faults", Method::GET) => self.faults(),
            ("/faults", Method::PUT) => {
                let rules: Vec<Rule> = read(body).await?;
                let refused = |error: PlanError| (StatusCode::BAD_REQUEST, error.to_string());
                self.state.plan.set(rules).map_err(refused)?;
                let plan = self.faults()?;
                tracing::info!(plan, "fault plan set");
                Ok(plan)
            }
            ("/faults", Method::DELETE) => {
                // An empty plan has no rule to refuse.
                let _ = self.state.plan.set(Vec::new());
                tracing::info!("fault plan cleared");
                self.faults()
            }
            ("/clock", Method::GET) => self.clock(),
            ("/clock", Method::PUT) => {
                let Advance { advance_seconds } = read(body).await?;
                let by = Duration::from_secs(advance_seconds.into());
                self.state.store.clock().advance(by);
                tracing::info!(advance_seconds, "clock moved on");
                self.clock()
            }
            ("/behaviour", Method::GET) => show(&behaviour::TABLE),
            (path @ ("/healthz" | "/stats" | "/faults" | "/clock" | "/behaviour"), method) => {
                Err((StatusCode::METHOD_NOT_ALLOWED, format!("`{path}` does not take {method}")))
            }
            (path, _) => Err((
                StatusCode::NOT_FOUND,
                format!("no `{path}`; there are /healthz, /stats, /faults, /clock and /behaviour"),
            )),
        }
    }

    fn faults(&self) -> Answer {
        show(&json!({ "seed": self.state.plan.seed(), "rules": self.state.plan.state() }))
    }

    fn clock(&self) -> Answer {
        show(&json!({ "offset_seconds": self.state.store.clock().offset_seconds() }))
    }
}

fn show(value: &impl Serialize) -> Answer {
    serde_json::to_string(value).map_err(internal)
}

fn internal(error: impl std::fmt::Display) -> (StatusCode, String) {
    (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
}

async fn read<T: serde::de::DeserializeOwned>(body: Incoming) -> Result<T, (StatusCode, String)> {
    let bytes = Limited::new(body, BODY_BYTES)
        .collect()
        .await
        .map_err(|error| (StatusCode::BAD_REQUEST, format!("failed to read the body: {error}")))?
        .to_bytes();
    serde_json::from_slice(&bytes).map_err(|error| (StatusCode::BAD_REQUEST, error.to_string()))
}
