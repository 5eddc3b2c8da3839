//! Compares the declared streams and buckets with a server's, and plans the changes.

use std::collections::BTreeMap;

use cim_core::names::SubjectFilter;
use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Map, Value};

use super::declared::Kind;
use super::server::Found;

/// One stream or bucket.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Row {
    /// `stream`, `kv bucket` or `object bucket`.
    pub(super) kind: &'static str,
    /// Its name, a bucket's without the prefix of its stream.
    pub(super) name: String,
    /// The action of `apply`.
    pub(super) action: Action,
    /// Settings that differ.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) differences: Vec<Difference>,
    /// The reason why `apply` cannot do it, with the way out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) refused: Option<String>,
    /// The data that the change would delete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) loses: Option<String>,
    /// The stream's whole wanted configuration.
    #[serde(skip)]
    pub(super) config: Map<String, Value>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Action {
    /// Declared, and missing.
    Create,
    /// Present, but with other settings than declared.
    Update,
    /// Present as declared.
    Unchanged,
    /// Present, and not declared; it is left alone.
    Undeclared,
}

/// A setting with another value than declared.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Difference {
    pub(super) setting: String,
    pub(super) declared: Value,
    pub(super) found: Value,
}

/// Returns a row for every stream that is declared or present, ordered by name.
pub(super) fn compare(
    declared: &BTreeMap<String, Map<String, Value>>,
    found: &[Found],
) -> Vec<Row> {
    let found: BTreeMap<_, _> =
        found.iter().filter_map(|f| Some((f.config.get("name")?.as_str()?, f))).collect();
    let mut rows = BTreeMap::new();
    for (stream, config) in declared {
        let row = match found.get(stream.as_str()) {
            None => row(stream, Action::Create, config.clone()),
            Some(found) => update(stream, config, found),
        };
        rows.insert(stream.as_str(), row);
    }
    for (stream, found) in found {
        rows.entry(stream).or_insert_with(|| row(stream, Action::Undeclared, found.config.clone()));
    }
    let mut rows: Vec<_> = rows.into_values().collect();
    in_the_way(&mut rows);
    rows
}

/// Refuses a subject that an undeclared stream has: JetStream would, and that stream stays.
fn in_the_way(rows: &mut [Row]) {
    let undeclared = rows.iter().filter(|row| row.action == Action::Undeclared);
    let theirs: Vec<_> = undeclared
        .flat_map(|row| subjects(&row.config).into_iter().map(|s| (row.name.clone(), s)))
        .collect();
    for row in rows.iter_mut().filter(|r| matches!(r.action, Action::Create | Action::Update)) {
        let ours = subjects(&row.config);
        let taken = theirs.iter().find(|(_, theirs)| ours.iter().any(|s| s.overlaps(theirs)));
        if let (Some((name, subject)), None) = (taken, &row.refused) {
            row.refused = Some(format!(
                "stream `{name}`, which is not declared, has the subject `{subject}`: declare it, or delete it"
            ));
        }
    }
}

/// Returns the subjects that can be compared; a server may have odder ones than the inventory
/// accepts.
fn subjects(config: &Map<String, Value>) -> Vec<SubjectFilter> {
    let subjects = config.get("subjects").and_then(Value::as_array).into_iter().flatten();
    subjects.filter_map(|subject| SubjectFilter::new(subject.as_str()?).ok()).collect()
}

fn row(stream: &str, action: Action, config: Map<String, Value>) -> Row {
    let (kind, name) = Kind::of(stream);
    Row {
        kind: kind.as_str(),
        name: name.into(),
        action,
        differences: Vec::new(),
        refused: None,
        loses: None,
        config,
    }
}

fn update(stream: &str, declared: &Map<String, Value>, found: &Found) -> Row {
    // Settings that the inventory does not know stay unchanged.
    let mut row = row(stream, Action::Unchanged, found.config.clone());
    for (setting, wanted) in declared {
        let is = found.config.get(setting).cloned().unwrap_or_default();
        if !same(wanted, &is) {
            row.config.insert(setting.clone(), wanted.clone());
            let difference =
                Difference { setting: setting.clone(), declared: wanted.clone(), found: is };
            row.refused = row.refused.or_else(|| refused(&difference));
            row.loses = row.loses.or_else(|| loses(&difference, &found.state));
            row.differences.push(difference);
            row.action = Action::Update;
        }
    }
    row
}

/// Compares values: the server omits empty ones, and keeps subjects in their original order.
fn same(wanted: &Value, is: &Value) -> bool {
    let empty = |v: &Value| match v {
        Value::Null | Value::Bool(false) => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        _ => false,
    };
    match (wanted, is) {
        (Value::Array(a), Value::Array(b)) => {
            let sorted = |list: &[Value]| {
                let mut list: Vec<_> = list.iter().map(ToString::to_string).collect();
                list.sort();
                list
            };
            sorted(a) == sorted(b)
        }
        _ => wanted == is || (empty(wanted) && empty(is)),
    }
}

/// Returns the reason if JetStream does not let an update make this change.
fn refused(difference: &Difference) -> Option<String> {
    let Difference { setting, declared, found } = difference;
    let queue = |v: &Value| v == "workqueue";
    let cannot = match setting.as_str() {
        "storage" => true,
        "retention" => queue(declared) || queue(found),
        // Denied deletes cannot be allowed again.
        "deny_delete" => found == true,
        _ => false,
    };
    cannot.then(|| {
        let (declared, found) = (word(declared), word(found));
        format!("JetStream cannot change `{setting}` from {found} to {declared}: declare {found}, or declare it under another name and move its messages")
    })
}

/// Returns the messages that a lower limit, or another retention, would delete now.
fn loses(difference: &Difference, state: &Value) -> Option<String> {
    let Difference { setting, declared, found } = difference;
    let messages = state["messages"].as_u64().unwrap_or_default();
    if messages == 0 {
        return None;
    }
    let limit = |value: &Value| value.as_u64().filter(|&n| n > 0).unwrap_or(u64::MAX);
    let (to, from) = (limit(declared), limit(found));
    let lowered = to < from;
    match setting.as_str() {
        "max_bytes" if lowered => {
            let held = state["bytes"].as_u64().unwrap_or_default();
            (held > to).then(|| format!("it holds {held} bytes, {} above the new limit", held - to))
        }
        "max_msgs" if lowered => (messages > to).then(|| {
            format!("it holds {messages} messages, {} above the new limit", messages - to)
        }),
        "max_age" if lowered => {
            let first: Timestamp = state["first_ts"].as_str()?.parse().ok()?;
            let age = Timestamp::now().duration_since(first);
            let old = u128::try_from(age.as_nanos()).unwrap_or_default() > u128::from(to);
            old.then(|| format!("its oldest message is {} s old", age.as_secs()))
        }
        "max_msgs_per_subject" if lowered => Some(format!(
            "it holds {messages} messages, and values of a key above the new limit go"
        )),
        "retention" if declared == "interest" => {
            Some(format!("it holds {messages} messages, and those that no consumer waits for go"))
        }
        _ => None,
    }
}

/// Returns a value as a table shows it.
pub(super) fn word(value: &Value) -> String {
    match value {
        Value::Null => "nothing".into(),
        Value::String(text) => format!("`{text}`"),
        Value::Array(list) => list.iter().map(word).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

impl Action {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Update => "update",
            Self::Unchanged => "unchanged",
            Self::Undeclared => "undeclared",
        }
    }
}

impl Row {
    /// Returns the differences and the objections, a line each.
    pub(super) fn details(&self) -> String {
        let differences = self
            .differences
            .iter()
            .map(|d| format!("{}: {} -> {}", d.setting, word(&d.found), word(&d.declared)));
        let refused = self.refused.iter().map(|why| format!("refused: {why}"));
        let loses = self.loses.iter().map(|what| format!("loses data: {what}"));
        differences.chain(refused).chain(loses).collect::<Vec<_>>().join("\n")
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(changes: &Value, messages: u64) -> Found {
        let mut config = json!({
            "name": "S", "subjects": ["s"], "storage": "file", "retention": "limits",
            "max_bytes": -1, "max_msgs": -1, "max_age": 0, "max_msgs_per_subject": -1,
        });
        for (key, value) in changes.as_object().unwrap() {
            config[key] = value.clone();
        }
        let state =
            json!({ "messages": messages, "bytes": 1000, "first_ts": "2020-01-01T00:00:00Z" });
        Found { config: config.as_object().unwrap().clone(), state }
    }

    /// Returns the row of a stream `S` whose declaration differs from the server's by `changes`.
    fn row_of(found: &Found, changes: &Value) -> Row {
        let mut declared = found.config.clone();
        declared.extend(changes.as_object().unwrap().clone());
        let declared = BTreeMap::from([("S".to_owned(), declared)]);
        compare(&declared, std::slice::from_ref(found)).remove(0)
    }

    #[test]
    fn only_a_limit_below_what_is_there_loses_data() {
        let day = 86_400_000_000_000_u64;
        for (change, loses) in [
            (json!({ "max_bytes": 1000 }), false),
            (json!({ "max_bytes": 999 }), true),
            (json!({ "max_msgs": 10 }), false),
            (json!({ "max_msgs": 9 }), true),
            (json!({ "max_age": 100_000 * day }), false),
            (json!({ "max_age": day }), true),
            (json!({ "max_msgs_per_subject": 1 }), true),
            (json!({ "retention": "interest" }), true),
            (json!({ "subjects": ["t"] }), false),
        ] {
            let row = row_of(&found(&json!({}), 10), &change);
            assert_eq!((row.action, row.refused.as_deref()), (Action::Update, None), "{change}");
            assert_eq!(row.loses.is_some(), loses, "{change}: {:?}", row.loses);
            // An empty stream loses nothing.
            assert_eq!(row_of(&found(&json!({}), 0), &change).loses, None);
        }
        let raised = row_of(&found(&json!({ "max_bytes": 500 }), 10), &json!({ "max_bytes": 600 }));
        assert_eq!(raised.loses, None, "a limit that is raised loses nothing");
        let lifted = row_of(&found(&json!({ "max_age": day }), 10), &json!({ "max_age": 0 }));
        assert_eq!(lifted.loses, None, "a limit that is lifted loses nothing");
    }

    #[test]
    fn what_jetstream_cannot_change_is_refused() {
        for (is, change) in [
            (json!({}), json!({ "storage": "memory" })),
            (json!({}), json!({ "retention": "workqueue" })),
            (json!({ "retention": "workqueue" }), json!({ "retention": "limits" })),
            (json!({ "deny_delete": true }), json!({ "deny_delete": false })),
        ] {
            let row = row_of(&found(&is, 0), &change);
            assert!(row.refused.is_some_and(|why| why.contains("declare")), "{change}");
        }
    }

    #[test]
    fn what_the_server_spells_otherwise_is_the_same() {
        let is = found(&json!({ "subjects": ["a", "b"] }), 0);
        let row =
            row_of(&is, &json!({ "subjects": ["b", "a"], "description": null, "sealed": false }));
        assert_eq!(row.action, Action::Unchanged, "{:?}", row.differences);
    }

    #[test]
    fn an_undeclared_stream_in_the_way_is_named() {
        let declared = json!({ "name": "T", "subjects": ["*"] }).as_object().unwrap().clone();
        let rows = compare(&BTreeMap::from([("T".to_owned(), declared)]), &[found(&json!({}), 0)]);
        let actions: Vec<_> = rows.iter().map(|row| row.action).collect();
        assert_eq!(actions, [Action::Undeclared, Action::Create]);
        let why = rows[1].refused.as_deref().unwrap();
        assert_eq!(
            why,
            "stream `S`, which is not declared, has the subject `s`: declare it, or delete it"
        );
    }
}
