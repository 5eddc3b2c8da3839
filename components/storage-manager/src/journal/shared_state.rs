//! The state that the handles of a journal and its writer share.

use std::sync::atomic::AtomicU8;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use cim_core::archive::Sha256;
use cim_core::archive::journal::JournalState;
use tokio::sync::{oneshot, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::closed::Committed;

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) state: Mutex<JournalState>,
    pub(super) closed: CancellationToken,
    pub(super) why: OnceLock<Arc<str>>,
    pub(super) committed: watch::Sender<Committed>,
    /// Since when an entry is on its way, or the NAS asked whether the last one is there.
    pub(super) busy: Mutex<Option<Instant>>,
    /// Checkpoints that are wanted before one is due.
    pub(super) restate: AtomicU8,
    /// The number and the hash of the last entry's object, where that is of use.
    pub(super) last: Mutex<Option<(u64, Sha256)>>,
}

impl Shared {
    pub(super) fn state(&self) -> MutexGuard<'_, JournalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn busy(&self) -> MutexGuard<'_, Option<Instant>> {
        self.busy.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn last(&self) -> MutexGuard<'_, Option<(u64, Sha256)>> {
        self.last.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn close(&self, why: &str) {
        // The first reason is the one that explains the others.
        drop(self.why.set(why.into()));
        self.closed.cancel();
    }
}

/// The channel that tells that the log is there; dropped where the NAS did not say.
pub(super) type Asked = oneshot::Sender<()>;
