//! Answers from the state: units, lists of them, queries, and checks of metadata.

use std::ops::Bound;

use cim_runtime::component::{Code, Refusal};
use jiff::Timestamp;

use crate::contract::{
    Found, Get, List, Query, Revision, Summary, UnitReply, Validate, Validated, Word,
};
use crate::decide::{find, newest, version};
use crate::index::{Conditions, Entry, IndexError};
use crate::state::{Unit, Units};
use crate::validators;

/// The query cannot be read.
pub(crate) const QUERY_INVALID: Code = Code { word: "query_invalid", number: 400 };

pub(crate) fn get(units: &Units, asked: &Get) -> Result<UnitReply, Refusal> {
    let unit = find(units, &asked.unit)?;
    let shown = version(unit, &asked.unit, asked.version.as_ref())?;
    let versions = unit.versions.iter().map(|version| Revision {
        version: version.id.clone(),
        time: version.time.to_string(),
        content: version.body.body().content,
    });
    Ok(UnitReply {
        unit: asked.unit.clone(),
        version: shown.id.clone(),
        body: shown.body.body(),
        links: unit.links.iter().cloned().collect(),
        linked_from: unit.linked_from.iter().cloned().collect(),
        versions: versions.collect(),
    })
}

pub(crate) fn list(units: &Units, asked: &List) -> Result<Found, Refusal> {
    let limit = limit(asked.limit)?;
    let from = asked.after.clone().map_or(Bound::Unbounded, Bound::Excluded);
    let rest = units.all.range((from, Bound::Unbounded));
    let units_shown = rest.take(limit).map(|(name, unit)| summary(name, unit)).collect();
    Ok(Found { total: units.all.len() as u64, units: units_shown })
}

pub(crate) fn query(units: &Units, asked: &Query) -> Result<Found, Refusal> {
    let limit = limit(asked.limit)?;
    let conditions = Conditions {
        kind: asked.kind.as_ref(),
        tags: asked.tags.iter().collect(),
        relation: asked.relation.as_ref(),
        links_to: asked.links_to.as_ref(),
        since: time("since", asked.since.as_deref())?,
        until: time("until", asked.until.as_deref())?,
        text: asked.text.as_deref(),
    };
    let entry = |name: &Word| {
        let (unit, known) = units.all.get_key_value(name)?;
        let body = known.head().body.body();
        Some(Entry { unit, body, links: &known.links, time: known.time })
    };
    let found = units.index.find(&conditions, units.all.keys(), entry);
    let found = found.map_err(|error| match error {
        IndexError::Text(why) => Refusal::new(
            QUERY_INVALID,
            format!("`text` cannot be read: {why}"),
            "send words, phrases in quotes, `OR`, `-`",
        ),
        IndexError::Broken(why) => Refusal::new(
            Code::UNAVAILABLE,
            format!("the index cannot be used: {why}"),
            "send it again; a new start makes the index anew",
        ),
    })?;
    let mut found: Vec<_> = found.iter().filter_map(|name| units.all.get_key_value(name)).collect();
    // The same order whichever process answers: by time, then by name.
    found.sort_by(|(a, x), (b, y)| y.time.cmp(&x.time).then_with(|| a.cmp(b)));
    let total = found.len() as u64;
    let units = found.into_iter().take(limit).map(|(name, unit)| summary(name, unit));
    Ok(Found { total, units: units.collect() })
}

pub(crate) fn validate(units: &Units, asked: &Validate) -> Result<Validated, Refusal> {
    let (version, schema) = newest(units, &asked.kind)?;
    let problems = validators::problems(schema, &asked.metadata);
    Ok(Validated { version, valid: problems.is_empty(), problems })
}

fn summary(name: &Word, unit: &Unit) -> Summary {
    let head = unit.head();
    let body = head.body.body();
    Summary {
        unit: name.clone(),
        version: head.id.clone(),
        time: unit.time.to_string(),
        kind: body.kind,
        content: body.content,
    }
}

fn limit(asked: u16) -> Result<usize, Refusal> {
    if (1..=1000).contains(&asked) {
        return Ok(asked.into());
    }
    Err(Refusal::new(Code::INVALID, format!("`limit` is {asked}"), "send 1 to 1000"))
}

fn time(name: &str, text: Option<&str>) -> Result<Option<Timestamp>, Refusal> {
    let read = text.map(str::parse).transpose();
    read.map_err(|error| {
        let what = format!("`{name}` is no time: {error}");
        Refusal::new(QUERY_INVALID, what, "send RFC 3339: `2026-01-31T12:00:00Z`")
    })
}
