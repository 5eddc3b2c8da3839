//! One value against one schema, answered only where every validator gives the same answer.

use std::cmp::Ordering;

use serde_json::{Number, Value};

use crate::format;
use crate::kind::{Kind, Kinds};
use crate::node::Node;
use crate::number::{self, compare, equal};
use crate::pattern;

/// The depth to which references and schemas are followed for one value.
const DEPTH: u32 = 64;

/// Reports whether a schema accepts a value, or `None` where that is not certain.
pub(crate) fn accepts(node: Node<'_>, value: &Value) -> Option<bool> {
    at_depth(node, value, DEPTH)
}

fn at_depth(node: Node<'_>, value: &Value, depth: u32) -> Option<bool> {
    let keywords = match node.schema {
        Value::Bool(accepts) => return Some(*accepts),
        Value::Object(keywords) => keywords,
        _ => return None,
    };
    let depth = depth.checked_sub(1)?;
    all(keywords.iter().map(|(keyword, said)| one(node, keyword, said, value, depth)))
}

/// Returns what a conjunction comes to: one no decides, and then one doubt.
fn all(answers: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let mut sure = true;
    for answer in answers {
        match answer {
            Some(false) => return Some(false),
            Some(true) => {}
            None => sure = false,
        }
    }
    sure.then_some(true)
}

fn any(answers: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    all(answers.into_iter().map(|answer| answer.map(|yes| !yes))).map(|none| !none)
}

fn exactly_one(answers: impl IntoIterator<Item = Option<bool>>) -> Option<bool> {
    let (mut yes, mut doubts) = (0, 0);
    for answer in answers {
        match answer {
            Some(true) => yes += 1,
            Some(false) => {}
            None => doubts += 1,
        }
    }
    match (yes, doubts) {
        (2.., _) | (0, 0) => Some(false),
        (1, 0) => Some(true),
        _ => None,
    }
}

/// Reports whether one keyword accepts a value.
fn one(node: Node<'_>, keyword: &str, said: &Value, value: &Value, depth: u32) -> Option<bool> {
    match keyword {
        "type" => Some(Kinds::named(said)?.has(Kind::of(value))),
        "const" => Some(equal(said, value)),
        "enum" => Some(said.as_array()?.iter().any(|one| equal(one, value))),
        "$ref" => at_depth(node.target()?, value, depth),
        "allOf" => all(node.list(keyword).into_iter().map(|one| at_depth(one, value, depth))),
        "anyOf" => any(node.list(keyword).into_iter().map(|one| at_depth(one, value, depth))),
        "oneOf" => {
            exactly_one(node.list(keyword).into_iter().map(|one| at_depth(one, value, depth)))
        }
        "not" => at_depth(node.at(said), value, depth).map(|yes| !yes),
        "format" => {
            let format = said.as_str()?;
            let fits = || format::holds(format, value.as_number()?);
            // Out of the format's range is a doubt: a validator need not look.
            let sure = !format::concerns(format, Kind::of(value)) || fits() == Some(true);
            sure.then_some(true)
        }
        "minimum" => ordered(value, said, Ordering::is_ge),
        "exclusiveMinimum" => ordered(value, said, Ordering::is_gt),
        "maximum" => ordered(value, said, Ordering::is_le),
        "exclusiveMaximum" => ordered(value, said, Ordering::is_lt),
        "multipleOf" => match value {
            Value::Number(value) => multiple(value, said.as_number()?),
            _ => Some(true),
        },
        "minLength" | "maxLength" | "pattern" => match value {
            Value::String(text) => of_string(keyword, said, text),
            _ => Some(true),
        },
        "minItems" | "maxItems" | "uniqueItems" | "items" | "prefixItems" | "contains"
        | "minContains" | "maxContains" | "unevaluatedItems" => match value {
            Value::Array(items) => of_array(node, keyword, said, items, depth),
            _ => Some(true),
        },
        "required"
        | "minProperties"
        | "maxProperties"
        | "properties"
        | "patternProperties"
        | "additionalProperties"
        | "propertyNames"
        | "dependentRequired"
        | "dependentSchemas"
        | "unevaluatedProperties" => match value {
            Value::Object(_) => of_object(node, keyword, said, value, depth),
            _ => Some(true),
        },
        "if" => {
            let branch = |name| node.below(name).map_or(Some(true), |n| at_depth(n, value, depth));
            match at_depth(node.at(said), value, depth) {
                Some(true) => branch("then"),
                Some(false) => branch("else"),
                None => all([branch("then"), branch("else")]).filter(|yes| *yes),
            }
        }
        // Annotations, what other keywords read, and words that no validator knows.
        _ => Some(true),
    }
}

fn ordered(value: &Value, bound: &Value, fits: impl Fn(Ordering) -> bool) -> Option<bool> {
    match value {
        Value::Number(value) => Some(fits(compare(value, bound.as_number()?))),
        _ => Some(true),
    }
}

/// Reports whether one number divides another, as far as both are integers.
pub(crate) fn multiple(value: &Number, of: &Number) -> Option<bool> {
    let (value, of) = (number::integer(value)?, number::integer(of)?);
    (of > 0).then(|| value % of == 0)
}

/// Returns a keyword's value as a count.
pub(crate) fn count(said: &Value) -> Option<u64> {
    u64::try_from(number::integer(said.as_number()?)?).ok()
}

fn of_string(keyword: &str, said: &Value, text: &str) -> Option<bool> {
    let length = text.chars().count() as u64;
    match keyword {
        "minLength" => Some(length >= count(said)?),
        "maxLength" => Some(length <= count(said)?),
        _ => pattern::finds(said.as_str()?, text),
    }
}

fn of_array(
    node: Node<'_>,
    keyword: &str,
    said: &Value,
    items: &[Value],
    depth: u32,
) -> Option<bool> {
    match keyword {
        "minItems" => Some(items.len() as u64 >= count(said)?),
        "maxItems" => Some(items.len() as u64 <= count(said)?),
        "uniqueItems" => Some(
            *said != Value::Bool(true)
                || items.iter().enumerate().all(|(i, a)| !items[..i].iter().any(|b| equal(a, b))),
        ),
        "prefixItems" => {
            let schemas = node.list(keyword);
            all(schemas.into_iter().zip(items).map(|(one, item)| at_depth(one, item, depth)))
        }
        "items" => {
            let before = node.list("prefixItems").len();
            all(items.iter().skip(before).map(|item| at_depth(node.at(said), item, depth)))
        }
        // `contains` with its two counts, and `unevaluatedItems`, are left to the validator.
        _ => None,
    }
}

fn of_object(
    node: Node<'_>,
    keyword: &str,
    said: &Value,
    value: &Value,
    depth: u32,
) -> Option<bool> {
    let fields = value.as_object()?;
    match keyword {
        "required" => {
            all(said.as_array()?.iter().map(|name| Some(fields.contains_key(name.as_str()?))))
        }
        "minProperties" => Some(fields.len() as u64 >= count(said)?),
        "maxProperties" => Some(fields.len() as u64 <= count(said)?),
        "properties" => all(node.named(keyword).map(|(name, schema)| {
            fields.get(name).map_or(Some(true), |field| at_depth(schema, field, depth))
        })),
        "patternProperties" => all(node.named(keyword).flat_map(|(regex, schema)| {
            fields.iter().map(move |(name, field)| match pattern::finds(regex, name) {
                Some(false) => Some(true),
                Some(true) => at_depth(schema, field, depth),
                None => at_depth(schema, field, depth).filter(|yes| *yes),
            })
        })),
        "additionalProperties" => all(fields.iter().map(|(name, field)| {
            let fits = || at_depth(node.at(said), field, depth);
            match declares(node, name) {
                Some(true) => Some(true),
                Some(false) => fits(),
                None => fits().filter(|yes| *yes),
            }
        })),
        "propertyNames" => {
            all(fields.keys().map(|name| at_depth(node.at(said), &name.as_str().into(), depth)))
        }
        _ => None,
    }
}

/// Reports whether `properties` or `patternProperties` of a schema cover a name.
pub(crate) fn declares(node: Node<'_>, name: &str) -> Option<bool> {
    let listed = node.get("properties").and_then(|all| all.get(name)).is_some();
    any(std::iter::once(Some(listed))
        .chain(node.named("patternProperties").map(|(regex, _)| pattern::finds(regex, name))))
}
