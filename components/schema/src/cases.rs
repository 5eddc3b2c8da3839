//! The documents that a schema accepts, as cases: what is known of each is at least what a validator accepts.
//!
//! A case has values of one kind, and a list of parts that hold for all of them. References, `allOf`, `anyOf` and
//! `oneOf` are gone: each choice makes cases of its own. What is left out (`not`, `if`, the *one* of `oneOf`)
//! only makes a case larger, so what is proven for the case is proven for its documents.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::collections::BTreeSet;

use serde_json::{Number, Value};

use crate::eval::{self, accepts, count};
use crate::kind::{Kind, Kinds};
use crate::node::Node;
use crate::number::{self, compare, equal};
use crate::pattern;

/// The most cases of a schema, and the most steps of one of them.
const MOST: usize = 2048;
/// The depth to which the judge looks for members that no value fits.
const EMPTY_DEPTH: u32 = 4;
/// The most integers that are taken one by one.
const FEW: i128 = 64;

/// Something that holds for every document of a case.
#[derive(Clone)]
pub(crate) enum Part<'a> {
    /// The keywords of one schema, apart from those that are gone.
    Schema(Node<'a>),
    /// Members that no schema of `evaluated` covers fit `rule`: `unevaluatedProperties`.
    Rest { rule: Node<'a>, evaluated: Vec<Node<'a>> },
    /// It is this value.
    Just(&'a Value),
    /// This member, if it is there, is this value.
    Pinned(&'a str, &'a Value),
}

/// Documents of one kind.
#[derive(Clone)]
pub(crate) struct Case<'a> {
    pub(crate) kind: Kind,
    pub(crate) parts: Vec<Part<'a>>,
    /// All of them, if they can be listed.
    pub(crate) values: Option<Vec<Cow<'a, Value>>>,
}

/// A sign that a schema has more cases than the judge looks at.
#[derive(Debug)]
pub(crate) struct TooMany;

/// Returns the cases of the documents for which all parts hold. None of them is known to be empty.
pub(crate) fn cases<'a>(parts: &[Part<'a>]) -> Result<Vec<Case<'a>>, TooMany> {
    at_depth(parts, EMPTY_DEPTH)
}

/// Reports whether it is certain that no document has all the parts.
pub(crate) fn is_empty(parts: &[Part<'_>]) -> bool {
    is_empty_at(parts, EMPTY_DEPTH)
}

fn is_empty_at(parts: &[Part<'_>], depth: u32) -> bool {
    let Some(depth) = depth.checked_sub(1) else { return false };
    at_depth(parts, depth).is_ok_and(|cases| cases.is_empty())
}

fn at_depth<'a>(parts: &[Part<'a>], depth: u32) -> Result<Vec<Case<'a>>, TooMany> {
    let mut begun = Begun::default();
    for part in parts {
        match part {
            Part::Schema(node) => begun.work.push((*node, Vec::new())),
            Part::Just(value) => begun.keep_values(vec![*value]),
            other => begun.parts.push(other.clone()),
        }
    }
    let mut done = Vec::new();
    begun.finish(&mut done, depth, &mut 0)?;
    Ok(done)
}

/// A case that is not finished: what is known, and the schemas that are still to be taken apart.
#[derive(Clone)]
struct Begun<'a> {
    kinds: Kinds,
    parts: Vec<Part<'a>>,
    values: Option<Vec<&'a Value>>,
    /// With each schema the scopes that it lies in.
    work: Vec<(Node<'a>, Vec<usize>)>,
    choices: Vec<Choice<'a>>,
    /// Schemas with `unevaluatedProperties`.
    scopes: Vec<Scope<'a>>,
    steps: usize,
}

#[derive(Clone)]
struct Choice<'a> {
    branches: Vec<Node<'a>>,
    /// Several may hold at once.
    any: bool,
    scopes: Vec<usize>,
}

#[derive(Clone)]
struct Scope<'a> {
    owner: Node<'a>,
    evaluated: Vec<Node<'a>>,
}

impl Default for Begun<'_> {
    fn default() -> Self {
        Self {
            kinds: Kinds::ALL,
            parts: Vec::new(),
            values: None,
            work: Vec::new(),
            choices: Vec::new(),
            scopes: Vec::new(),
            steps: 0,
        }
    }
}

impl<'a> Begun<'a> {
    /// Takes everything apart, one case for each way through its choices.
    fn finish(
        mut self,
        done: &mut Vec<Case<'a>>,
        depth: u32,
        tried: &mut usize,
    ) -> Result<(), TooMany> {
        while let Some((node, scopes)) = self.work.pop() {
            self.steps += 1;
            if self.steps > MOST {
                return Err(TooMany);
            }
            if !self.take_apart(node, scopes) {
                return Ok(());
            }
        }
        if let Some(choice) = self.choices.pop() {
            for (index, branch) in choice.branches.iter().enumerate() {
                let mut next = self.clone();
                next.work.push((*branch, choice.scopes.clone()));
                if choice.any {
                    let others = choice.branches.iter().enumerate().filter(|(i, _)| *i != index);
                    for (_, other) in others {
                        next.may_evaluate(*other, &choice.scopes);
                    }
                }
                next.finish(done, depth, tried)?;
            }
            return Ok(());
        }
        *tried += 1;
        if *tried > MOST {
            return Err(TooMany);
        }
        self.close(done, depth);
        Ok(())
    }

    /// Takes a schema's keywords in. Returns `false` if nothing fits any more.
    fn take_apart(&mut self, node: Node<'a>, mut scopes: Vec<usize>) -> bool {
        let Some(keywords) = node.keywords() else { return *node.schema != Value::Bool(false) };
        if let Some(kinds) = keywords.get("type").and_then(Kinds::named) {
            self.kinds = self.kinds.and(kinds);
            if self.kinds.each().next().is_none() {
                return false;
            }
        }
        if let Some(value) = keywords.get("const") {
            self.keep_values(vec![value]);
        }
        if let Some(Value::Array(values)) = keywords.get("enum") {
            self.keep_values(values.iter().collect());
        }
        for scope in &scopes {
            self.scopes[*scope].evaluated.push(node);
        }
        if keywords.contains_key("unevaluatedProperties") {
            scopes.push(self.scopes.len());
            self.scopes.push(Scope { owner: node, evaluated: vec![node] });
        }
        // A schema that leads back to itself without a step into the document says nothing new.
        let seen = |part: &Part<'_>| matches!(part, Part::Schema(known) if known.id() == node.id());
        let again = self.parts.iter().any(seen);
        self.parts.push(Part::Schema(node));
        if again && scopes.is_empty() {
            return true;
        }
        if let Some(target) = node.target() {
            self.work.push((target, scopes.clone()));
        }
        for all in node.list("allOf") {
            self.work.push((all, scopes.clone()));
        }
        for (keyword, any) in [("anyOf", true), ("oneOf", false)] {
            let branches = node.list(keyword);
            if !branches.is_empty() {
                self.choices.push(Choice { branches, any, scopes: scopes.clone() });
            }
        }
        let parts = ["if", "then", "else"].into_iter().filter_map(|keyword| node.below(keyword));
        for part in parts.chain(node.named("dependentSchemas").map(|(_, schema)| schema)) {
            self.may_evaluate(part, &scopes);
        }
        true
    }

    /// Counts the members that a schema covers as evaluated, for it may be one that holds.
    fn may_evaluate(&mut self, node: Node<'a>, scopes: &[usize]) {
        if scopes.is_empty() {
            return;
        }
        let mut nodes = Vec::new();
        in_place(node, &mut nodes);
        for scope in scopes {
            self.scopes[*scope].evaluated.extend(&nodes);
        }
    }

    fn keep_values(&mut self, values: Vec<&'a Value>) {
        self.values = Some(match self.values.take() {
            None => values,
            Some(known) => {
                known.into_iter().filter(|a| values.iter().any(|b| equal(a, b))).collect()
            }
        });
    }

    /// Makes a case for each kind that is left.
    fn close(mut self, done: &mut Vec<Case<'a>>, depth: u32) {
        for scope in std::mem::take(&mut self.scopes) {
            // A keyword for all other members evaluates everything.
            let all = scope.evaluated.iter().any(|node| {
                node.get("additionalProperties").is_some()
                    || (node.id() != scope.owner.id()
                        && node.get("unevaluatedProperties").is_some())
            });
            if let Some(rule) = scope.owner.below("unevaluatedProperties").filter(|_| !all) {
                self.parts.push(Part::Rest { rule, evaluated: scope.evaluated });
            }
        }
        for kind in self.kinds.each() {
            let mut case = Case { kind, parts: self.parts.clone(), values: None };
            case.values = match &self.values {
                Some(values) => Some(values.iter().map(|value| Cow::Borrowed(*value)).collect()),
                None => case.listed(),
            };
            if let Some(values) = &mut case.values {
                values.retain(|value| {
                    Kind::of(value) == kind && self.parts.iter().all(|part| may(part, value))
                });
            }
            if !case.is_dead(depth) {
                done.push(case);
            }
        }
    }
}

/// Reports whether a part lets a value through, as far as that is certain.
fn may(part: &Part<'_>, value: &Value) -> bool {
    match part {
        Part::Schema(node) => accepts(*node, value) != Some(false),
        _ => true,
    }
}

/// Collects a schema and all that are applied at the same place.
fn in_place<'a>(node: Node<'a>, found: &mut Vec<Node<'a>>) {
    if found.iter().any(|known| known.id() == node.id()) {
        return;
    }
    found.push(node);
    let lists = ["allOf", "anyOf", "oneOf"].into_iter().flat_map(|keyword| node.list(keyword));
    let ones = ["if", "then", "else"].into_iter().filter_map(|keyword| node.below(keyword));
    let named = node.named("dependentSchemas").map(|(_, schema)| schema);
    let all: Vec<_> = lists.chain(ones).chain(named).chain(node.target()).collect();
    for next in all {
        in_place(next, found);
    }
}

/// The tightest bound that a case has, with the numbers on it excluded or not.
pub(crate) type Bound<'a> = Option<(&'a Number, bool)>;

impl<'a> Case<'a> {
    /// Returns the schemas whose keywords hold for the case.
    pub(crate) fn schemas(&self) -> impl Iterator<Item = Node<'a>> {
        self.parts.iter().filter_map(|part| match part {
            Part::Schema(node) => Some(*node),
            _ => None,
        })
    }

    /// Returns every value of a keyword that holds for the case.
    pub(crate) fn said(&self, keyword: &str) -> impl Iterator<Item = &'a Value> {
        self.schemas().filter_map(move |node| node.get(keyword))
    }

    /// Returns all values of kinds that have few.
    fn listed(&self) -> Option<Vec<Cow<'a, Value>>> {
        match self.kind {
            Kind::Null => Some(vec![Cow::Owned(Value::Null)]),
            Kind::Boolean => Some([true, false].map(|b| Cow::Owned(Value::Bool(b))).to_vec()),
            Kind::Integer => {
                let (least, most) = self.integers();
                let (least, most) = (least?, most?);
                let few = most.checked_sub(least).is_some_and(|width| width < FEW);
                let value = |n| Some(Cow::Owned(Value::from(i64::try_from(n).ok()?)));
                if few { (least..=most).map(value).collect() } else { None }
            }
            _ => None,
        }
    }

    /// Returns the lower and upper bound of a case of numbers.
    pub(crate) fn bounds(&self) -> (Bound<'a>, Bound<'a>) {
        let tightest = |keyword, exclusive, tighter: Ordering| {
            let with = |keyword, exclusive| {
                let numbers = self.said(keyword).filter_map(Value::as_number);
                numbers.map(move |number| (number, exclusive)).collect::<Vec<_>>()
            };
            let all = with(keyword, false).into_iter().chain(with(exclusive, true));
            all.reduce(|a, b| match compare(a.0, b.0) {
                Ordering::Equal => (a.0, a.1 || b.1),
                order if order == tighter => a,
                _ => b,
            })
        };
        (
            tightest("minimum", "exclusiveMinimum", Ordering::Greater),
            tightest("maximum", "exclusiveMaximum", Ordering::Less),
        )
    }

    /// Returns the least and the greatest integer within the bounds, as far as they have integers as bounds.
    pub(crate) fn integers(&self) -> (Option<i128>, Option<i128>) {
        let (lower, upper) = self.bounds();
        let at = |bound: Bound<'_>, inward: i128| {
            let (number, exclusive) = bound?;
            number::integer(number)?.checked_add(if exclusive { inward } else { 0 })
        };
        (at(lower, 1), at(upper, -1))
    }

    /// Returns the greatest of a keyword's counts, 0 if there is none.
    pub(crate) fn least(&self, keyword: &str) -> u64 {
        self.said(keyword).filter_map(count).max().unwrap_or(0)
    }

    /// Returns the smallest of a keyword's counts.
    pub(crate) fn most(&self, keyword: &str) -> Option<u64> {
        self.said(keyword).filter_map(count).min()
    }

    /// Returns the names that every document of the case has.
    pub(crate) fn required(&self) -> BTreeSet<&'a str> {
        let names = self.said("required").filter_map(Value::as_array).flatten();
        names.filter_map(Value::as_str).collect()
    }

    /// Returns the names that the case says something of.
    pub(crate) fn names(&self) -> BTreeSet<&'a str> {
        let mut names = self.required();
        for part in &self.parts {
            match part {
                Part::Schema(node) => names.extend(node.named("properties").map(|(name, _)| name)),
                Part::Rest { evaluated, .. } => {
                    let all = evaluated.iter().flat_map(|node| node.named("properties"));
                    names.extend(all.map(|(name, _)| name));
                }
                Part::Pinned(name, _) => {
                    names.insert(*name);
                }
                Part::Just(_) => {}
            }
        }
        names
    }

    /// Returns the patterns that the case has for names.
    pub(crate) fn patterns(&self) -> BTreeSet<&'a str> {
        let rest = self.parts.iter().filter_map(|part| match part {
            Part::Rest { evaluated, .. } => Some(evaluated.iter().copied()),
            _ => None,
        });
        let nodes = self.schemas().chain(rest.flatten());
        nodes.flat_map(|node| node.named("patternProperties")).map(|(regex, _)| regex).collect()
    }

    /// Returns what holds for the value of a member.
    pub(crate) fn member(&self, name: &Name<'_>) -> Vec<Part<'a>> {
        let mut parts = Vec::new();
        for part in &self.parts {
            match part {
                Part::Schema(node) => {
                    let (covering, sure) = name.covering(*node);
                    let others = node.below("additionalProperties");
                    let none = covering.is_empty() && sure;
                    parts.extend(covering.into_iter().map(Part::Schema));
                    parts.extend(others.filter(|_| none).map(Part::Schema));
                }
                Part::Rest { rule, evaluated } => {
                    let free = evaluated.iter().all(|node| {
                        let (covering, sure) = name.covering(*node);
                        covering.is_empty() && sure
                    });
                    parts.extend(free.then_some(Part::Schema(*rule)));
                }
                Part::Pinned(pinned, value) => {
                    let same = matches!(name, Name::Known(name) if name == pinned);
                    parts.extend(same.then_some(Part::Just(value)));
                }
                Part::Just(_) => {}
            }
        }
        parts
    }

    /// Returns what holds for the item at an index.
    pub(crate) fn item(&self, index: usize) -> Vec<Part<'a>> {
        let of = |node: Node<'a>| {
            node.list("prefixItems").get(index).copied().or_else(|| node.below("items"))
        };
        self.schemas().filter_map(of).map(Part::Schema).collect()
    }

    /// Returns the number of items from which on all are alike.
    pub(crate) fn prefix(&self) -> usize {
        self.schemas().map(|node| node.list("prefixItems").len()).max().unwrap_or(0)
    }

    /// Reports whether it is certain that there is no such document.
    fn is_dead(&self, depth: u32) -> bool {
        if let Some(values) = &self.values {
            return values.is_empty();
        }
        let crossed = |least, most| self.most(most).is_some_and(|most| self.least(least) > most);
        // Multiples of an integer are integers.
        let whole = |by| number::integer(by).is_some();
        match self.kind {
            Kind::Fraction if self.said("multipleOf").filter_map(Value::as_number).any(whole) => {
                true
            }
            Kind::Integer | Kind::Fraction => {
                let (Some((low, open)), Some((high, closed))) = self.bounds() else { return false };
                let order = compare(low, high);
                let one = order == Ordering::Equal;
                let (least, most) = self.integers();
                let no_integer = matches!((least, most), (Some(a), Some(b)) if a > b);
                order == Ordering::Greater
                    || (one && (open || closed || self.kind == Kind::Fraction))
                    || (self.kind == Kind::Integer && no_integer)
            }
            Kind::String => crossed("minLength", "maxLength"),
            Kind::Array => {
                let first = self.item(0);
                crossed("minItems", "maxItems")
                    || (self.least("minItems") > 0 && is_empty_at(&first, depth))
            }
            Kind::Object => {
                let impossible = |name: &&str| is_empty_at(&self.member(&Name::Known(name)), depth);
                crossed("minProperties", "maxProperties") || self.required().iter().any(impossible)
            }
            _ => false,
        }
    }
}

/// A member's name: one that is known, or any other of which is known which patterns find something in it.
pub(crate) enum Name<'n> {
    Known(&'n str),
    Other(BTreeSet<&'n str>),
}

impl Name<'_> {
    /// Returns the schemas that `properties` and `patternProperties` have for the name for certain, and whether
    /// these are all.
    pub(crate) fn covering<'a>(&self, node: Node<'a>) -> (Vec<Node<'a>>, bool) {
        let (mut covering, mut sure) = (Vec::new(), true);
        if let Self::Known(name) = self {
            let listed = node.get("properties").and_then(|all| all.get(*name));
            covering.extend(listed.map(|schema| node.at(schema)));
        }
        for (regex, schema) in node.named("patternProperties") {
            match self {
                Self::Other(found) => covering.extend(found.contains(regex).then_some(schema)),
                Self::Known(name) => match pattern::finds(regex, name) {
                    Some(true) => covering.push(schema),
                    Some(false) => {}
                    None => sure = false,
                },
            }
        }
        (covering, sure)
    }

    /// Returns all that a schema may ask of a member with the name.
    pub(crate) fn asked<'a>(&self, node: Node<'a>) -> Vec<Node<'a>> {
        let (mut asked, sure) = self.covering(node);
        let none = asked.is_empty();
        if !sure {
            let all = node.named("patternProperties").map(|(_, schema)| schema);
            asked.extend(all);
        }
        asked.extend(node.below("additionalProperties").filter(|_| none));
        asked
    }

    /// Reports whether it is certain that a schema covers the name.
    pub(crate) fn is_covered(&self, node: Node<'_>) -> bool {
        !self.covering(node).0.is_empty()
    }
}

/// Reports whether `multipleOf` of a case makes one number divide its values.
pub(crate) fn divided(case: &Case<'_>, by: &Number) -> bool {
    case.said("multipleOf").filter_map(Value::as_number).any(|known| {
        compare(known, by) == Ordering::Equal || eval::multiple(known, by) == Some(true)
    })
}
