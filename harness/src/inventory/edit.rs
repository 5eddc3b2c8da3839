//! Adds a member to an object within a JSON text, and leaves every other byte as it is.
//!
//! The syntax trees of jsonc-parser 0.34 do not: an object on one line is broken into several when it gets a member.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::Value;
use serde_json::value::RawValue;
use similar::TextDiff;

/// The longest line for a value.
const WIDTH: usize = 100;
const STEP: usize = 2;

/// A value whose keys keep the order that they were given in.
#[derive(Debug, Clone)]
pub(super) enum Json {
    /// A value without keys, or whose order does not matter.
    Plain(Value),
    /// An object.
    Object(Vec<(String, Json)>),
}

impl<T: Into<Value>> From<T> for Json {
    fn from(value: T) -> Self {
        Self::Plain(value.into())
    }
}

/// Makes an object of the keys that have a value.
pub(super) fn object(keys: Vec<(&str, Option<Json>)>) -> Json {
    Json::Object(keys.into_iter().filter_map(|(k, v)| Some((k.to_owned(), v?))).collect())
}

/// Returns the text with `key: value` as the last member of the object at `path`, which is made if
/// it is missing. Returns `None` if the text has no such place, or the key exists already.
pub(super) fn insert(text: &str, path: &[&str], key: &str, value: Json) -> Option<String> {
    let Some(at) = span(text, path) else {
        let (last, parents) = path.split_last()?;
        return insert(text, parents, last, Json::Object(vec![(key.to_owned(), value)]));
    };
    let members: BTreeMap<String, &RawValue> = serde_json::from_str(&text[at.clone()]).ok()?;
    if members.contains_key(key) {
        return None;
    }
    // Before the closing brace and the space in front of it.
    let end = at.end - 1;
    let body = &text[at.start + 1..end];
    let last = at.start + 1 + body.trim_end().len();
    let line = text[..at.start].rfind('\n').map_or(0, |newline| newline + 1);
    let outer = text[line..].len() - text[line..].trim_start_matches(' ').len();
    let multiline = members.is_empty() || body.contains('\n');
    let comma = if members.is_empty() { "" } else { "," };
    let inserted = if multiline {
        let indent = inner_indent(body).unwrap_or(outer + STEP);
        let member = member(key, &value, indent);
        let close = if body.contains('\n') { String::new() } else { format!("\n{}", pad(outer)) };
        format!("{comma}\n{}{member}{close}", pad(indent))
    } else {
        format!("{comma} {}", member(key, &value, outer))
    };
    let rest = if members.is_empty() && !body.contains('\n') { end } else { last };
    Some(format!("{}{inserted}{}", &text[..last], &text[rest..]))
}

/// Returns the range of the object at a path.
fn span(text: &str, path: &[&str]) -> Option<Range<usize>> {
    let mut raw: &RawValue = serde_json::from_str(text).ok()?;
    for key in path {
        let members: BTreeMap<String, &RawValue> = serde_json::from_str(raw.get()).ok()?;
        raw = members.get(*key)?;
    }
    // The value is borrowed from the text, so its address gives its offset.
    let start = raw.get().as_ptr().addr() - text.as_ptr().addr();
    raw.get().starts_with('{').then(|| start..start + raw.get().len())
}

/// Returns the number of spaces before the first member.
fn inner_indent(body: &str) -> Option<usize> {
    let line = body.lines().skip(1).find(|line| !line.trim().is_empty())?;
    Some(line.len() - line.trim_start_matches(' ').len())
}

fn pad(n: usize) -> String {
    " ".repeat(n)
}

fn member(key: &str, value: &Json, indent: usize) -> String {
    let key = Value::from(key).to_string();
    format!("{key}: {}", write(value, indent, key.len() + 2))
}

/// Writes a value on one line if it fits after `before` characters; otherwise an object's members
/// get a line each.
fn write(value: &Json, indent: usize, before: usize) -> String {
    let short = one_line(value);
    match value {
        Json::Object(members) if indent + before + short.len() > WIDTH => {
            let inner = indent + STEP;
            let members =
                members.iter().map(|(k, v)| format!("{}{}", pad(inner), member(k, v, inner)));
            format!("{{\n{}\n{}}}", members.collect::<Vec<_>>().join(",\n"), pad(indent))
        }
        _ => short,
    }
}

fn one_line(value: &Json) -> String {
    match value {
        Json::Plain(value) => value.to_string(),
        Json::Object(members) if members.is_empty() => "{}".into(),
        Json::Object(members) => {
            let members = members
                .iter()
                .map(|(k, v)| format!("{}: {}", Value::from(k.as_str()), one_line(v)));
            format!("{{ {} }}", members.collect::<Vec<_>>().join(", "))
        }
    }
}

/// Returns a unified diff with two lines around each change.
pub(super) fn difference(path: &str, old: &str, new: &str) -> String {
    TextDiff::from_lines(old, new).unified_diff().context_radius(2).header(path, path).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn host() -> Json {
        object(vec![
            ("role", Some("nas".into())),
            ("system", None),
            ("address", Some("10.0.0.2".into())),
        ])
    }

    #[test]
    fn everything_else_stays_as_it_is() {
        let text = "{\n  \"hosts\": {\n    \"b\": { \"x\":1 ,\"y\": [ ] },\n\n    \"a\": {}\n  },\n  \"n\": 1.50\n}\n";
        let new = insert(text, &["hosts"], "c", host()).unwrap();
        insta::assert_snapshot!(difference("a.json", text, &new), @r#"
        --- a.json
        +++ a.json
        @@ -3,5 +3,6 @@
             "b": { "x":1 ,"y": [ ] },
         
        -    "a": {}
        +    "a": {},
        +    "c": { "role": "nas", "address": "10.0.0.2" }
           },
           "n": 1.50
        "#);
        let new = insert(text, &["hosts", "b"], "z", 1.into()).unwrap();
        assert!(new.contains("\"b\": { \"x\":1 ,\"y\": [ ], \"z\": 1 },"), "{new}");
        let new = insert(text, &["hosts", "a"], "z", 1.into()).unwrap();
        insta::assert_snapshot!(difference("a.json", text, &new), @r#"
        --- a.json
        +++ a.json
        @@ -3,5 +3,7 @@
             "b": { "x":1 ,"y": [ ] },
         
        -    "a": {}
        +    "a": {
        +      "z": 1
        +    }
           },
           "n": 1.50
        "#);
        let new = insert(text, &["streams"], "S", Json::Object(vec![])).unwrap();
        insta::assert_snapshot!(difference("a.json", text, &new), @r#"
        --- a.json
        +++ a.json
        @@ -5,4 +5,5 @@
             "a": {}
           },
        -  "n": 1.50
        +  "n": 1.50,
        +  "streams": { "S": {} }
         }
        "#);
    }

    #[test]
    fn a_long_object_gets_a_line_for_each_member() {
        let long =
            object(vec![("a", Some("x".repeat(60).into())), ("b", Some("y".repeat(60).into()))]);
        let new = insert("{}", &[], "long", long).unwrap();
        let (x, y) = ("x".repeat(60), "y".repeat(60));
        assert_eq!(
            new,
            format!("{{\n  \"long\": {{\n    \"a\": \"{x}\",\n    \"b\": \"{y}\"\n  }}\n}}")
        );
    }

    #[test]
    fn nothing_is_written_over() {
        assert!(insert(r#"{"a":{"b":1}}"#, &["a"], "b", 2.into()).is_none());
        assert!(insert(r#"{"a":[]}"#, &["a"], "b", 2.into()).is_none());
        assert!(insert("[]", &[], "b", 2.into()).is_none());
    }
}
