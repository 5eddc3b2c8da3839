//! Requests of a component: their subjects, schemas and handlers.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::Aggregate;
use crate::component::refusal::{Code, Refusal};

/// A value for the bucket that is no event: a heartbeat.
pub struct Note {
    /// The key, below [`Aggregate::NOTES`].
    pub key: String,
    /// The value.
    pub value: Bytes,
}

/// The handling of a request.
pub enum Kind<A: Aggregate> {
    /// It is decided, and may become an event.
    Command(fn(&[u8]) -> Result<A::Command, Refusal>),
    /// It is answered from the state.
    Query(fn(&A, &[u8]) -> Result<Bytes, Refusal>),
    /// It becomes a note.
    Note(fn(&A, &[u8]) -> Result<Note, Refusal>),
}

/// A request that the component answers.
pub struct Endpoint<A: Aggregate> {
    /// `<resource>.<operation>`: the end of the subject.
    pub operation: &'static str,
    /// The schema of the request, a key of [`Aggregate::schemas`].
    pub request: &'static str,
    /// The schema of the reply, a key of [`Aggregate::schemas`].
    pub reply: &'static str,
    /// The codes of its own refusals.
    pub refusals: &'static [Code],
    /// The handling.
    pub kind: Kind<A>,
}

/// Reads a request. An empty body is an empty object.
///
/// # Errors
/// When it is not of its schema; the refusal says where.
pub fn request<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    let body = if body.is_empty() { b"{}" } else { body };
    serde_json::from_slice(body).map_err(|error| {
        Refusal::new(
            Code::INVALID,
            format!("the request cannot be read: {error}"),
            "send JSON of the schema that `nats micro info` names and `schema` prints",
        )
    })
}

/// Writes a reply.
pub fn reply(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).expect("a contract's type is JSON").into()
}
