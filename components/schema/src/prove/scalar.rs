//! Keywords that look at a value as a whole: numbers, strings, lists of values, and what is not followed.

use std::cmp::Ordering;

use serde_json::Value;

use super::{Obstacle, Proof};
use crate::cases::{Case, Part, cases, divided};
use crate::eval::count;
use crate::format;
use crate::kind::Kind;
use crate::node::Node;
use crate::number::{self, compare};

pub(super) fn prove<'a>(case: &Case<'a>, right: Node<'a>, proof: &mut Proof<'a>) {
    let Some(keywords) = right.keywords() else { return };
    for (keyword, said) in keywords {
        let lack = match (keyword.as_str(), case.kind) {
            ("enum", _) => Some(Obstacle::new("enum", "be a value that is not listed")),
            ("const", _) => Some(Obstacle::new("const", format!("be another value than `{said}`"))),
            ("not", _) => not(case, right.at(said)),
            ("format", kind) => formatted(case, said, kind),
            ("if" | "then" | "else", _) if keyword == "if" => {
                alike(case, right, &["if", "then", "else"], "if")
            }
            ("minimum" | "exclusiveMinimum" | "maximum" | "exclusiveMaximum", kind)
                if kind.is_number() =>
            {
                bounded(case, keyword, said)
            }
            ("multipleOf", kind) if kind.is_number() => {
                let proven = said
                    .as_number()
                    .is_some_and(|by| divided(case, by) || (kind == Kind::Integer && one(by)));
                (!proven).then(|| Obstacle::new("multipleOf", format!("be no multiple of {said}")))
            }
            ("minLength", Kind::String) => count(said)
                .is_none_or(|least| case.least("minLength") < least)
                .then(|| Obstacle::new("minLength", format!("be shorter than {said}"))),
            ("maxLength", Kind::String) => {
                let fits = case.most("maxLength").zip(count(said)).is_some_and(|(a, b)| a <= b);
                (!fits).then(|| Obstacle::new("maxLength", format!("be longer than {said}")))
            }
            ("pattern", Kind::String) => pattern(case, said),
            _ => None,
        };
        proof.obstacles.extend(lack);
    }
}

fn one(by: &serde_json::Number) -> bool {
    number::integer(by) == Some(1)
}

/// Proves that a schema accepts nothing of the case.
fn not<'a>(case: &Case<'a>, refused: Node<'a>) -> Option<Obstacle> {
    let proven = disjoint(case, refused);
    (!proven).then(|| Obstacle::undecided("not", "be what `not` refuses"))
}

/// Reports whether it is certain that a schema accepts no document of the case.
pub(super) fn disjoint<'a>(case: &Case<'a>, other: Node<'a>) -> bool {
    let mut both = case.parts.clone();
    both.push(Part::Schema(other));
    cases(&both).is_ok_and(|both| both.iter().all(|both| both.kind != case.kind))
}

fn formatted(case: &Case<'_>, said: &Value, kind: Kind) -> Option<Obstacle> {
    let format = said.as_str()?;
    if !format::concerns(format, kind) {
        return None;
    }
    let given = |known: &Value| known.as_str().is_some_and(|known| format::implies(known, format));
    let within = || {
        let (least, most) = format::range(format)?;
        let (low, high) = case.integers();
        Some(kind == Kind::Integer && least <= low? && high? <= most)
    };
    let proven = case.said("format").any(given) || within() == Some(true);
    (!proven).then(|| Obstacle::new("format", format!("be no `{format}`")))
}

fn bounded(case: &Case<'_>, keyword: &str, said: &Value) -> Option<Obstacle> {
    let bound = said.as_number()?;
    let (lower, upper) = case.bounds();
    let (least, most) = case.integers();
    let asked = number::integer(bound).filter(|_| case.kind == Kind::Integer);
    let inside = |known: Option<(&serde_json::Number, bool)>, beyond: Ordering, open: bool| {
        known.is_some_and(|(known, excluded)| match compare(known, bound) {
            Ordering::Equal => excluded || !open,
            order => order == beyond,
        })
    };
    let (name, proven, text) = match keyword {
        "minimum" => (
            "minimum",
            inside(lower, Ordering::Greater, false)
                || least.zip(asked).is_some_and(|(a, b)| a >= b),
            "less than",
        ),
        "exclusiveMinimum" => (
            "exclusiveMinimum",
            inside(lower, Ordering::Greater, true) || least.zip(asked).is_some_and(|(a, b)| a > b),
            "not more than",
        ),
        "maximum" => (
            "maximum",
            inside(upper, Ordering::Less, false) || most.zip(asked).is_some_and(|(a, b)| a <= b),
            "more than",
        ),
        _ => (
            "exclusiveMaximum",
            inside(upper, Ordering::Less, true) || most.zip(asked).is_some_and(|(a, b)| a < b),
            "not less than",
        ),
    };
    (!proven).then(|| Obstacle::new(name, format!("be {text} {said}")))
}

fn pattern(case: &Case<'_>, said: &Value) -> Option<Obstacle> {
    let mut known = case.said("pattern").peekable();
    let none = known.peek().is_none();
    if known.any(|known| known == said) {
        return None;
    }
    let text = format!("be text without the pattern `{}`", said.as_str().unwrap_or("?"));
    // Which of two patterns finds more is not followed.
    Some(if none { Obstacle::new("pattern", text) } else { Obstacle::undecided("pattern", text) })
}

/// Proves keywords that are not followed: one of the case's own schemas has the same.
pub(super) fn alike<'a>(
    case: &Case<'a>,
    right: Node<'a>,
    keywords: &[&str],
    name: &'static str,
) -> Option<Obstacle> {
    let wanted: Vec<_> = keywords.iter().map(|keyword| right.get(keyword)).collect();
    let leads_away = wanted.iter().flatten().any(|said| said.to_string().contains("\"$ref\""));
    let same = |known: Node<'_>| {
        keywords.iter().zip(&wanted).all(|(keyword, wanted)| known.get(keyword) == *wanted)
    };
    let proven = !leads_away && case.schemas().any(same);
    (!proven).then(|| Obstacle::undecided(name, format!("be what `{name}` refuses")))
}
