//! The judgement of two versions of a schema: each change with its place, its class and the reasons.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::{Map, Value};

use crate::class::Class;
use crate::node::{self, Node, Unjudged, escaped};
use crate::prove::{Obstacle, obstacles};

/// Keywords that say something to people, and nothing to a validator.
const ANNOTATIONS: [&str; 9] = [
    "title",
    "description",
    "$comment",
    "examples",
    "$id",
    "$schema",
    "$defs",
    "definitions",
    "$ref",
];
/// Keywords whose schemas are visited by themselves.
const VISITED: [&str; 5] =
    ["properties", "patternProperties", "prefixItems", "items", "additionalProperties"];

/// All that is to be said of a new version of a schema.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Judgement {
    /// The class of all changes together.
    pub class: Class,
    /// The changes by place; none if the versions differ in texts for people only.
    pub changes: Vec<Change>,
}

/// A difference at one place of the documents.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Change {
    /// The place, as the JSON pointer into a schema whose references are resolved; empty for the document itself.
    pub path: String,
    /// The verdict on the change by itself.
    pub class: Class,
    /// Why it is not `full`, or which keywords differ and change nothing.
    pub reasons: Vec<Reason>,
}

/// A reason for a class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reason {
    /// Whose documents are concerned.
    pub side: Side,
    /// The keyword that decides, of the other side's schema.
    pub keyword: String,
    /// The values that a document may be, lack or have.
    pub text: String,
    /// The judge could not decide, which counts as a break.
    pub undecided: bool,
}

/// The documents of one version, or of both.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Side {
    /// Documents of the old schema, which the new one does not take: the change is not backward.
    Old,
    /// Documents of the new schema, which the old one does not take: the change is not forward.
    New,
    /// None: both schemas accept the same.
    Both,
}

/// Judges what a new version of a schema means.
///
/// # Errors
/// When one of them is not a schema of draft 2020-12, or has a keyword that the judge cannot follow at all
/// (`$dynamicRef`, `$anchor`, a reference to another document).
pub fn judge(old: &Value, new: &Value) -> Result<Judgement, Unjudged> {
    node::check(old)?;
    node::check(new)?;
    let (backward, forward) = (obstacles(old, new), obstacles(new, old));
    let class = Class::of(backward.is_empty(), forward.is_empty());
    let mut places: BTreeMap<String, Vec<Reason>> = BTreeMap::new();
    for (side, found) in [(Side::Old, backward), (Side::New, forward)] {
        for Obstacle { path, keyword, text, undecided } in found {
            let keyword = keyword.to_owned();
            places.entry(path).or_default().push(Reason { side, keyword, text, undecided });
        }
    }
    let mut walk = Walk::default();
    walk.compare(Node::root(old), Node::root(new), "");
    for (path, keyword) in walk.differing {
        if places.keys().any(|place| place.starts_with(&path) && !is_harmless(&places[place])) {
            continue;
        }
        let text = format!("differ in `{keyword}`, and the same documents are valid");
        let reason = Reason { side: Side::Both, keyword, text, undecided: false };
        places.entry(path).or_default().push(reason);
    }
    let changes = places.into_iter().map(|(path, reasons)| {
        let none = |side| !reasons.iter().any(|reason| reason.side == side);
        Change { path, class: Class::of(none(Side::Old), none(Side::New)), reasons }
    });
    Ok(Judgement { class, changes: changes.collect() })
}

fn is_harmless(reasons: &[Reason]) -> bool {
    reasons.iter().all(|reason| reason.side == Side::Both)
}

/// A walk through both versions side by side.
#[derive(Default)]
struct Walk {
    seen: BTreeSet<(usize, usize)>,
    /// Place and keyword of what is not the same.
    differing: Vec<(String, String)>,
}

impl Walk {
    fn compare(&mut self, old: Node<'_>, new: Node<'_>, path: &str) {
        if !self.seen.insert((old.id(), new.id())) {
            return;
        }
        let (olds, news) = (resolved(old), resolved(new));
        let said = |nodes: &[Node<'_>], keyword: &str| -> Vec<Value> {
            nodes.iter().filter_map(|node| node.get(keyword)).map(rules).collect()
        };
        let keywords = olds.iter().chain(&news).filter_map(|node| node.keywords());
        let keywords: BTreeSet<_> = keywords.flat_map(Map::keys).map(String::as_str).collect();
        let boolean = |node: Node<'_>| node.keywords().is_none();
        if (boolean(old) || boolean(new)) && old.schema != new.schema {
            self.differing.push((path.to_owned(), "schema".to_owned()));
        }
        for keyword in keywords {
            if VISITED.contains(&keyword) {
                self.visit(&olds, &news, keyword, path);
            } else if !ANNOTATIONS.contains(&keyword)
                && said(&olds, keyword) != said(&news, keyword)
            {
                self.differing.push((path.to_owned(), keyword.to_owned()));
            }
        }
    }

    fn visit(&mut self, olds: &[Node<'_>], news: &[Node<'_>], keyword: &str, path: &str) {
        let (old, new) = (below(olds, keyword), below(news, keyword));
        let steps: BTreeSet<_> = old.keys().chain(new.keys()).cloned().collect();
        for step in steps {
            let place = format!("{path}{step}");
            match (old.get(&step), new.get(&step)) {
                (Some(old), Some(new)) => self.compare(*old, *new, &place),
                _ => self.differing.push((place, keyword.to_owned())),
            }
        }
    }
}

/// Returns a schema and those that its references lead to.
fn resolved(node: Node<'_>) -> Vec<Node<'_>> {
    let mut nodes = vec![node];
    while let Some(next) = nodes[nodes.len() - 1].target() {
        if nodes.iter().any(|known| known.id() == next.id()) {
            break;
        }
        nodes.push(next);
    }
    nodes
}

/// Returns the schemas that a keyword has for parts of a document, by step.
fn below<'a>(nodes: &[Node<'a>], keyword: &str) -> BTreeMap<String, Node<'a>> {
    let mut all = BTreeMap::new();
    for node in nodes {
        match node.get(keyword) {
            Some(Value::Object(_))
                if keyword.ends_with("roperties") && keyword != "additionalProperties" =>
            {
                for (name, schema) in node.named(keyword) {
                    all.insert(format!("/{keyword}/{}", escaped(name)), schema);
                }
            }
            Some(Value::Array(_)) => {
                for (index, schema) in node.list(keyword).into_iter().enumerate() {
                    all.insert(format!("/{keyword}/{index}"), schema);
                }
            }
            Some(schema) => {
                all.insert(format!("/{keyword}"), node.at(schema));
            }
            None => {}
        }
    }
    all
}

/// Returns a value without its texts for people.
fn rules(value: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let text = |name: &str, value: &Value| {
                matches!(name, "title" | "description") && value.is_string()
            };
            let kept = fields.iter().filter(|(name, value)| !text(name, value));
            kept.map(|(name, value)| (name.clone(), rules(value))).collect()
        }
        Value::Array(items) => items.iter().map(rules).collect(),
        other => other.clone(),
    }
}
