//! The rules of one component: all that is its own.

mod endpoint;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroU32;

use cim_core::archive::RawJson;
use cim_core::envelope::{Content, Envelope, EventId};
use cim_core::names::{AggregateId, EventType};
use cim_core::subjects::Component;
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::endpoint::{Endpoint, Kind, Note, reply, request};
use crate::component::refusal::Refusal;

/// The keys of views that an event changed.
pub type Changed = BTreeSet<String>;

/// A component's state and rules. Every function is pure: no clock, no chance, no I/O.
pub trait Aggregate:
    Clone + Default + Serialize + DeserializeOwned + JsonSchema + Send + Sync + 'static
{
    /// The component.
    const COMPONENT: Component;
    /// Its name: of the service, of the consumer, of the bucket.
    const NAME: &'static str;
    /// The program's name.
    const PROGRAM: &'static str;
    /// The program's version.
    const VERSION: &'static str;
    /// One line on its purpose.
    const ABOUT: &'static str;
    /// The capabilities under which others find it.
    const CAPABILITIES: &'static [&'static str] = &[];
    /// The components that it needs, and the ranges of their versions.
    const REQUIRES: &'static [(&'static str, &'static str)] = &[];
    /// The prefix of keys in the bucket under which notes (heartbeats) are kept, if there are any.
    const NOTES: Option<&'static str> = None;
    /// An event of any version, in the form of the newest.
    type Event: Send;
    /// A request to change something.
    type Command: Send + Sync;

    /// Reads an event, older versions through their upcasters. `None` for a type or a version that is unknown.
    ///
    /// # Errors
    /// When the payload is not one of its version.
    fn decode(
        event_type: &EventType,
        version: NonZeroU32,
        payload: &RawJson,
    ) -> Result<Option<Self::Event>, serde_json::Error>;

    /// Takes an event into the state, and names the views that it changes.
    fn fold(&mut self, event: Self::Event, envelope: &Envelope, changed: &mut Changed);

    /// Decides a command: an event, or nothing when the state is as asked already.
    ///
    /// # Errors
    /// When the command cannot be followed.
    fn decide(&self, command: &Self::Command, now: Timestamp) -> Result<Option<Fact>, Refusal>;

    /// Returns the first event that follows from another one and is not in the log yet.
    fn owed(&self) -> Option<Owed> {
        None
    }

    /// Returns the view at `key`; `None` when there is none (any more).
    fn view(&self, key: &str) -> Option<serde_json::Value>;

    /// Returns the keys of all views.
    fn views(&self) -> Changed;

    /// Returns the commands that time makes due. `notes` are the keys of notes and the times at which the server took
    /// them; all of them are known since `since`.
    fn due(
        &self,
        _notes: &BTreeMap<String, Timestamp>,
        _since: Timestamp,
        _now: Timestamp,
    ) -> Vec<Self::Command> {
        Vec::new()
    }

    /// Returns its requests.
    fn endpoints() -> Vec<Endpoint<Self>>;

    /// Returns the schemas of its events, requests and replies by `<type>/v<version>`, for the digest of the code
    /// that a snapshot belongs to and for `schema`.
    fn schemas() -> BTreeMap<String, serde_json::Value>;
}

/// An event before it has an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// The event's type.
    pub event_type: EventType,
    /// The version of its payload.
    pub schema_version: NonZeroU32,
    /// The entity that it happened to.
    pub aggregate_id: AggregateId,
    /// The content that it is about, where content is addressed by id.
    pub content: Option<Content>,
    /// The payload.
    pub payload: RawJson,
}

impl Fact {
    /// Returns an event with a payload of version 1.
    pub fn new(event_type: EventType, aggregate_id: AggregateId, payload: &impl Serialize) -> Self {
        let text = serde_json::to_string(payload).expect("a contract's type is JSON");
        let payload = RawJson::new(text).expect("serde_json writes JSON");
        Self { event_type, schema_version: NonZeroU32::MIN, aggregate_id, content: None, payload }
    }
}

/// An event that follows from another one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Owed {
    /// The id of the event that it follows from.
    pub cause: EventId,
    /// The conversation of that event.
    pub correlation: EventId,
    /// The time of that event: it happened then.
    pub time: Timestamp,
    /// The event.
    pub fact: Fact,
}
