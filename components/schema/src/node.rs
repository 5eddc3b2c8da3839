//! A schema within its document.

use std::fmt;

use serde_json::{Map, Value};

/// A reason why a document is no schema that can be judged.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unjudged {
    /// The place, as a JSON pointer.
    pub path: String,
    /// The keyword, or the lack of one.
    pub what: String,
}

impl fmt::Display for Unjudged {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` at `{}`", self.what, self.path)
    }
}

impl std::error::Error for Unjudged {}

/// One schema, and the document that its references lead through.
#[derive(Clone, Copy)]
pub(crate) struct Node<'a> {
    pub(crate) root: &'a Value,
    pub(crate) schema: &'a Value,
}

impl<'a> Node<'a> {
    pub(crate) fn root(schema: &'a Value) -> Self {
        Self { root: schema, schema }
    }

    pub(crate) fn at(self, schema: &'a Value) -> Self {
        Self { root: self.root, schema }
    }

    /// Returns what tells this schema from others while the judge runs.
    pub(crate) fn id(self) -> usize {
        std::ptr::from_ref(self.schema) as usize
    }

    pub(crate) fn keywords(self) -> Option<&'a Map<String, Value>> {
        self.schema.as_object()
    }

    pub(crate) fn get(self, keyword: &str) -> Option<&'a Value> {
        self.keywords()?.get(keyword)
    }

    /// Returns the schema under a keyword whose value is one.
    pub(crate) fn below(self, keyword: &str) -> Option<Self> {
        self.get(keyword).map(|schema| self.at(schema))
    }

    /// Returns the schemas of a keyword whose value is a list of them.
    pub(crate) fn list(self, keyword: &str) -> Vec<Self> {
        let list = self.get(keyword).and_then(Value::as_array);
        list.into_iter().flatten().map(|schema| self.at(schema)).collect()
    }

    /// Returns the schemas of a keyword whose value has them by name.
    pub(crate) fn named(self, keyword: &str) -> impl Iterator<Item = (&'a str, Self)> {
        let all = self.get(keyword).and_then(Value::as_object);
        all.into_iter().flatten().map(move |(name, schema)| (name.as_str(), self.at(schema)))
    }

    /// Returns the schema that `$ref` names, if there is one in this document.
    pub(crate) fn target(self) -> Option<Self> {
        let pointer = self.get("$ref")?.as_str()?.strip_prefix('#')?;
        // A fragment is percent-encoded besides; such names are left alone.
        if pointer.contains('%') {
            return None;
        }
        self.root.pointer(pointer).map(|schema| self.at(schema))
    }
}

/// Keywords whose value is a schema.
pub(crate) const ONE: [&str; 12] = [
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "unevaluatedItems",
    "contains",
    "not",
    "if",
    "then",
    "else",
    "contentSchema",
    "additionalItems",
];
/// Keywords whose value is a list of schemas.
pub(crate) const LISTS: [&str; 4] = ["allOf", "anyOf", "oneOf", "prefixItems"];
/// Keywords whose value has schemas by name.
pub(crate) const MAPS: [&str; 5] =
    ["properties", "patternProperties", "dependentSchemas", "$defs", "definitions"];

/// Checks that a document is a schema of 2020-12 without what the judge cannot follow.
///
/// # Errors
/// With the first place that is not.
pub(crate) fn check(schema: &Value) -> Result<(), Unjudged> {
    let draft = schema.get("$schema").and_then(Value::as_str);
    let known = "https://json-schema.org/draft/2020-12/schema";
    if let Some(other) = draft.filter(|draft| draft.trim_end_matches('#') != known) {
        return Err(Unjudged { path: "/$schema".to_owned(), what: other.to_owned() });
    }
    within(Node::root(schema), "")
}

fn within(node: Node<'_>, path: &str) -> Result<(), Unjudged> {
    let unjudged =
        |what: &str, path: &str| Unjudged { path: path.to_owned(), what: what.to_owned() };
    let keywords = match node.schema {
        Value::Bool(_) => return Ok(()),
        Value::Object(keywords) => keywords,
        _ => return Err(unjudged("a schema that is neither object nor boolean", path)),
    };
    for (keyword, value) in keywords {
        let here = || format!("{path}/{}", escaped(keyword));
        let nested_id = keyword == "$id" && !path.is_empty();
        let elsewhere = ["$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveRef"];
        if nested_id || elsewhere.contains(&keyword.as_str()) {
            return Err(unjudged(keyword, &here()));
        }
        if keyword == "$ref" && node.target().is_none() {
            return Err(unjudged(&format!("$ref {value}"), &here()));
        }
        if keyword == "items" && value.is_array() {
            return Err(unjudged("items with a list, which is of an older draft", &here()));
        }
        if ONE.contains(&keyword.as_str()) {
            within(node.at(value), &here())?;
        }
        if LISTS.contains(&keyword.as_str()) {
            for (index, schema) in node.list(keyword).into_iter().enumerate() {
                within(schema, &format!("{}/{index}", here()))?;
            }
        }
        if MAPS.contains(&keyword.as_str()) {
            for (name, schema) in node.named(keyword) {
                within(schema, &format!("{}/{}", here(), escaped(name)))?;
            }
        }
    }
    Ok(())
}

/// Returns a name as a JSON pointer spells it.
pub(crate) fn escaped(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
