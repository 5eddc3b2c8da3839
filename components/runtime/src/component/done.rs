//! The reply to a command that was followed.

use cim_core::envelope::EventId;
use cim_core::schemas::WireType;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::folded::Answer;

/// The reply to a command.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Done {
    /// Reports whether the command had an effect: the same for a command that is sent again.
    pub changed: bool,
    /// The sequence up to which the log was known: of the event, where there is one.
    pub sequence: u64,
    /// The event; absent when everything was as asked before.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub event: Option<Event>,
}

/// The event that a command became.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Event {
    /// The event's id, which is the command's.
    pub id: EventId,
    /// The event's type.
    #[serde(rename = "type")]
    pub event_type: String,
    /// The entity that it happened to.
    pub aggregate_id: String,
    /// Its number among the entity's events.
    pub aggregate_version: u64,
}

impl From<&Answer> for Done {
    fn from(answer: &Answer) -> Self {
        let event = Event {
            id: answer.id,
            event_type: answer.event_type.clone(),
            aggregate_id: answer.aggregate_id.to_string(),
            aggregate_version: answer.aggregate_version,
        };
        Self { changed: true, sequence: answer.sequence, event: Some(event) }
    }
}

impl WireType for Done {
    const TYPE_NAME: &'static str = "component-done";
    const VERSION: u32 = 1;
}
