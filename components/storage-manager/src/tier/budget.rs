//! The bytes of messages that may be in memory at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::segment::Message;

/// What a message costs besides its bytes: its place in five columns, twice while it is encoded.
const OVERHEAD: usize = 96;

/// All streams' bytes together.
#[derive(Debug, Clone)]
pub struct Budget {
    bytes: Arc<Semaphore>,
    limit: usize,
}

/// Bytes that are spoken for; given back when it is dropped.
#[derive(Debug)]
pub struct Reserved(OwnedSemaphorePermit);

/// What a message takes out of the budget.
pub fn cost(message: &Message<'_>) -> usize {
    message.bytes() + OVERHEAD
}

impl Budget {
    /// So many bytes.
    pub fn new(limit: usize) -> Self {
        let limit = limit.min(u32::MAX as usize);
        Self { bytes: Arc::new(Semaphore::new(limit)), limit }
    }

    /// Waits until so many bytes are free; at most the whole budget, so that a message larger than
    /// it still gets through, alone.
    pub async fn reserve(&self, bytes: usize) -> Reserved {
        let permits = Arc::clone(&self.bytes).acquire_many_owned(self.clamped(bytes)).await;
        Reserved(permits.expect("the semaphore is never closed"))
    }

    /// The same, now or not at all.
    pub fn try_reserve(&self, bytes: usize) -> Option<Reserved> {
        Arc::clone(&self.bytes).try_acquire_many_owned(self.clamped(bytes)).ok().map(Reserved)
    }

    /// Bytes in all.
    pub fn limit(&self) -> usize {
        self.limit
    }

    fn clamped(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.limit)).expect("the limit fits")
    }
}

impl Reserved {
    /// Bytes.
    pub fn bytes(&self) -> usize {
        self.0.num_permits()
    }

    /// Takes up to so many bytes out of it.
    pub fn take(&mut self, bytes: usize) -> Option<Self> {
        self.0.split(bytes.min(self.0.num_permits())).map(Self)
    }

    /// Adds another's.
    pub fn merge(&mut self, other: Self) {
        self.0.merge(other.0);
    }
}
