//! `schema diff`, `schema check` and `schema validate`.

use std::io::Read as _;
use std::path::Path;
use std::process::ExitCode;

use cim_schema::{Change, Judgement, Side, judge};
use serde_json::json;

use crate::error::{Error, Result};
use crate::output::{print, remark};
use crate::schema::{self, Catalogue, Line, Name, Validated};

/// Prints the class of a change, and each change by its place.
pub(super) fn diff(
    catalogue: &Catalogue,
    old: &Name,
    new: Option<&Name>,
    json: bool,
) -> Result<ExitCode> {
    let (old, new) = match new {
        Some(new) => (old.clone(), new.clone()),
        None => two_newest(catalogue, old)?,
    };
    let judgement = judge(catalogue.find(&old)?.1, catalogue.find(&new)?.1).map_err(|error| {
        Error::Usage(format!("`{old}` and `{new}` cannot be compared: {error}"))
    })?;
    if json {
        let said = json!({ "old": old.to_string(), "new": new.to_string(), "class": judgement.class, "changes": judgement.changes });
        print(&format!("{said:#}"));
    } else {
        print(&format!("{old} → {new}: {}", judgement.class));
        said(&judgement);
    }
    Ok(ExitCode::SUCCESS)
}

/// Compares all schemas with those of the last release.
pub(super) fn check(catalogue: &Catalogue, json: bool) -> Result<ExitCode> {
    let Some((release, released)) = catalogue.last_release()? else {
        remark("there is no release to compare with: nothing is wrong");
        return Ok(ExitCode::SUCCESS);
    };
    let findings = schema::check(&released, catalogue);
    let refused = findings.iter().filter(|finding| finding.refused).count();
    if json {
        let found =
            json!({ "release": release.to_string(), "refused": refused, "changes": findings });
        print(&format!("{found:#}"));
    } else {
        for finding in &findings {
            let what = finding.what.as_deref().map(|what| format!(": {what}")).unwrap_or_default();
            let way = if finding.refused { ", needs a new version" } else { "" };
            let (name, version, class) = (&finding.schema, finding.version, finding.class());
            print(&format!("{name}@{version}: {class}{way}{what}"));
            finding.judgement.iter().for_each(said);
        }
        remark(&format!(
            "{} released schemas compared with {release}: {} changed, {refused} of them need a new version",
            released.schemas.values().map(std::collections::BTreeMap::len).sum::<usize>(),
            findings.len()
        ));
    }
    Ok(ExitCode::from(u8::from(refused > 0)))
}

/// Validates a file of events.
pub(super) fn validate(catalogue: &Catalogue, file: &Path, json: bool) -> Result<ExitCode> {
    let text = if file == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).map(|_| text)
    } else {
        std::fs::read_to_string(file)
    };
    let text =
        text.map_err(|error| Error::Usage(format!("cannot read `{}`: {error}", file.display())))?;
    let Validated { lines, invalid, unknown } = schema::validate(catalogue, &text);
    if json {
        let found = json!({ "lines": lines, "invalid": invalid, "unknown": unknown });
        print(&format!("{found:#}"));
    } else {
        for Line { number, schema, path, reason } in invalid.iter().chain(&unknown) {
            let schema = schema.as_deref().map(|schema| format!(" {schema}")).unwrap_or_default();
            let at = if path.is_empty() { String::new() } else { format!(" at `{path}`") };
            print(&format!("line {number}:{schema}{at}: {reason}"));
        }
        let mut wrong: Vec<_> = invalid.iter().map(|line| line.number).collect();
        wrong.dedup();
        let (wrong, unknown) = (wrong.len(), unknown.len());
        remark(&format!(
            "{lines} events: {wrong} not valid, {unknown} of an unknown type or version"
        ));
    }
    Ok(ExitCode::from(u8::from(!invalid.is_empty())))
}

/// Returns the two newest versions of a schema.
fn two_newest(catalogue: &Catalogue, name: &Name) -> Result<(Name, Name)> {
    let (newest, _) = catalogue.find(name)?;
    let versions = catalogue.schemas[&name.name].range(..newest);
    let Some((before, _)) = versions.last() else {
        return Err(Error::Usage(format!(
            "`{name}` has no earlier version than {newest}: name another schema to compare with"
        )));
    };
    let version = |version| Name { name: name.name.clone(), version: Some(version) };
    Ok((version(*before), version(newest)))
}

/// Prints each change, a line a reason.
fn said(judgement: &Judgement) {
    for Change { path, class, reasons } in &judgement.changes {
        let path = if path.is_empty() { "/" } else { path };
        for reason in reasons {
            let side = match reason.side {
                Side::Old => "an old document may ",
                Side::New => "a new document may ",
                Side::Both => "",
            };
            print(&format!("  {path} ({class}, {}): {side}{}", reason.keyword, reason.text));
        }
    }
}
