//! Event ids.

use std::borrow::Cow;
use std::fmt;
use std::str::FromStr;

use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::names::{NameError, Problem};

/// An event's id: a UUID of version 7, so ids sort by the millisecond in which they were made.
///
/// It has one spelling, 36 lowercase characters, because the server compares it byte by byte when
/// it is a message id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct EventId(Uuid);

impl EventId {
    /// Makes a new id from the clock and the system's randomness; no other function of this crate uses
    /// either. Ids that one process makes are in order.
    pub fn now() -> Self {
        Self(Uuid::now_v7())
    }

    /// Returns the id for a time in milliseconds since 1970 and random bytes, the same each time.
    ///
    /// The lowest 48 bits of the time count, and 74 bits of the bytes.
    pub fn from_parts(unix_millis: u64, random: &[u8; 10]) -> Self {
        Self(uuid::Builder::from_unix_timestamp_millis(unix_millis, random).into_uuid())
    }

    /// Returns the id as a UUID.
    pub fn as_uuid(&self) -> &Uuid {
        &self.0
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_hyphenated().fmt(f)
    }
}

impl FromStr for EventId {
    type Err = NameError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let refuse = |what| {
            NameError::new(
                "event id",
                text,
                Problem::Shape(what),
                "an event id is a UUID of version 7 in lowercase with hyphens",
            )
        };
        let uuid = Uuid::try_parse(text).map_err(|_| refuse("is not a UUID"))?;
        Self::try_from(uuid).map_err(|_| refuse("is not of version 7")).and_then(|id| {
            let mut buffer = Uuid::encode_buffer();
            if *text == *uuid.as_hyphenated().encode_lower(&mut buffer) {
                Ok(id)
            } else {
                Err(refuse("is spelled in another way"))
            }
        })
    }
}

impl TryFrom<Uuid> for EventId {
    type Error = NameError;

    fn try_from(uuid: Uuid) -> Result<Self, Self::Error> {
        if uuid.get_version_num() == 7 && uuid.get_variant() == uuid::Variant::RFC4122 {
            Ok(Self(uuid))
        } else {
            Err(NameError::new(
                "event id",
                &uuid.to_string(),
                Problem::Shape("is not of version 7"),
                "an event id is a UUID of version 7",
            ))
        }
    }
}

impl TryFrom<String> for EventId {
    type Error = NameError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<EventId> for String {
    fn from(id: EventId) -> Self {
        id.to_string()
    }
}

impl JsonSchema for EventId {
    fn schema_name() -> Cow<'static, str> {
        "EventId".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A UUID of version 7 in lowercase with hyphens.",
            "pattern": "^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$",
        })
    }
}
