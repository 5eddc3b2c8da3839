//! One request on its way through the server, and the two bodies that faults change.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use s3s::StdError;
use tokio::time::Sleep;

use crate::faults::InjectedFault;
use crate::stats::Counters;
use crate::target::Target;

/// Time that bytes before a cut get to leave hyper's buffer, which an error discards.
const FLUSH_TIME: Duration = Duration::from_millis(100);

/// One request. The service makes it, the access fills it in, the service reads the outcome.
#[derive(Debug)]
pub(crate) struct RequestContext {
    body: Mutex<Incoming>,
    bytes_in: AtomicU64,
    /// Bytes of the body after which the connection is to be cut.
    tear_after: OnceLock<u64>,
    torn: AtomicBool,
    target: OnceLock<Target>,
    injected: OnceLock<InjectedFault>,
}

impl RequestContext {
    pub(crate) fn new(body: Incoming) -> Self {
        Self {
            body: Mutex::new(body),
            bytes_in: AtomicU64::new(0),
            tear_after: OnceLock::new(),
            torn: AtomicBool::new(false),
            target: OnceLock::new(),
            injected: OnceLock::new(),
        }
    }

    pub(crate) fn set_target(&self, target: Target) {
        // A request is routed once.
        let _ = self.target.set(target);
    }

    pub(crate) fn target(&self) -> Option<&Target> {
        self.target.get()
    }

    pub(crate) fn set_fault(&self, injected: InjectedFault) {
        let _ = self.injected.set(injected);
    }

    pub(crate) fn fault(&self) -> Option<&InjectedFault> {
        self.injected.get()
    }

    /// Makes the body fail after this many bytes, or at its end if it is shorter.
    pub(crate) fn tear_after(&self, bytes: u64) {
        let _ = self.tear_after.set(bytes);
    }

    pub(crate) fn is_torn(&self) -> bool {
        self.torn.load(Ordering::Relaxed)
    }

    pub(crate) fn bytes_in(&self) -> u64 {
        self.bytes_in.load(Ordering::Relaxed)
    }

    fn body(&self) -> MutexGuard<'_, Incoming> {
        self.body.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The request's body, read by the S3 service; the service drains the rest.
#[derive(Debug, Clone)]
pub(crate) struct RequestBody(pub(crate) Arc<RequestContext>);

impl Body for RequestBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let context = &self.0;
        let polled = Pin::new(&mut *context.body()).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &polled {
            let length = frame.data_ref().map_or(0, Bytes::len) as u64;
            context.bytes_in.fetch_add(length, Ordering::Relaxed);
        }
        let at_end = matches!(polled, Poll::Ready(None));
        if let Some(limit) = context.tear_after.get()
            && (at_end || context.bytes_in() > *limit)
        {
            context.torn.store(true, Ordering::Relaxed);
            return Poll::Ready(Some(Err("torn by the fault plan".into())));
        }
        polled.map_err(Into::into)
    }

    fn is_end_stream(&self) -> bool {
        self.0.tear_after.get().is_none() && self.0.body().is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.0.body().size_hint()
    }
}

/// A change to a response's body on its way out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Tamper {
    #[default]
    Nothing,
    /// The connection is cut after this many bytes.
    CutAfter(u64),
    /// The bits of the mask are flipped in the byte at this place.
    Flip { at: u64, mask: u8 },
}

/// The response's body: counted, and changed when a fault says so.
pub(crate) struct ReplyBody {
    inner: s3s::Body,
    tamper: Tamper,
    sent: u64,
    /// Runs before the connection is cut.
    pause: Option<Pin<Box<Sleep>>>,
    counters: Arc<Counters>,
    operation: String,
}

impl ReplyBody {
    pub(crate) fn new(
        inner: s3s::Body,
        tamper: Tamper,
        counters: Arc<Counters>,
        operation: String,
    ) -> Self {
        Self { inner, tamper, sent: 0, pause: None, counters, operation }
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = StdError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, StdError>>> {
        let this = &mut *self;
        if this.tamper == Tamper::CutAfter(this.sent) {
            let pause = this.pause.get_or_insert_with(|| Box::pin(tokio::time::sleep(FLUSH_TIME)));
            std::task::ready!(pause.as_mut().poll(cx));
            return Poll::Ready(Some(Err("cut by the fault plan".into())));
        }
        let polled = Pin::new(&mut this.inner).poll_frame(cx);
        let Poll::Ready(Some(Ok(frame))) = polled else { return polled };
        let data = match frame.into_data() {
            Ok(data) => tampered(data, this.sent, this.tamper),
            Err(other) => return Poll::Ready(Some(Ok(other))),
        };
        this.sent += data.len() as u64;
        Poll::Ready(Some(Ok(Frame::data(data))))
    }

    fn is_end_stream(&self) -> bool {
        !matches!(self.tamper, Tamper::CutAfter(_)) && self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Returns the chunk that starts at `from` in the body, changed as `tamper` says.
fn tampered(data: Bytes, from: u64, tamper: Tamper) -> Bytes {
    match tamper {
        Tamper::Nothing => data,
        Tamper::CutAfter(limit) => {
            let left = usize::try_from(limit - from).unwrap_or(usize::MAX);
            data.slice(..left.min(data.len()))
        }
        Tamper::Flip { at, mask } => {
            let offset = at.checked_sub(from).and_then(|offset| usize::try_from(offset).ok());
            match offset.filter(|offset| *offset < data.len()) {
                Some(offset) => {
                    let mut changed = data.to_vec();
                    changed[offset] ^= mask;
                    Bytes::from(changed)
                }
                None => data,
            }
        }
    }
}

impl Drop for ReplyBody {
    fn drop(&mut self) {
        if self.sent > 0 {
            self.counters.sent(&self.operation, self.sent);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flip_changes_one_bit_of_the_whole_body() {
        let flip = Tamper::Flip { at: 5, mask: 0b100 };
        let chunks = ["abcd", "efgh", "ij"];
        let mut from = 0;
        let mut out = Vec::new();
        for chunk in chunks {
            out.extend_from_slice(&tampered(Bytes::from(chunk), from, flip));
            from += chunk.len() as u64;
        }
        assert_eq!(out, b"abcdebghij");
    }

    #[test]
    fn a_cut_keeps_the_first_bytes() {
        let cut = Tamper::CutAfter(6);
        assert_eq!(tampered(Bytes::from("abcd"), 0, cut), "abcd");
        assert_eq!(tampered(Bytes::from("efgh"), 4, cut), "ef");
    }
}
