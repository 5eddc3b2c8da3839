//! The record of a version: what its id is the CID of.

use cid::Cid;
use cim_core::names::ContentId;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::contract::{Body, Word};
use crate::ids::{self, DAG_CBOR};

/// The largest whole number that every reader of JSON keeps.
const EXACT: u64 = 1 << 53;

/// The record of a version, in DAG-CBOR. It has no time in it, so that the same history has the same ids everywhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Record {
    /// The unit.
    pub(crate) unit: Word,
    /// The version before.
    pub(crate) previous: Option<Cid>,
    /// The version.
    pub(crate) body: Body,
}

impl Record {
    pub(crate) fn new(unit: &Word, previous: Option<&ContentId>, body: &Body) -> Self {
        Self { unit: unit.clone(), previous: previous.map(ids::cid), body: body.clone() }
    }

    /// Returns the record's bytes.
    pub(crate) fn block(&self) -> Vec<u8> {
        serde_ipld_dagcbor::to_vec(self).expect("words, ids and JSON are DAG-CBOR")
    }

    /// Returns the version's id.
    pub(crate) fn id(&self) -> ContentId {
        ids::named(&ids::of_block(DAG_CBOR, &self.block()))
    }
}

/// Returns a number of the metadata that other readers of JSON would change, if there is one.
pub(crate) fn inexact(value: &Value) -> Option<&serde_json::Number> {
    match value {
        Value::Number(number) => {
            let whole = number.as_u64().or_else(|| number.as_i64().map(i64::unsigned_abs));
            whole.is_some_and(|whole| whole > EXACT).then_some(number)
        }
        Value::Array(values) => values.iter().find_map(inexact),
        Value::Object(map) => map.values().find_map(inexact),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Held against Python's libipld: `encode_dag_cbor` of the same values, `previous` a link.
    #[test]
    fn the_id_of_a_version_never_changes() {
        let unit: Word = "u".parse().unwrap();
        let body = json!({
            "content": "bafkreifzjut3te2nhyekklss27nh3k72ysco7y32koao5eei66wof36n5e",
            "type": "note", "tags": ["b", "a"],
            "metadata": {"bb": null, "a": true, "n": [1, -3, 0.5, 9_007_199_254_740_992_u64], "t": "é"},
        });
        let body: Body = serde_json::from_value(body).unwrap();
        let first = Record::new(&unit, None, &Body::default()).id();
        let second = Record::new(&unit, Some(&first), &body);
        assert_eq!(first.as_str(), "bafyreihyw3hqd4vn3jk4dnle4srkerbikbbaau3zefht2iwyotjwvom6ha");
        let id = second.id();
        assert_eq!(id.as_str(), "bafyreicvbipnpthsfnrjpdiurjlazfvzckaoqfmwpxqddwhdqnem7a3vge");
        let read: Record = serde_ipld_dagcbor::from_slice(&second.block()).unwrap();
        assert_eq!(read, second);
    }
}
