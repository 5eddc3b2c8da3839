//! The bytes of messages that may be in memory at once.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::segment::Message;

/// The cost of a message besides its bytes: its place in five columns, twice while it is encoded.
const OVERHEAD: usize = 96;

/// Bytes that may be on their way on the readers' connection: a server cuts one for which it has to keep
/// more, 64 MiB unless it was told otherwise, and requests of streams at rest are besides.
const WINDOW: usize = 32 << 20;

/// All streams' bytes together.
#[derive(Debug, Clone)]
pub struct Budget {
    bytes: Arc<Semaphore>,
    limit: usize,
    window: Arc<Semaphore>,
}

/// Bytes that are spoken for; given back when it is dropped.
#[derive(Debug)]
pub struct Reserved(OwnedSemaphorePermit);

/// Bytes that open requests may bring.
#[derive(Debug)]
pub struct Room {
    bytes: Reserved,
    window: Reserved,
}

/// Returns the bytes that a message takes out of the budget.
pub fn cost(message: &Message<'_>) -> usize {
    cost_of(1, message.bytes())
}

/// Returns the bytes that a number of messages with a total size takes out of the budget.
pub fn cost_of(messages: usize, bytes: usize) -> usize {
    bytes + messages * OVERHEAD
}

impl Budget {
    /// Creates a budget of `limit` bytes.
    pub fn new(limit: usize) -> Self {
        let limit = limit.min(u32::MAX as usize);
        let window = Arc::new(Semaphore::new(WINDOW.min(limit)));
        Self { bytes: Arc::new(Semaphore::new(limit)), limit, window }
    }

    /// Waits until so many bytes are free; at most the whole budget, so that a message larger than
    /// it still gets through, alone.
    pub async fn reserve(&self, bytes: usize) -> Reserved {
        let permits = Arc::clone(&self.bytes).acquire_many_owned(self.clamped(bytes)).await;
        Reserved(permits.expect("the semaphore is never closed"))
    }

    /// Waits until so many bytes are free, for work beside the readers. `have` is what it holds already: of all
    /// of it a task has half of the budget at most, so that two of them do not wait for each other.
    pub async fn reserve_beside(&self, bytes: usize, have: Option<&Reserved>) -> Reserved {
        let have = have.map_or(0, Reserved::bytes);
        self.reserve(bytes.min((self.limit / 2).saturating_sub(have))).await
    }

    /// Reserves as [`Budget::reserve`] does, without waiting. Returns `None` where there is no room.
    pub fn try_reserve(&self, bytes: usize) -> Option<Reserved> {
        Arc::clone(&self.bytes).try_acquire_many_owned(self.clamped(bytes)).ok().map(Reserved)
    }

    /// Waits until so many bytes are free and may come; at most [`Budget::largest_room`].
    pub async fn make_room(&self, bytes: usize) -> Room {
        let bytes = bytes.min(self.largest_room());
        // In this order: who waits for the window holds nothing.
        let window = Arc::clone(&self.window).acquire_many_owned(self.clamped(bytes)).await;
        let window = Reserved(window.expect("the semaphore is never closed"));
        Room { window, bytes: self.reserve(bytes).await }
    }

    /// Makes room as [`Budget::make_room`] does, without waiting. Returns `None` where there is none.
    pub fn try_make_room(&self, bytes: usize) -> Option<Room> {
        let window = Arc::clone(&self.window).try_acquire_many_owned(self.clamped(bytes)).ok()?;
        Some(Room { window: Reserved(window), bytes: self.try_reserve(bytes)? })
    }

    /// Returns the most bytes that can be on their way: of a larger message a part is not accounted for.
    pub fn largest_room(&self) -> usize {
        WINDOW.min(self.limit)
    }

    /// Returns the bytes of the whole budget.
    pub fn limit(&self) -> usize {
        self.limit
    }

    fn clamped(&self, bytes: usize) -> u32 {
        u32::try_from(bytes.min(self.limit)).expect("the limit fits")
    }
}

impl Room {
    /// Returns the bytes of the room.
    pub fn bytes(&self) -> usize {
        self.bytes.bytes()
    }

    /// Takes up to so many bytes, which have come.
    pub fn take(&mut self, bytes: usize) -> Option<Reserved> {
        drop(self.window.take(bytes));
        self.bytes.take(bytes)
    }

    /// Adds another's.
    pub fn merge(&mut self, other: Self) {
        self.bytes.merge(other.bytes);
        self.window.merge(other.window);
    }
}

impl Reserved {
    /// Returns the reserved bytes.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_done_beside_has_half_of_it_at_most() {
        let budget = Budget::new(100);
        let mut one = budget.reserve_beside(30, None).await;
        one.merge(budget.reserve_beside(30, Some(&one)).await);
        assert_eq!(one.bytes(), 50);
        let two = budget.reserve_beside(1000, None).await;
        assert!(budget.try_reserve(1).is_none());
        drop((one, two));
        assert!(budget.try_reserve(100).is_some());
    }

    #[tokio::test]
    async fn what_came_is_in_the_budget_and_on_its_way_no_more() {
        let budget = Budget::new(2 * WINDOW);
        let mut room = budget.make_room(WINDOW).await;
        assert!(budget.try_make_room(1).is_none());
        let came = room.take(WINDOW - 1).unwrap();
        assert!(budget.try_make_room(WINDOW).is_none());
        let more = budget.try_make_room(WINDOW - 1).unwrap();
        drop(room);
        assert!(budget.try_reserve(3).is_none());
        assert!(budget.try_reserve(2).is_some());
        drop((came, more));
        assert!(budget.try_reserve(2 * WINDOW).is_some());
    }
}
