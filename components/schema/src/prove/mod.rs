//! Proofs that one schema accepts whatever another one does.
//!
//! Invariants:
//!
//! - On the left are documents, as cases that hold at least all of them; on the right is a schema, each of whose
//!   keywords must be proven for each case. What is not proven is an obstacle.
//! - Schemas that lead back to themselves are proven by induction on the document: what is being proven is
//!   assumed for members and items, never for the document itself. What was proven with the help of an assumption
//!   is not remembered before the assumption is.

mod array;
mod choice;
mod object;
mod scalar;

use std::collections::HashMap;

use serde_json::Value;

use crate::cases::{Case, Part, TooMany, cases};
use crate::eval::accepts;
use crate::kind::Kinds;
use crate::node::{Node, escaped};

/// The most references that may follow one another without a step into the document.
const REFERENCES: u32 = 64;
/// The number of proofs that are tried before the judge gives up.
const PROOFS: usize = 200_000;

/// A reason why a containment is not proven.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Obstacle {
    /// The place in the document, as the pointer into a schema without references.
    pub(crate) path: String,
    /// The keyword of the schema that is not proven to accept.
    pub(crate) keyword: &'static str,
    /// The values that a document may be or have.
    pub(crate) text: String,
    /// The judge does not follow the keyword.
    pub(crate) undecided: bool,
}

impl Obstacle {
    fn new(keyword: &'static str, text: impl Into<String>) -> Self {
        Self { path: String::new(), keyword, text: text.into(), undecided: false }
    }

    fn undecided(keyword: &'static str, text: impl Into<String>) -> Self {
        Self { undecided: true, ..Self::new(keyword, text) }
    }

    /// Returns the obstacle as seen from further up.
    fn below(mut self, step: &str) -> Self {
        self.path.insert_str(0, step);
        self
    }
}

/// The facts about a case and a schema: the schemas that are certain to hold, for `unevaluatedProperties`, and what
/// is not proven.
#[derive(Default)]
struct Proof<'a> {
    holds: Vec<Node<'a>>,
    obstacles: Vec<Obstacle>,
}

impl Proof<'_> {
    fn is_done(&self) -> bool {
        self.obstacles.is_empty()
    }

    fn lacks(&mut self, obstacle: Obstacle) {
        if !self.obstacles.contains(&obstacle) {
            self.obstacles.push(obstacle);
        }
    }

    fn lack(&mut self, obstacles: impl IntoIterator<Item = Obstacle>, step: &str) {
        for obstacle in obstacles {
            self.lacks(obstacle.below(step));
        }
    }
}

type Key = (Vec<usize>, usize);

/// The state of one proof.
#[derive(Default)]
pub(crate) struct Prover {
    /// The proofs under way, outermost first.
    open: Vec<Key>,
    known: HashMap<Key, Vec<Obstacle>>,
    /// The outermost of `open` that was assumed since the innermost was begun.
    assumed: Option<usize>,
    tried: usize,
}

/// Returns why it is not proven that every document of one schema is valid under the other.
pub(crate) fn obstacles(documents: &Value, schema: &Value) -> Vec<Obstacle> {
    let left = [Part::Schema(Node::root(documents))];
    Prover::default().contained(&left, Node::root(schema))
}

impl Prover {
    /// Proves a schema for all values that have the parts: a member's, an item's, or the document's.
    fn contained(&mut self, parts: &[Part<'_>], right: Node<'_>) -> Vec<Obstacle> {
        if *right.schema == Value::Bool(true) {
            return Vec::new();
        }
        let key = (key(parts), right.id());
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        if let Some(index) = self.open.iter().position(|open| *open == key) {
            self.assumed = Some(self.assumed.map_or(index, |known| known.min(index)));
            return Vec::new();
        }
        self.tried += 1;
        if self.tried > PROOFS {
            return vec![Obstacle::undecided("schema", "be more than the judge looks at")];
        }
        let outer = self.assumed.take();
        let depth = self.open.len();
        self.open.push(key.clone());
        let mut all = Proof::default();
        match cases(parts) {
            Err(TooMany) => {
                all.lacks(Obstacle::undecided("schema", "take more forms than the judge looks at"));
            }
            Ok(cases) => {
                for case in &cases {
                    all.lack(self.prove(case, right, REFERENCES).obstacles, "");
                }
            }
        }
        self.open.pop();
        // A failure under a hopeful assumption is a failure; a success stands if nothing outside was assumed.
        let inner = self.assumed.filter(|index| *index < depth);
        if inner.is_none() || !all.is_done() {
            self.known.insert(key, all.obstacles.clone());
        }
        self.assumed = match (outer, inner) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        all.obstacles
    }

    /// Proves a schema for a case.
    fn prove<'a>(&mut self, case: &Case<'a>, right: Node<'a>, references: u32) -> Proof<'a> {
        let mut proof = Proof::default();
        let Some(keywords) = right.keywords() else {
            if *right.schema == Value::Bool(false) {
                proof.lacks(Obstacle::new("false", format!("be {}", words(case))));
            }
            return proof;
        };
        let Some(references) = references.checked_sub(1) else {
            proof.lacks(Obstacle::undecided("$ref", "lead through references without an end"));
            return proof;
        };
        if let Some(values) = &case.values {
            let answers: Vec<_> = values.iter().map(|value| accepts(right, value)).collect();
            if answers.iter().all(|answer| *answer == Some(true)) {
                proof.holds.push(right);
                return proof;
            }
            let refused = values.iter().zip(&answers).filter(|(_, a)| **a == Some(false));
            let refused: Vec<_> = refused.map(|(value, _)| value).collect();
            if let Some(first) = refused.first() {
                let more = if refused.len() > 1 { " and others" } else { "" };
                proof.lacks(Obstacle::new(blamed(right, first), format!("be `{first}`{more}")));
                return proof;
            }
        }
        proof.holds.push(right);
        for keyword in keywords.keys() {
            let step = match keyword.as_str() {
                "$ref" => match right.target() {
                    Some(target) => self.prove(case, target, references),
                    None => one(Obstacle::undecided("$ref", "be what a reference leads to")),
                },
                "allOf" => {
                    let mut all = Proof::default();
                    for part in right.list("allOf") {
                        let part = self.prove(case, part, references);
                        all.holds.extend(part.holds);
                        all.lack(part.obstacles, "");
                    }
                    all
                }
                "anyOf" | "oneOf" => self.choose(case, right, keyword == "oneOf", references),
                "type" => kind(case, right),
                _ => continue,
            };
            proof.holds.extend(step.holds);
            proof.lack(step.obstacles, "");
        }
        // Of another kind nothing else needs to be said.
        if proof.obstacles.iter().any(|o| o.keyword == "type" && o.path.is_empty()) {
            return proof;
        }
        scalar::prove(case, right, &mut proof);
        self.array(case, right, &mut proof);
        self.object(case, right, &mut proof);
        self.unevaluated(case, right, &mut proof);
        proof
    }
}

fn one<'a>(obstacle: Obstacle) -> Proof<'a> {
    Proof { holds: Vec::new(), obstacles: vec![obstacle] }
}

fn kind<'a>(case: &Case<'a>, right: Node<'a>) -> Proof<'a> {
    match right.get("type").map(Kinds::named) {
        Some(Some(kinds)) if kinds.has(case.kind) => Proof::default(),
        Some(Some(_)) => one(Obstacle::new("type", format!("be {}", case.kind.words()))),
        _ => one(Obstacle::undecided("type", "be of a type that has no name")),
    }
}

/// Returns the keyword that refuses a value, as far as one does by itself.
fn blamed(node: Node<'_>, value: &Value) -> &'static str {
    let all = ["type", "const", "enum", "pattern", "minLength", "maxLength", "minimum", "maximum"];
    let refuses = |keyword: &&&str| {
        let Some(said) = node.get(keyword) else { return false };
        let alone = serde_json::json!({ **keyword: said });
        accepts(Node::root(&alone), value) == Some(false)
    };
    all.iter().find(refuses).copied().unwrap_or("schema")
}

/// Describes a case.
fn words(case: &Case<'_>) -> String {
    if let Some(values) = &case.values {
        let few: Vec<_> = values.iter().take(3).map(|value| format!("`{value}`")).collect();
        let more = if values.len() > 3 { ", …" } else { "" };
        return format!("{}{more}", few.join(" or "));
    }
    match choice::tag(case) {
        Some((name, value)) => format!("{} whose `{name}` is `{value}`", case.kind.words()),
        None => case.kind.words().to_owned(),
    }
}

/// Returns the step to a member.
fn member_step(name: &str) -> String {
    format!("/properties/{}", escaped(name))
}

fn key(parts: &[Part<'_>]) -> Vec<usize> {
    let mut keys: Vec<Vec<usize>> = parts
        .iter()
        .map(|part| match part {
            Part::Schema(node) => vec![0, node.id()],
            Part::Rest { rule, evaluated } => {
                [1, rule.id()].into_iter().chain(evaluated.iter().map(|node| node.id())).collect()
            }
            Part::Just(value) => vec![2, std::ptr::from_ref(*value) as usize],
            Part::Pinned(name, value) => {
                vec![3, name.as_ptr() as usize, std::ptr::from_ref(*value) as usize]
            }
        })
        .collect();
    keys.sort();
    keys.dedup();
    keys.into_iter().flat_map(|key| key.into_iter().chain([usize::MAX])).collect()
}
