//! How often the server is asked what consumers know of single messages, all streams together.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

/// The interval at which the server was asked, all streams together.
#[derive(Debug, Default)]
pub struct QueryBudget {
    next: Mutex<Option<Instant>>,
    /// The server did not answer the last time, which happens.
    silent: AtomicBool,
    warned: AtomicBool,
}

impl QueryBudget {
    /// Returns whether the server may be asked now.
    pub(super) fn may(&self) -> bool {
        let next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        next.is_none_or(|next| Instant::now() >= next)
    }

    /// Lets the server be asked again at `next`.
    pub(super) fn not_before(&self, next: Instant) {
        *self.next.lock().unwrap_or_else(PoisonError::into_inner) = Some(next);
    }

    /// Notes whether the server was silent this time, and returns whether it was silent the time before.
    pub(super) fn note_silence(&self, silent: bool) -> bool {
        self.silent.swap(silent, Ordering::Relaxed)
    }

    /// Returns true the first time that it is called.
    pub(super) fn is_first_warning(&self) -> bool {
        !self.warned.swap(true, Ordering::Relaxed)
    }
}
