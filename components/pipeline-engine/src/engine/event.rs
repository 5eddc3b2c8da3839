//! Events between stages, and what comes out.

use std::sync::Arc;

use jaq_json::Val;

/// An event on its way.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// The id: that of the input event, and what stages added to it. Equal for equal input.
    pub id: Arc<str>,
    /// The time at which it happened, in milliseconds since 1970.
    pub time: Option<i64>,
    /// The key in whose order it stays.
    pub key: Arc<str>,
    /// The value.
    pub value: Val,
}

/// An event that leaves by an output.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Out {
    /// The index of the output.
    pub output: usize,
    /// The event.
    pub event: Event,
}

/// The reason for which an event went no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// An expression or a type: a dead letter.
    Failed(String),
    /// It came after its window was closed.
    Late,
}

/// An event that went no further.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lost {
    /// The stage, or `input`.
    pub stage: Arc<str>,
    /// The id of the event.
    pub id: Arc<str>,
    /// The reason.
    pub reason: Reason,
    /// The value as it came to the stage.
    pub value: Val,
}
