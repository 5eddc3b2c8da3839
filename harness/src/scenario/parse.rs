//! From text to a checked [`Scenario`], with errors that name file, line and key.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize as _;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::{Scenario, check};
use crate::error::{Error, Result};

/// Parses and checks a scenario; `path` is for messages only.
pub fn parse(path: &Path, text: &str) -> Result<Scenario> {
    let wrong = |problem: Problem| Error::Usage(problem.in_file(path, text));
    let mut table = DeTable::parse(text).map_err(|e| wrong(Problem::from(e)))?;
    tag_steps(table.get_mut()).map_err(wrong)?;
    let scenario = Scenario::deserialize(toml::de::Deserializer::from(table));
    let scenario = scenario.map_err(|e| wrong(Problem::from(e)))?;
    check::check(&scenario).map_err(|found| {
        let span = found.find(text);
        wrong(Problem { span, message: found.message })
    })?;
    Ok(scenario)
}

struct Problem {
    span: Option<Range<usize>>,
    message: String,
}

impl From<toml::de::Error> for Problem {
    fn from(error: toml::de::Error) -> Self {
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        Self { span: error.span(), message }
    }
}

impl Problem {
    /// `file:line:column: message`, and the line's key where the message does not name one.
    fn in_file(&self, path: &Path, text: &str) -> String {
        let file = path.display();
        let Some(span) = &self.span else { return format!("`{file}`: {}", self.message) };
        let before = &text[..span.start.min(text.len())];
        let line = before.matches('\n').count();
        let column = before.len() - before.rfind('\n').map_or(0, |at| at + 1) + 1;
        let key = text.lines().nth(line).and_then(key_of_line);
        let key = key.filter(|key| !self.message.contains(&format!("`{key}`")));
        let at_key = key.map(|key| format!("key `{key}`: ")).unwrap_or_default();
        format!("`{file}`:{}:{column}: {at_key}{}", line + 1, self.message)
    }
}

fn key_of_line(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.starts_with('[') {
        return Some(line.trim_matches(['[', ']']));
    }
    let key = line.split_once('=')?.0.trim();
    (!key.is_empty() && !key.contains(['{', '"', ','])).then_some(key)
}

/// Turns `do = "x"` beside the keys of a step into a table named `x`, which serde reads without
/// losing where everything stands; an internally tagged enum would lose it.
fn tag_steps(table: &mut DeTable<'_>) -> Result<(), Problem> {
    let Some(steps) = table.get_mut("steps") else { return Ok(()) };
    let DeValue::Array(steps) = steps.get_mut() else { return Ok(()) };
    for step in steps.iter_mut() {
        let span = step.span();
        let DeValue::Table(keys) = step.get_mut() else { continue };
        let Some((_, kind)) = keys.remove_entry("do") else {
            let message = "a step without `do`: say what is to be done".into();
            return Err(Problem { span: Some(span), message });
        };
        let kind_span = kind.span();
        let DeValue::String(kind) = kind.into_inner() else {
            let message = "`do` is not text: name a kind of step".into();
            return Err(Problem { span: Some(kind_span), message });
        };
        tag_steps(keys)?;
        let inner = std::mem::replace(keys, DeTable::new());
        let kind: Cow<'_, str> = kind;
        keys.insert(Spanned::new(kind_span, kind), Spanned::new(span, DeValue::Table(inner)));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
title = "t"
[nodes.host]
role = "host"
[nodes.nas]
role = "nas"
[[streams]]
name = "EVENTS"
subjects = ["lab.>"]
[[workloads]]
name = "load"
stream = "EVENTS"
subject = "lab.events"
events = 10
[[steps]]
do = "load"
[[steps]]
do = "await-load"
published = ["30%", "70%"]
[[steps]]
do = "repeat"
times = 2
steps = [{ do = "kill", node = "host", program = "nats" }]
[[steps]]
do = "judge"
what = "everything"
"#;

    fn refused(change: impl Fn(&str) -> String) -> String {
        parse(Path::new("x.toml"), &change(GOOD)).unwrap_err().to_string()
    }

    #[test]
    fn a_good_file_is_taken() {
        let scenario = parse(Path::new("x.toml"), GOOD).unwrap();
        assert_eq!(scenario.steps.len(), 4);
        assert_eq!(scenario.workloads[0].publishers, 4);
    }

    #[test]
    fn errors_name_file_line_and_key() {
        insta::assert_snapshot!(
            refused(|t| t.replace("times = 2", "tines = 2")),
            @r#"`x.toml`:22:1: unknown field `tines`, expected `times` or `steps`"#
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("\"70%\"", "\"170%\"")),
            @r#"`x.toml`:19:13: key `published`: `170%` is not a percentage: write it like `30%`"#
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("events = 10", "events = \"ten\"")),
            @r#"`x.toml`:14:10: key `events`: invalid type: string "ten", expected u64"#
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("do = \"load\"", "do = \"lead\"")),
            @r#"`x.toml`:16:6: key `do`: unknown variant `lead`, expected one of `load`, `await-load`, `await-tier`, `resume-load`, `finish-load`, `kill`, `stop`, `start`, `pause`, `continue`, `power-cut`, `destroy`, `replace`, `restore`, `drain`, `judge`, `replay`, `link`, `repeat`"#
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("do = \"load\"", "")),
            @r#"`x.toml`:15:1: key `steps`: a step without `do`: say what is to be done"#
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("title = \"t\"", "title = ")),
            @r#"`x.toml`:2:9: key `title`: string values must be quoted, expected literal string"#
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("program = \"nats\"", "program = \"s3\"")),
            @r#"`x.toml`:23:40: key `steps`: no program `s3` runs on node `host`"#
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("node = \"host\"", "node = \"hose\"")),
            @r#"`x.toml`:23:32: key `steps`: node `hose` is not one of `nodes`"#
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("stream = \"EVENTS\"", "stream = \"EVENT\"")),
            @r#"`x.toml`:12:1: key `stream`: stream `EVENT` is not one of `streams`"#
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("what = \"everything\"", "what = \"recovery\"")),
            @r#"`x.toml`:25:1: key `do`: the last step is not `judge` with `what = "everything"`: nothing would be proven"#
        );
    }

    #[test]
    fn the_example_in_the_documentation_is_taken() {
        let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/scenarios.md");
        let docs = std::fs::read_to_string(docs).unwrap();
        let (_, example) = docs.split_once("## An example\n```toml\n").unwrap();
        let (example, _) = example.split_once("```").unwrap();
        parse(Path::new("docs/scenarios.md"), example).unwrap();
    }
}
