//! Documents that are drawn from a schema, to find one that tells two versions apart.
//!
//! They are guesses: a validator has the last word on each. Numbers, texts and names of both schemas are used, and
//! their neighbours, because that is where two versions differ.

use std::cmp::Ordering;

use regex_syntax::hir::{Class as Letters, Hir, HirKind};
use serde_json::{Map, Number, Value, json};

use crate::cases::{Case, Name, Part, cases, is_empty};
use crate::kind::Kind;
use crate::node::Node;
use crate::number::{self, compare};

/// The greatest depth of a document.
const DEPTH: u32 = 8;
/// The number of attempts at a document: a schema may have none.
const ROUNDS: u64 = 96;
/// The most items or members that are drawn beyond those that must be.
const MORE: u64 = 3;

/// Texts that are of a format.
const FORMATS: [(&str, &str); 9] = [
    ("date-time", "2026-01-31T12:00:00Z"),
    ("date", "2026-01-31"),
    ("time", "12:00:00Z"),
    ("uuid", "01890a5d-ac96-774b-bcce-b302099a8057"),
    ("ipv4", "192.0.2.1"),
    ("ip", "192.0.2.1"),
    ("ipv6", "2001:db8::1"),
    ("email", "a@example.org"),
    ("uri", "https://example.org/"),
];

/// Draws up to 96 documents of a schema that another one may refuse. The same arguments give the same documents.
pub fn documents<'a>(
    schema: &'a Value,
    other: &'a Value,
    seed: u64,
) -> impl Iterator<Item = Value> + 'a {
    let mut words = Words::default();
    words.collect(schema);
    words.collect(other);
    (0..ROUNDS).filter_map(move |round| {
        let mut draw = Draw { words: &words, state: mixed(seed ^ mixed(round + 1)) };
        draw.value(&[Part::Schema(Node::root(schema))], DEPTH)
    })
}

/// The values, names and bounds that both schemas mention.
#[derive(Default)]
struct Words {
    numbers: Vec<Number>,
    texts: Vec<String>,
    names: Vec<String>,
    lengths: Vec<u64>,
}

impl Words {
    fn collect(&mut self, schema: &Value) {
        match schema {
            Value::Object(fields) => {
                for (name, value) in fields {
                    if matches!(name.as_str(), "title" | "description" | "$id" | "$schema" | "$ref")
                        && value.is_string()
                    {
                        continue;
                    }
                    if name == "properties"
                        && let Some(all) = value.as_object()
                    {
                        self.names.extend(all.keys().cloned());
                    }
                    let counts = name.ends_with("Length") || name.ends_with("Items");
                    self.lengths.extend(value.as_u64().filter(|_| counts));
                    self.collect(value);
                }
            }
            Value::Array(items) => items.iter().for_each(|item| self.collect(item)),
            Value::Number(number) => self.numbers.push(number.clone()),
            Value::String(text) => self.texts.push(text.clone()),
            _ => {}
        }
    }
}

fn mixed(mut state: u64) -> u64 {
    state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    state ^ (state >> 31)
}

struct Draw<'w> {
    words: &'w Words,
    state: u64,
}

impl Draw<'_> {
    fn below(&mut self, limit: usize) -> usize {
        self.state = mixed(self.state);
        usize::try_from(self.state % limit.max(1) as u64).unwrap_or(0)
    }

    fn pick<T: Clone>(&mut self, all: &[T]) -> Option<T> {
        if all.is_empty() { None } else { all.get(self.below(all.len())).cloned() }
    }

    /// Draws a value that has the parts, as far as they are followed.
    fn value(&mut self, parts: &[Part<'_>], depth: u32) -> Option<Value> {
        let depth = depth.checked_sub(1)?;
        let cases = cases(parts).ok()?;
        let index = self.below(cases.len());
        let case = cases.get(index)?;
        if let Some(values) = &case.values {
            return self.pick(values).map(std::borrow::Cow::into_owned);
        }
        match case.kind {
            Kind::Integer | Kind::Fraction => self.number(case),
            Kind::String => self.text(case).map(Value::String),
            Kind::Array => self.array(case, depth),
            Kind::Object => self.object(case, depth),
            Kind::Null | Kind::Boolean => None,
        }
    }

    fn number(&mut self, case: &Case<'_>) -> Option<Value> {
        let mut numbers = vec![json!(0), json!(1), json!(-1), json!(0.5), json!(-2.5), json!(300)];
        for number in &self.words.numbers {
            numbers.push(Value::Number(number.clone()));
            match number::integer(number) {
                Some(whole) => {
                    let near = [whole.saturating_sub(1), whole.saturating_add(1)];
                    let near = near.into_iter().filter_map(|n| i64::try_from(n).ok());
                    numbers.extend(near.map(Value::from));
                    numbers.extend(
                        i64::try_from(whole)
                            .ok()
                            .and_then(|n| i32::try_from(n).ok().map(|n| json!(f64::from(n) + 0.5))),
                    );
                }
                None => numbers.extend(number.as_f64().map(|n| json!(n.ceil()))),
            }
        }
        let (lower, upper) = case.bounds();
        let inside = |number: &Number| {
            let beyond = |bound: Option<(&Number, bool)>, wrong: Ordering| {
                bound.is_some_and(|(bound, excluded)| match compare(number, bound) {
                    Ordering::Equal => excluded,
                    order => order == wrong,
                })
            };
            !beyond(lower, Ordering::Less) && !beyond(upper, Ordering::Greater)
        };
        numbers
            .retain(|value| Kind::of(value) == case.kind && value.as_number().is_some_and(inside));
        self.pick(&numbers)
    }

    fn text(&mut self, case: &Case<'_>) -> Option<String> {
        let (least, most) = (case.least("minLength"), case.most("maxLength"));
        let fits = |text: &String| {
            let length = text.chars().count() as u64;
            length >= least && most.is_none_or(|most| length <= most)
        };
        let patterns: Vec<_> = case.said("pattern").filter_map(Value::as_str).collect();
        if let Some(pattern) = self.pick(&patterns) {
            let tries: Vec<_> = (0..8).filter_map(|_| self.matching(pattern, least)).collect();
            return self.pick(&tries.into_iter().filter(fits).collect::<Vec<_>>());
        }
        let mut texts = vec![String::new(), "a".into(), "A 1".into(), "é\u{1f600}".into()];
        for length in self.words.lengths.iter().flat_map(|n| [n.saturating_sub(1), *n, n + 1]) {
            texts.extend(usize::try_from(length).ok().filter(|n| *n < 4096).map(|n| "b".repeat(n)));
        }
        texts.extend(self.words.texts.iter().cloned());
        let formats: Vec<_> = case.said("format").filter_map(Value::as_str).collect();
        let of_format = FORMATS.iter().filter(|(name, _)| formats.contains(name));
        let of_format: Vec<_> = of_format.map(|(_, text)| (*text).to_owned()).collect();
        if !of_format.is_empty() {
            texts = of_format;
        }
        texts.retain(fits);
        self.pick(&texts)
    }

    /// Draws a text in which a pattern finds something.
    fn matching(&mut self, pattern: &str, least: u64) -> Option<String> {
        let hir = regex_syntax::Parser::new().parse(pattern).ok()?;
        let mut text = String::new();
        self.spell(&hir, usize::try_from(least).ok()?, &mut text)?;
        Some(text)
    }

    fn spell(&mut self, hir: &Hir, least: usize, text: &mut String) -> Option<()> {
        match hir.kind() {
            HirKind::Empty | HirKind::Look(_) => {}
            HirKind::Literal(literal) => text.push_str(std::str::from_utf8(&literal.0).ok()?),
            HirKind::Class(Letters::Unicode(letters)) => {
                let ranges: Vec<_> =
                    letters.ranges().iter().map(|r| (r.start(), r.end())).collect();
                let (start, end) = self.pick(&ranges)?;
                let letters: Vec<_> = (start..=end).take(64).collect();
                text.push(self.pick(&letters)?);
            }
            HirKind::Class(Letters::Bytes(_)) => return None,
            HirKind::Repetition(repetition) => {
                let missing = least.saturating_sub(text.len());
                let more = self.below(4).max(missing);
                let most = repetition.max.map_or(usize::MAX, |most| most as usize);
                for _ in 0..(repetition.min as usize).max(more).min(most).min(4096) {
                    self.spell(&repetition.sub, 0, text)?;
                }
            }
            HirKind::Capture(capture) => self.spell(&capture.sub, least, text)?,
            HirKind::Concat(all) => {
                for one in all {
                    self.spell(one, least, text)?;
                }
            }
            HirKind::Alternation(all) => {
                let one = self.pick(all)?;
                self.spell(&one, least, text)?;
            }
        }
        Some(())
    }

    fn array(&mut self, case: &Case<'_>, depth: u32) -> Option<Value> {
        let least = case.least("minItems");
        let most = case.most("maxItems").unwrap_or(u64::MAX);
        let longer = case.prefix() as u64 + MORE;
        let mut lengths = vec![least, least + 1, longer, case.prefix() as u64];
        lengths.extend(self.words.lengths.iter().flat_map(|n| [n.saturating_sub(1), *n, n + 1]));
        lengths.retain(|n| (least..=most).contains(n) && *n < 64);
        let length = self.pick(&lengths)?;
        let mut items = Vec::new();
        for index in 0..length {
            let item = case.item(usize::try_from(index).ok()?);
            match self.value(&item, depth) {
                Some(item) => items.push(item),
                None if index < least => return None,
                None => break,
            }
        }
        Some(Value::Array(items))
    }

    fn object(&mut self, case: &Case<'_>, depth: u32) -> Option<Value> {
        let required = case.required();
        let mut names: Vec<_> = case.names().into_iter().map(str::to_owned).collect();
        names.extend(self.words.names.iter().cloned());
        names.push("zz".to_owned());
        for pattern in case.patterns() {
            names.extend(self.matching(pattern, 0));
        }
        names.sort();
        names.dedup();
        // All, none, or each by chance.
        let manner = self.below(4);
        let most = case.most("maxProperties").unwrap_or(u64::MAX);
        names.sort_by_key(|name| !required.contains(name.as_str()));
        let mut fields = Map::new();
        for name in names {
            let must = required.contains(name.as_str());
            let wanted = match manner {
                0 => false,
                1 => true,
                _ => self.below(manner) == 0,
            };
            let few = (fields.len() as u64) < case.least("minProperties");
            if !must && ((!wanted && !few) || fields.len() as u64 >= most) {
                continue;
            }
            let member = case.member(&Name::Known(&name));
            if is_empty(&member) {
                continue;
            }
            match self.value(&member, depth) {
                Some(value) => {
                    fields.insert(name, value);
                }
                None if must => return None,
                None => {}
            }
        }
        Some(Value::Object(fields))
    }
}
