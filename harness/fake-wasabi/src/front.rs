//! The front of the S3 port: it hands each request to the S3 service, then carries out the faults
//! that concern the connection, counts, and logs what was not implemented.

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

use crate::exchange::{Exchange, ReplyBody, RequestBody, Tamper};
use crate::faults::{Fault, Strike};
use crate::stats::{Counters, Outcome};

/// What is read of a body that nobody wanted, so that the client gets to read its answer.
const DRAIN_BYTES: u64 = 16 * 1024 * 1024;
const DRAIN_TIME: Duration = Duration::from_secs(5);

/// Operation name under which requests are counted that never had one.
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
pub(crate) struct Front {
    service: S3Service,
    counters: Arc<Counters>,
    requests: Arc<AtomicU64>,
}

/// Counts the request when it ends, however it ends.
struct Count<'a> {
    counters: &'a Counters,
    exchange: Arc<Exchange>,
    outcome: Outcome,
}

impl Drop for Count<'_> {
    fn drop(&mut self) {
        let operation = operation(&self.exchange);
        self.counters.ended(operation, self.outcome, self.exchange.bytes_in());
    }
}

fn operation(exchange: &Exchange) -> &str {
    exchange.target().map_or(REFUSED, |target| target.operation.as_str())
}

impl Front {
    pub(crate) fn new(service: S3Service, counters: Arc<Counters>) -> Self {
        Self { service, counters, requests: Arc::default() }
    }

    /// Serves one request. An error makes hyper cut the connection.
    pub(crate) async fn serve(
        self,
        request: Request<Incoming>,
    ) -> Result<Response<ReplyBody>, Cut> {
        let (mut parts, body) = request.into_parts();
        let exchange = Arc::new(Exchange::new(body));
        // A client that goes away drops this future, so a cut is what is counted until the end.
        let mut count =
            Count { counters: &self.counters, exchange: exchange.clone(), outcome: Outcome::Cut };
        let request_id = HeaderValue::from(self.requests.fetch_add(1, Ordering::Relaxed));
        let method = parts.method.clone();
        let uri = parts.uri.clone();
        let expects_continue = parts.headers.contains_key(EXPECT);
        parts.extensions.insert(exchange.clone());
        let body = RequestBody(exchange.clone());
        let request = Request::from_parts(parts, Body::http_body(body.clone()));
        let mut response = self.service.call(request).await.map_err(|error| {
            let error: s3s::StdError = error.into();
            tracing::error!(%method, %uri, %error, "failed to answer");
            Cut
        })?;
        if response.headers().contains_key(CONTENT_RANGE) && response.status() == StatusCode::OK {
            // s3s has 200 for a HEAD with a range.
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
        }

        let strike = exchange.strike().cloned().unwrap_or_default();
        let tamper = match strike.fault {
            Some(Fault::Cut) => return Err(Cut),
            Some(Fault::Timeout) => {
                hold(body, strike.hold).await;
                return Err(Cut);
            }
            Some(Fault::TornUpload) if exchange.is_torn() => return Err(Cut),
            Some(Fault::LostResponse) if response.status().is_success() => return Err(Cut),
            _ => tamper(&strike, &response),
        };
        let status = response.status().as_u16();
        if status == 501 {
            // Loud, because a fake that quietly lacks something makes tests pass for no reason.
            let operation = operation(&exchange);
            tracing::error!(operation, %method, %uri, request_id = ?request_id, "not implemented");
        }
        // The client of `Expect: 100-continue` waits for a word before it sends; then the answer
        // is that word. Any other has to be let finish first.
        if !(expects_continue && exchange.bytes_in() == 0) {
            drain(body).await;
        }
        count.outcome = Outcome::Status(status);
        let operation = operation(&exchange).to_owned();
        tracing::debug!(operation, %method, %uri, status, "served");
        let counters = self.counters.clone();
        let mut reply = response.map(|body| ReplyBody::new(body, tamper, counters, operation));
        let headers = reply.headers_mut();
        headers.insert(SERVER, HeaderValue::from_static("cim-fake-wasabi"));
        headers.insert(HeaderName::from_static("x-amz-request-id"), request_id);
        Ok(reply)
    }
}

/// What a fault does to the body of a response.
fn tamper(strike: &Strike, response: &HttpResponse) -> Tamper {
    if !response.status().is_success() {
        return Tamper::Nothing;
    }
    let length = response.headers().get(CONTENT_LENGTH);
    let length: u64 = length.and_then(|value| value.to_str().ok()?.parse().ok()).unwrap_or(0);
    match strike.fault {
        Some(Fault::TornDownload) => {
            Tamper::CutAfter(strike.after_bytes.unwrap_or(length / 2).min(length.saturating_sub(1)))
        }
        Some(Fault::BitFlip) if length > 0 => {
            let bit = strike.random % 8;
            Tamper::Flip { at: (strike.random / 8) % length, mask: 1 << bit }
        }
        _ => Tamper::Nothing,
    }
}

/// Takes in what a client sends, and answers nothing.
async fn hold(mut body: RequestBody, time: Duration) {
    let silence = async {
        while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut body).poll_frame(cx)).await {}
        std::future::pending::<()>().await;
    };
    // Running out of time is the point.
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
    // A client that is slower than this will see its connection closed.
    let _ = tokio::time::timeout(DRAIN_TIME, rest).await;
}
