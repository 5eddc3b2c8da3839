//! The envelope's stored form.
//!
//! Written by hand because serde's `flatten` cannot keep the text of unknown fields.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{self, DeserializeOwned, MapAccess, Visitor};
use serde::ser::SerializeMap;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Content, Envelope};
use crate::archive::RawJson;
use crate::names::{ContentId, shown};

impl Serialize for Envelope {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("type", &self.event_type)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("aggregate_id", &self.aggregate_id)?;
        map.serialize_entry("aggregate_version", &self.aggregate_version)?;
        map.serialize_entry("time", &self.time)?;
        map.serialize_entry("correlation_id", &self.correlation_id)?;
        map.serialize_entry("causation_id", &self.causation_id)?;
        map.serialize_entry("schema_version", &self.schema_version)?;
        if let Some(content) = &self.content {
            map.serialize_entry("content_id", &content.id)?;
            if let Some(previous) = &content.previous {
                map.serialize_entry("previous_content_id", previous)?;
            }
        }
        map.serialize_entry("payload", &self.payload)?;
        for (name, value) in &self.unknown {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

impl<'de> Deserialize<'de> for Envelope {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let mut fields = deserializer.deserialize_map(Fields::default())?;

        let id = fields.take("id")?;
        let causation: Option<_> = fields.take_optional("causation_id")?;
        let correlation: Option<_> = fields.take_optional("correlation_id")?;
        let (correlation_id, causation_id) = match (correlation, causation) {
            // A root that names a conversation stays in it: to set its correlation to its id would
            // cut the conversation in two.
            (correlation, None) => (correlation.unwrap_or(id), id),
            (Some(correlation), Some(causation)) => (correlation, causation),
            (None, Some(causation)) if causation == id => (id, id),
            (None, Some(_)) => {
                return Err(de::Error::custom(
                    "`correlation_id` is missing: only a root event may leave it out",
                ));
            }
        };
        let content_id: Option<ContentId> = fields.take_optional("content_id")?;
        let previous: Option<ContentId> = fields.take_optional("previous_content_id")?;
        let content = match (content_id, previous) {
            (Some(id), previous) => Some(Content { id, previous }),
            (None, None) => None,
            (None, Some(_)) => {
                return Err(de::Error::custom(
                    "`content_id` is missing: `previous_content_id` needs it",
                ));
            }
        };
        Ok(Self {
            id,
            event_type: fields.take("type")?,
            source: fields.take("source")?,
            aggregate_id: fields.take("aggregate_id")?,
            aggregate_version: fields.take("aggregate_version")?,
            time: fields.take("time")?,
            correlation_id,
            causation_id,
            schema_version: fields.take("schema_version")?,
            content,
            payload: fields.take("payload")?,
            unknown: fields.0,
        })
    }
}

/// A JSON object whose values are not parsed yet.
#[derive(Default)]
struct Fields(BTreeMap<String, RawJson>);

impl Fields {
    fn take<T: DeserializeOwned, E: de::Error>(&mut self, name: &'static str) -> Result<T, E> {
        let value = self.0.remove(name).ok_or_else(|| E::missing_field(name))?;
        parse(name, &value)
    }

    /// Takes a field that may be absent or null.
    fn take_optional<T: DeserializeOwned, E: de::Error>(
        &mut self,
        name: &'static str,
    ) -> Result<Option<T>, E> {
        self.0.remove(name).map_or(Ok(None), |value| parse(name, &value))
    }
}

fn parse<T: DeserializeOwned, E: de::Error>(name: &str, value: &RawJson) -> Result<T, E> {
    serde_json::from_str(value.get()).map_err(|e| E::custom(format_args!("`{name}`: {e}")))
}

impl<'de> Visitor<'de> for Fields {
    type Value = Self;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an event envelope")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<Self, A::Error> {
        while let Some((name, value)) = map.next_entry::<String, RawJson>()? {
            if self.0.contains_key(&name) {
                return Err(de::Error::custom(format_args!(
                    "field `{}` appears twice",
                    shown(&name)
                )));
            }
            self.0.insert(name, value);
        }
        Ok(self)
    }
}
