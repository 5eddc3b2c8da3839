//! What a version says, packed: a state holds many.

use std::borrow::Cow;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD_NO_PAD as BASE64;
use schemars::{JsonSchema, Schema, SchemaGenerator};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::contract::Body;

/// What a version says, in DAG-CBOR: a tenth of the memory of its maps.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Packed(Box<[u8]>);

impl std::fmt::Debug for Packed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.body().fmt(f)
    }
}

impl Packed {
    pub(crate) fn new(body: &Body) -> Self {
        let bytes = serde_ipld_dagcbor::to_vec(body).expect("words, ids and JSON are DAG-CBOR");
        Self(bytes.into())
    }

    /// Returns what it says.
    pub(crate) fn body(&self) -> Body {
        serde_ipld_dagcbor::from_slice(&self.0).expect("it was checked when it was made")
    }
}

impl Serialize for Packed {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&BASE64.encode(&self.0))
    }
}

impl<'de> Deserialize<'de> for Packed {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let text = String::deserialize(deserializer)?;
        let bytes = BASE64.decode(text).map_err(D::Error::custom)?;
        serde_ipld_dagcbor::from_slice::<Body>(&bytes).map_err(D::Error::custom)?;
        Ok(Self(bytes.into()))
    }
}

impl JsonSchema for Packed {
    fn schema_name() -> Cow<'static, str> {
        "Packed".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        schemars::json_schema!({
            "type": "string",
            "description": "A version's content, type, metadata and tags: DAG-CBOR in base64.",
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn value() -> impl Strategy<Value = Value> {
        let number = prop_oneof![
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            any::<f64>().prop_map(Value::from),
        ];
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            number,
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 32, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::btree_map(any::<String>(), inner, 0..6)
                    .prop_map(|map| Value::Object(map.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn what_is_packed_is_what_was(value in value()) {
            let text = json!({"metadata": {"v": value}, "tags": ["a"]}).to_string();
            let body: Body = serde_json::from_str(&text).unwrap();
            let packed = Packed::new(&body);
            prop_assert_eq!(packed.body(), body);
            let text = serde_json::to_string(&packed).unwrap();
            prop_assert_eq!(serde_json::from_str::<Packed>(&text).unwrap(), packed);
        }
    }

    /// As deep as a reader of JSON goes, and no deeper.
    #[test]
    fn the_deepest_metadata_is_packed() {
        let text = |deep: usize| {
            format!(r#"{{"metadata":{{"v":{}{}}}}}"#, "[".repeat(deep), "]".repeat(deep))
        };
        let deepest = (1..200).rfind(|deep| serde_json::from_str::<Body>(&text(*deep)).is_ok());
        let body: Body = serde_json::from_str(&text(deepest.unwrap())).unwrap();
        assert!(deepest.unwrap() > 100);
        assert_eq!(Packed::new(&body).body(), body);
    }
}
