//! The items that go from stage to stage.

use super::event::{Event, Lost};

/// An event, or the news that none older than a time will come.
#[derive(Debug, Clone)]
pub(super) enum Item {
    /// An event, and the source of the stage that it came by.
    Event(Event, usize),
    /// A watermark in milliseconds.
    Watermark(i64),
}

/// An item with the number of the input event that it comes from.
#[derive(Debug, Clone)]
pub(super) struct Numbered {
    pub(super) number: u64,
    pub(super) item: Item,
}

/// What a stage makes of an item: events with the way that they take, and events that go no further.
#[derive(Debug, Default)]
pub(super) struct Made {
    pub(super) events: Vec<(usize, Event)>,
    pub(super) lost: Vec<Lost>,
}
