//! The service of the S3 port: it hands each request to the S3 service, carries out the faults that
//! concern the connection, counts requests, and logs those that asked for something not implemented.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::body::{Body as _, Incoming};
use hyper::header::{CONTENT_LENGTH, CONTENT_RANGE, EXPECT, HeaderName, HeaderValue, SERVER};
use hyper::{Request, Response, StatusCode};
use s3s::service::S3Service;
use s3s::{Body, HttpResponse};

use crate::faults::{Fault, InjectedFault};
use crate::request_context::{ReplyBody, RequestBody, RequestContext, Tamper};
use crate::stats::{Counters, Outcome};

/// Most bytes to read of a body that no operation needs, so that the client gets to read its answer.
const DRAIN_BYTES: u64 = 16 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Operation name that requests are counted under when they never had one.
const REFUSED: &str = "Refused";

/// The connection is to be cut without an answer.
#[derive(Debug, thiserror::Error)]
#[error("connection cut")]
pub(crate) struct Cut;

impl From<Infallible> for Cut {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// Serves the S3 port.
#[derive(Clone)]
pub(crate) struct Service {
    s3: S3Service,
    counters: Arc<Counters>,
    requests: Arc<AtomicU64>,
}

/// Counts the request when it ends, however it ends.
struct Count<'a> {
    counters: &'a Counters,
    context: Arc<RequestContext>,
    outcome: Outcome,
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        let operation = operation(&self.context);
        self.counters.ended(operation, self.outcome, self.context.bytes_in());
    }
}

fn operation(context: &RequestContext) -> &str {
    context.target().map_or(REFUSED, |target| target.operation.as_str())
}

impl Service {
    pub(crate) fn new(s3: S3Service, counters: Arc<Counters>) -> Self {
        Self { s3, counters, requests: Arc::default() }
    }

    /// Serves one request. An error makes hyper cut the connection.
    pub(crate) async fn serve(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<ReplyBody>, Cut> {
        let (mut parts, body) = request.into_parts();
        let context = Arc::new(RequestContext::new(body));
        // A client that goes away drops this future, so the request counts as cut until its end.
        let mut count =
            Count { counters: &self.counters, context: context.clone(), outcome: Outcome::Cut };
        let request_id = HeaderValue::from(self.requests.fetch_add(1, Ordering::Relaxed));
        let method = parts.method.clone();
        let uri = parts.uri.clone();
        let expects_continue = parts.headers.contains_key(EXPECT);
        parts.extensions.insert(context.clone());
        let body = RequestBody(context.clone());
        let request = Request::from_parts(parts, Body::http_body(body.clone()));
        let mut response = self.s3.call(request).await.map_err(|error| {
            let error: s3s::StdError = error.into();
            tracing::error!(%method, %uri, %error, "failed to answer");
            Cut
        })?;
        if response.headers().contains_key(CONTENT_RANGE) && response.status() == StatusCode::OK {
            // s3s answers 200 to a HEAD with a range.
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }

        let injected = context.fault().cloned().unwrap_or_default();
        let tamper = match injected.fault {
            Some(Fault::Cut) => return Err(Cut),
            Some(Fault::Timeout) => {
                hold(body, injected.hold).await;
                return Err(Cut);
            }
            Some(Fault::TornUpload) if context.is_torn() => return Err(Cut),
            Some(Fault::LostResponse) if response.status().is_success() => return Err(Cut),
            _ => tamper(&injected, &response),
        };
        let status = response.status().as_u16();
        if status == 501 {
            // Logged as an error, because tests pass for no reason if a fake lacks something in silence.
            let operation = operation(&context);
            tracing::error!(operation, %method, %uri, request_id = ?request_id, "not implemented");
        }
        // A client that sent `Expect: 100-continue` waits for an answer before its body, and this is the
        // answer. Every other client has to be allowed to finish first.
        if !(expects_continue && context.bytes_in() == 0) {
            drain(body).await;
        }
        count.outcome = Outcome::Status(status);
        let operation = operation(&context).to_owned();
        tracing::debug!(operation, %method, %uri, status, "served");
        let counters = self.counters.clone();
        let mut reply = response.map(|body| ReplyBody::new(body, tamper, counters, operation));
        let headers = reply.headers_mut();
        headers.insert(SERVER, HeaderValue::from_static("cim-fake-wasabi"));
        headers.insert(HeaderName::from_static("x-amz-request-id"), request_id);
        Ok(reply)
    }
}

/// Returns the change that a fault makes to the body of a response.
fn tamper(injected: &InjectedFault, response: &HttpResponse) -> Tamper {
    if !response.status().is_success() {
        return Tamper::Nothing;
    }
    let length = response.headers().get(CONTENT_LENGTH);
    let length: u64 = length.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
    match injected.fault {
        Some(Fault::TornDownload) => Tamper::CutAfter(
            injected.after_bytes.unwrap_or(length / 2).min(length.saturating_sub(1)),
        ),
        Some(Fault::BitFlip) if length > 0 => {
            let bit = injected.random % 8;
            Tamper::Flip { at: (injected.random / 8) % length, mask: 1 << bit }
        }
        _ => Tamper::Nothing,
    }
}

/// Reads the request's body and answers nothing, for `time`.
async fn hold(mut body: RequestBody, time: Duration) {
    let silence = async {
        while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
        std::future::pending::<()>().await;
    };
    // The timeout is the purpose.
    let _ = tokio::time::timeout(time, silence).await;
}

/// Reads the rest of a request's body, within limits.
async fn drain(mut body: RequestBody) {
    let start = body.0.bytes_in();
    let rest = async {
        while !body.is_end_stream() && body.0.bytes_in() - start < DRAIN_BYTES {
            let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await else { break };
        }
    };
    // A client that is slower than this sees its connection closed.
    let _ = tokio::time::timeout(DRAIN_TIME, rest).await;
}
