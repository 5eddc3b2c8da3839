//! The event envelope: the fields that every event of CIM has around its payload.
//!
//! Invariants:
//!
//! - The id is the event's for ever. It is also the message's `Nats-Msg-Id`, so an event that is
//!   published twice within the server's duplicate window is stored once. (A message id with the time
//!   of publishing in it would never repeat, and dedupe nothing.)
//! - A root event is its own cause: `id` = `correlation_id` = `causation_id`. A child has its
//!   parent's correlation, and its parent's id as its causation. So a correlation names a whole
//!   conversation, and causations make it a tree.
//! - The payload is kept byte for byte, see [`Envelope::payload`].
//!
//! # How the stored form changes
//! The stored form is one JSON object; [`Envelope::VERSION`](crate::schemas::WireType::VERSION) is its
//! version. **Unknown fields are kept**: reading an event and writing it again loses nothing.
//!
//! - An old reader takes an event with fields that it does not know, keeps them aside
//!   ([`Envelope::unknown_fields`]) and writes them back.
//! - A new reader takes an event without the fields that are newer than its writer: a field that is
//!   added is optional, always.
//! - An old writer leaves newer fields out, which is why they are optional.
//! - A new component is the exception: a reader that is too old for it refuses its events by name
//!   and does not skip them.
//!
//! A change that does not fit, such as a field that must be understood, is not made to this object: it
//! goes out on subjects of its own, where no old reader listens. The payload's form has a version
//! of its own in each event, [`Envelope::schema_version`].

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::archive::RawJson;
use crate::names::{AggregateId, ContentId, EventType};
use crate::subjects::{CimSubject, Component};

mod id;
mod wire;

pub use id::EventId;

/// The header by which JetStream recognises a message that it already has.
pub const MSG_ID_HEADER: &str = "Nats-Msg-Id";

/// An event and what is known about it. Fields that a reader does not know are kept, and written
/// again.
#[derive(Debug, Clone, PartialEq, Eq, JsonSchema)]
#[schemars(rename = "EventEnvelope")]
pub struct Envelope {
    /// The event's identity.
    pub id: EventId,
    /// What happened.
    #[schemars(rename = "type")]
    pub event_type: EventType,
    /// The component that says so.
    pub source: Component,
    /// What it happened to.
    pub aggregate_id: AggregateId,
    /// Which of the aggregate's events this is; its first is 1.
    pub aggregate_version: u64,
    /// When it happened, by the source's clock: RFC 3339, in UTC when it is written, to the nanosecond.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub time: Timestamp,
    /// The id of the root event of the conversation. Only a root may leave it out.
    #[schemars(with = "Option<EventId>")]
    pub correlation_id: EventId,
    /// The id of the event that caused this one. Absent or null means a root, which is its own cause.
    #[schemars(with = "Option<EventId>")]
    pub causation_id: EventId,
    /// The version of the payload's form, for events of this type; counts from 1.
    pub schema_version: NonZeroU32,
    /// The content that the event is about, where content is addressed by id.
    #[schemars(flatten)]
    pub content: Option<Content>,
    /// What the event type says about the event: any JSON.
    ///
    /// Kept as its text rather than as a parsed value. A parsed value would write its keys in another
    /// order, and numbers such as `1.0`, `1e3` or integers beyond 64 bits in another form, and a
    /// content id or signature over the payload would no longer fit. A reader that needs the value parses
    /// it into its own type.
    #[schemars(with = "serde_json::Value")]
    pub payload: RawJson,
    #[schemars(skip)]
    unknown: BTreeMap<String, RawJson>,
}

/// The content that an event is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Content {
    /// The content's id.
    #[serde(rename = "content_id")]
    #[schemars(with = "Option<ContentId>")]
    pub id: ContentId,
    /// The id of the content that it replaces; absent where a chain begins, or without `content_id`.
    #[serde(rename = "previous_content_id", skip_serializing_if = "Option::is_none")]
    pub previous: Option<ContentId>,
}

/// What a component says about an event; the rest of the [`Envelope`] follows from its place among
/// other events.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewEvent {
    /// What happened.
    pub event_type: EventType,
    /// The component that says so.
    pub source: Component,
    /// What it happened to.
    pub aggregate_id: AggregateId,
    /// Which of the aggregate's events this is; its first is 1.
    pub aggregate_version: u64,
    /// The version of the payload's form.
    pub schema_version: NonZeroU32,
    /// The content that the event is about, if any.
    pub content: Option<Content>,
    /// What the event type says about the event.
    pub payload: RawJson,
}

impl Envelope {
    /// Returns an event that no other event caused.
    pub fn root(id: EventId, time: Timestamp, event: NewEvent) -> Self {
        Self::new(id, id, id, time, event)
    }

    /// Returns an event that this one caused.
    #[must_use]
    pub fn child(&self, id: EventId, time: Timestamp, event: NewEvent) -> Self {
        Self::new(id, self.correlation_id, self.id, time, event)
    }

    fn new(
        id: EventId,
        correlation_id: EventId,
        causation_id: EventId,
        time: Timestamp,
        event: NewEvent,
    ) -> Self {
        Self {
            id,
            event_type: event.event_type,
            source: event.source,
            aggregate_id: event.aggregate_id,
            aggregate_version: event.aggregate_version,
            time,
            correlation_id,
            causation_id,
            schema_version: event.schema_version,
            content: event.content,
            payload: event.payload,
            unknown: BTreeMap::new(),
        }
    }

    /// Reports whether no other event caused this one.
    pub fn is_root(&self) -> bool {
        self.causation_id == self.id
    }

    /// Returns the subject that the event is published on.
    pub fn subject(&self) -> CimSubject {
        CimSubject::event(self.source, self.event_type.clone())
    }

    /// Returns name and value of the header that makes publishing the event again harmless.
    pub fn msg_id(&self) -> (&'static str, String) {
        (MSG_ID_HEADER, self.id.to_string())
    }

    /// Returns the fields that this version does not know, as they were read.
    pub fn unknown_fields(&self) -> &BTreeMap<String, RawJson> {
        &self.unknown
    }
}
