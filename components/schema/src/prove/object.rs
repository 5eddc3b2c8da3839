//! Keywords of objects.

use std::collections::BTreeSet;
use std::sync::LazyLock;

use serde_json::{Value, json};

use super::scalar::alike;
use super::{Obstacle, Proof, Prover, member_step};
use crate::cases::{Case, Name, Part, is_empty};
use crate::eval::{accepts, count};
use crate::kind::Kind;
use crate::node::{Node, escaped};

/// The most patterns for names that are combined with one another.
const PATTERNS: usize = 4;

static TEXT: LazyLock<Value> = LazyLock::new(|| json!({ "type": "string" }));

impl Prover {
    /// Proves the keywords of objects for a case.
    pub(super) fn object<'a>(&mut self, case: &Case<'a>, right: Node<'a>, proof: &mut Proof<'a>) {
        let Some(keywords) = right.keywords().filter(|_| case.kind == Kind::Object) else { return };
        for (keyword, said) in keywords {
            match keyword.as_str() {
                "required" => required(case, said, proof),
                "minProperties" => {
                    let known = case.least("minProperties").max(case.required().len() as u64);
                    if count(said).is_none_or(|least| known < least) {
                        let text = format!("have fewer than {said} members");
                        proof.lacks(Obstacle::new("minProperties", text));
                    }
                }
                "maxProperties" => {
                    let fits = most(case).zip(count(said)).is_some_and(|(a, b)| a <= b);
                    if !fits {
                        let text = format!("have more than {said} members");
                        proof.lacks(Obstacle::new("maxProperties", text));
                    }
                }
                "dependentRequired" => dependent(case, right, proof),
                "dependentSchemas" => {
                    let lack = alike(case, right, &["dependentSchemas"], "dependentSchemas");
                    proof.obstacles.extend(lack);
                }
                "propertyNames" => self.names(case, right.at(said), proof),
                _ => {}
            }
        }
        let asks = |node: Node<'a>, name: &Name<'_>| name.asked(node);
        let others = ["patternProperties", "additionalProperties"];
        let others = others.into_iter().any(|keyword| right.get(keyword).is_some());
        self.members(case, &[right], others, "additionalProperties", proof, |name| {
            asks(right, name)
        });
    }

    /// Proves `unevaluatedProperties`, with what holds besides for certain.
    pub(super) fn unevaluated<'a>(
        &mut self,
        case: &Case<'a>,
        right: Node<'a>,
        proof: &mut Proof<'a>,
    ) {
        let Some(rule) = right.below("unevaluatedProperties") else { return };
        if case.kind != Kind::Object || *rule.schema == true {
            return;
        }
        let holds = proof.holds.clone();
        let all = |node: &Node<'_>| {
            node.get("additionalProperties").is_some()
                || (node.id() != right.id() && node.get("unevaluatedProperties").is_some())
        };
        if holds.iter().any(all) {
            return;
        }
        self.members(case, &holds, true, "unevaluatedProperties", proof, |name| {
            let covered = holds.iter().any(|node| name.is_covered(*node));
            if covered { Vec::new() } else { vec![rule] }
        });
    }

    /// Proves what is asked of each member that a document of the case may have.
    fn members<'a>(
        &mut self,
        case: &Case<'a>,
        rights: &[Node<'a>],
        others: bool,
        keyword: &'static str,
        proof: &mut Proof<'a>,
        asked: impl Fn(&Name<'_>) -> Vec<Node<'a>>,
    ) {
        let mut names = case.names();
        names.extend(rights.iter().flat_map(|node| node.named("properties")).map(|(name, _)| name));
        for known in names {
            let name = Name::Known(known);
            let asked = asked(&name);
            if !asked.is_empty() {
                let text = || format!("have `{known}`");
                self.member(case, &name, &asked, (keyword, &member_step(known)), text, proof);
            }
        }
        if !others {
            return;
        }
        let mut patterns = case.patterns();
        let own = rights.iter().flat_map(|node| node.named("patternProperties"));
        patterns.extend(own.map(|(regex, _)| regex));
        if patterns.len() > PATTERNS {
            let text = "have members by more patterns than the judge looks at";
            proof.lacks(Obstacle::undecided("patternProperties", text));
            return;
        }
        for found in subsets(&patterns) {
            let (step, text) = match found.iter().next() {
                Some(first) => (
                    format!("/patternProperties/{}", escaped(first)),
                    format!("have members by the pattern `{first}`"),
                ),
                None => ("/additionalProperties".to_owned(), "have other members".to_owned()),
            };
            let name = Name::Other(found);
            let asked = asked(&name);
            self.member(case, &name, &asked, (keyword, &step), || text.clone(), proof);
        }
    }

    fn member<'a>(
        &mut self,
        case: &Case<'a>,
        name: &Name<'_>,
        asked: &[Node<'a>],
        (keyword, step): (&'static str, &str),
        text: impl Fn() -> String,
        proof: &mut Proof<'a>,
    ) {
        let member = case.member(name);
        for asked in asked {
            if *asked.schema == false {
                if !is_empty(&member) {
                    proof.lack([Obstacle::new(keyword, text())], step);
                }
            } else {
                proof.lack(self.contained(&member, *asked), step);
            }
        }
    }

    fn names<'a>(&mut self, case: &Case<'a>, asked: Node<'a>, proof: &mut Proof<'a>) {
        if closed(case) {
            let names = case.names().into_iter();
            let mut names = names.filter(|name| !is_empty(&case.member(&Name::Known(name))));
            if names.all(|name| accepts(asked, &name.into()) == Some(true)) {
                return;
            }
        }
        let known = case.schemas().filter_map(|node| node.below("propertyNames"));
        let mut parts: Vec<_> = known.map(Part::Schema).collect();
        parts.push(Part::Schema(Node::root(&TEXT)));
        proof.lack(self.contained(&parts, asked), "/propertyNames");
    }
}

fn required(case: &Case<'_>, said: &Value, proof: &mut Proof<'_>) {
    let known = case.required();
    let names = said.as_array().into_iter().flatten().filter_map(Value::as_str);
    for name in names.filter(|name| !known.contains(name)) {
        let lack = Obstacle::new("required", format!("lack `{name}`"));
        proof.lack([lack], &member_step(name));
    }
}

fn dependent(case: &Case<'_>, right: Node<'_>, proof: &mut Proof<'_>) {
    let required = case.required();
    let all = right.get("dependentRequired").and_then(Value::as_object);
    for (name, needs) in all.into_iter().flatten() {
        let known = case.said("dependentRequired").filter_map(|said| said.get(name));
        let known: Vec<_> = known.filter_map(Value::as_array).flatten().collect();
        let needs = needs.as_array().into_iter().flatten();
        let given = |need: &Value| {
            known.contains(&need) || need.as_str().is_some_and(|n| required.contains(n))
        };
        if needs.clone().any(|need| !given(need)) && !is_empty(&case.member(&Name::Known(name))) {
            let lack = Obstacle::new("dependentRequired", format!("have `{name}` by itself"));
            proof.lack([lack], &member_step(name));
        }
    }
}

/// Reports whether a case has no members but those that it names.
fn closed(case: &Case<'_>) -> bool {
    let patterns = case.patterns();
    patterns.is_empty() && is_empty(&case.member(&Name::Other(BTreeSet::new())))
}

/// Returns the greatest number of members, if there is one.
fn most(case: &Case<'_>) -> Option<u64> {
    let said = case.most("maxProperties");
    let possible = |name: &&str| !is_empty(&case.member(&Name::Known(name)));
    let listed = closed(case).then(|| case.names().iter().filter(|n| possible(n)).count() as u64);
    match (said, listed) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

fn subsets<'a>(all: &BTreeSet<&'a str>) -> Vec<BTreeSet<&'a str>> {
    let mut subsets = vec![BTreeSet::new()];
    for one in all {
        let with = subsets.clone().into_iter().map(|mut subset: BTreeSet<_>| {
            subset.insert(*one);
            subset
        });
        subsets.extend(with.collect::<Vec<_>>());
    }
    subsets
}
