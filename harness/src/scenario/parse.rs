//! Parses and checks a scenario's text; the error has all problems, by line.

use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;

use serde::Deserialize;
use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue, ValueDeserializer};

use super::check::{self, Found, Place};
use super::diagnostic::{Diagnostic, SpannedDiagnostic};
use super::{
    ConsumerSpec, Expect, Family, LinkSpec, Node, Scenario, Step, StreamSpec, WorkloadSpec,
};
use crate::error::{Error, Result};

/// The names of the subcommands of `cim-harness scenario`.
const RESERVED: [&str; 4] = ["new", "check", "schema", "help"];

/// Parses and checks a scenario; `path` is for messages only. The error is the first problem of
/// [`examine`].
pub fn parse(path: &Path, text: &str) -> Result<Scenario> {
    examine(path, text).map_err(|problems| Error::Usage(Diagnostic::first_of(&problems)))
}

/// Parses and checks a scenario; the error has all problems, in the order of lines. `path` is for
/// messages, and for the scenario's name.
pub fn examine(path: &Path, text: &str) -> Result<Scenario, Vec<Diagnostic>> {
    read(path, text).map_err(|mut problems_at| {
        problems_at.sort_by_key(|problem| problem.span.as_ref().map_or(0, |span| span.start));
        problems_at.dedup();
        problems_at.into_iter().map(|problem| problem.at(path, text)).collect()
    })
}

fn read(path: &Path, text: &str) -> Result<Scenario, Vec<SpannedDiagnostic>> {
    let name = path.file_stem().unwrap_or_default().to_string_lossy();
    if RESERVED.contains(&&*name) {
        let message = format!("a scenario cannot be called `{name}`, which is a command");
        return Err(vec![SpannedDiagnostic { span: None, message }]);
    }
    let (mut table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        return Err(errors.into_iter().map(SpannedDiagnostic::from).collect());
    }
    let mut problems_at = Vec::new();
    tag_steps(table.get_mut(), &mut problems_at);
    parts(table.get_mut(), &mut problems_at);
    let scenario = Scenario::deserialize(toml::de::Deserializer::from(table));
    let scenario = scenario.map_err(|e| problems_at.push(e.into()));
    let Ok(scenario) = scenario else { return Err(problems_at) };
    if problems_at.is_empty() {
        let found = check::check(&scenario);
        problems_at.extend(
            found
                .into_iter()
                .map(|f| SpannedDiagnostic { span: place(text, &f), message: f.message }),
        );
    }
    if problems_at.is_empty() { Ok(scenario) } else { Err(problems_at) }
}

/// Reads every part by itself and takes out the wrong ones, so that one does not hide another.
fn parts(table: &mut DeTable<'_>, problems_at: &mut Vec<SpannedDiagnostic>) {
    each::<LinkSpec>(table, "links", problems_at);
    each::<StreamSpec>(table, "streams", problems_at);
    each::<Family>(table, "families", problems_at);
    each::<ConsumerSpec>(table, "consumers", problems_at);
    each::<WorkloadSpec>(table, "workloads", problems_at);
    each::<Step>(table, "steps", problems_at);
    if let Some(DeValue::Table(nodes)) = table.get_mut("nodes").map(Spanned::get_mut) {
        let all = std::mem::replace(nodes, DeTable::new());
        *nodes = all.into_iter().filter(|(_, node)| reads::<Node>(node, problems_at)).collect();
    }
    if table.get("expect").is_some_and(|expect| !reads::<Expect>(expect, problems_at)) {
        table.remove("expect");
    }
}

fn each<'i, T: Deserialize<'i>>(
    table: &mut DeTable<'i>,
    key: &str,
    problems_at: &mut Vec<SpannedDiagnostic>,
) {
    let Some(DeValue::Array(items)) = table.get_mut(key).map(Spanned::get_mut) else { return };
    let all = std::mem::replace(items, DeArray::new());
    *items = all.into_iter().filter(|item| reads::<T>(item, problems_at)).collect();
}

fn reads<'i, T: Deserialize<'i>>(
    value: &Spanned<DeValue<'i>>,
    problems_at: &mut Vec<SpannedDiagnostic>,
) -> bool {
    let read = T::deserialize(ValueDeserializer::from(value.clone()));
    read.map_err(|e| problems_at.push(e.into())).is_ok()
}

/// Turns `do = "x"` beside the keys of a step into a table named `x`, which serde reads without
/// losing lines and columns; an internally tagged enum would lose them. Steps without `do` are
/// taken out.
fn tag_steps(table: &mut DeTable<'_>, problems_at: &mut Vec<SpannedDiagnostic>) {
    let Some(DeValue::Array(steps)) = table.get_mut("steps").map(Spanned::get_mut) else { return };
    let all = std::mem::replace(steps, DeArray::new());
    *steps = all
        .into_iter()
        .filter_map(|mut step| match tag_step(&mut step, problems_at) {
            Ok(()) => Some(step),
            Err(problem) => {
                problems_at.push(problem);
                None
            }
        })
        .collect();
}

fn tag_step(
    step: &mut Spanned<DeValue<'_>>,
    problems_at: &mut Vec<SpannedDiagnostic>,
) -> Result<(), SpannedDiagnostic> {
    let span = step.span();
    let DeValue::Table(keys) = step.get_mut() else { return Ok(()) };
    let Some((_, kind)) = keys.remove_entry("do") else {
        let message = "a step without `do`: name its kind".into();
        return Err(SpannedDiagnostic { span: Some(span), message });
    };
    let kind_span = kind.span();
    let DeValue::String(kind) = kind.into_inner() else {
        let message = "`do` is not text: name a kind of step".into();
        return Err(SpannedDiagnostic { span: Some(kind_span), message });
    };
    tag_steps(keys, problems_at);
    let inner = std::mem::replace(keys, DeTable::new());
    let kind: Cow<'_, str> = kind;
    keys.insert(Spanned::new(kind_span, kind), Spanned::new(span, DeValue::Table(inner)));
    Ok(())
}

/// Returns the range of a contradiction: the offending text within its table, else the table.
fn place(text: &str, found: &Found) -> Option<Range<usize>> {
    let table = table_at(text, &found.place);
    let within = table.clone().unwrap_or(0..text.len());
    let mut start = within.start;
    for line in text[within].split_inclusive('\n') {
        if !line.trim_start().starts_with('#')
            && let Some(at) = line.find(&found.needle)
        {
            return Some(start + at..start + at + found.needle.len());
        }
        start += line.len();
    }
    table.map(|table| table.start..table.start)
}

/// Returns the range of a table; one with a header ends at the next header.
fn table_at(text: &str, place: &Place) -> Option<Range<usize>> {
    let root = DeTable::parse(text).ok()?;
    let (mut table, mut span) = (root.get_ref(), None);
    for (key, at) in place {
        let item = table.get(*key)?.get_ref().as_array()?.get(*at)?;
        span = Some(item.span());
        table = item.get_ref().as_table()?;
    }
    let span = span?;
    if !text[span.start..].starts_with('[') {
        return Some(span);
    }
    let end = text[span.start..].find("\n[").map_or(text.len(), |at| span.start + at + 1);
    Some(span.start..end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

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
            @r#"`x.toml`:16:6: key `do`: unknown variant `lead`, expected one of `load`, `await-load`, `await-tier`, `await-replicas`, `await-takeover`, `expect-no-acks`, `resume-load`, `finish-load`, `stop-load`, `kill`, `stop`, `crash-at`, `age`, `start`, `pause`, `continue`, `power-cut`, `destroy`, `replace`, `restore`, `drain`, `judge`, `replay`, `read-objects`, `link`, `s3-faults`, `damage`, `verify`, `fill-disk`, `free-disk`, `step-clock`, `lose-member`, `purge-stream`, `delete-stream`, `make-stream`, `update-stream`, `restore-copy`, `damage-stream`, `repeat`"#
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("do = \"load\"", "")),
            @r#"`x.toml`:15:1: key `steps`: a step without `do`: name its kind"#
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

    fn all(change: impl Fn(&str) -> String) -> Vec<String> {
        let problems = examine(Path::new("x.toml"), &change(GOOD)).unwrap_err();
        problems.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn one_mistake_does_not_hide_another() {
        let problems = all(|t| {
            let t =
                t.replace("role = \"nas\"", "role = \"nose\"").replace("events = 10", "event = 10");
            let t = t.replace("do = \"load\"", "").replace("\"70%\"", "\"170%\"");
            t.replace("title = \"t\"", "titel = \"t\"").replace("times = 2", "times = \"two\"")
        });
        insta::assert_snapshot!(problems.join("\n"), @r#"
        `x.toml`:2:1: unknown field `titel`, expected one of `title`, `description`, `requires`, `nodes`, `links`, `storage-manager`, `streams`, `families`, `consumers`, `workloads`, `steps`, `expect`
        `x.toml`:6:8: key `role`: unknown variant `nose`, expected one of `host`, `leaf`, `nas`, `wasabi`, `standby`, `operator`
        `x.toml`:14:1: unknown field `event`, expected one of `name`, `stream`, `subject`, `subjects`, `publishers`, `events`, `rate`, `size`, `headers-every`, `deletes`, `window`, `republish`, `object-chunks`, `ack-within`
        `x.toml`:15:1: key `steps`: a step without `do`: name its kind
        `x.toml`:19:13: key `published`: `170%` is not a percentage: write it like `30%`
        `x.toml`:22:9: key `times`: invalid type: string "two", expected u32
        "#);
        let problems = all(|t| {
            let t = t.replace("stream = \"EVENTS\"", "stream = \"EVENT\"").replace("\"t\"", "\"\"");
            t.replace("node = \"host\"", "node = \"hose\"").replace("everything", "recovery")
        });
        insta::assert_snapshot!(problems.join("\n"), @r#"
        `x.toml`:2:1: `title` must be one line that describes the scenario
        `x.toml`:12:1: key `stream`: stream `EVENT` is not one of `streams`
        `x.toml`:23:32: key `steps`: node `hose` is not one of `nodes`
        `x.toml`:25:1: key `do`: the last step is not `judge` with `what = "everything"`: nothing would be proven
        "#);
        let problems = all(|t| format!("{t}\n[[steps]\ndo = load\n[x"));
        assert!(problems.len() > 1 && problems[0].starts_with("`x.toml`:28:"), "{problems:?}");
    }

    #[test]
    fn a_contradiction_is_shown_where_it_is_and_not_where_the_same_text_is_right() {
        let more = "[[steps]]\ndo = \"start\"\nnode = \"nas\"\nprogram = \"s3\"\n# program = \"s3\"\n\
                    [[steps]]\ndo = \"start\"\nnode = \"host\"\nprogram = \"s3\"\n";
        let text =
            GOOD.replace("[[steps]]\ndo = \"load\"", &format!("{more}[[steps]]\ndo = \"load\""));
        let problems = examine(Path::new("x.toml"), &text).unwrap_err();
        let lines: Vec<_> = text.lines().collect();
        let [problem] = &problems[..] else { panic!("{problems:?}") };
        assert_eq!(lines[problem.line - 2], "node = \"host\"");
        assert_eq!(problem.key.as_deref(), Some("program"));
    }

    #[test]
    fn names_that_are_commands_are_refused() {
        let problems = examine(Path::new("dir/check.toml"), GOOD).unwrap_err();
        insta::assert_snapshot!(
            problems[0],
            @"`dir/check.toml`: a scenario cannot be called `check`, which is a command"
        );
    }

    /// Returns a file after random edits.
    fn mangled() -> impl Strategy<Value = String> {
        let texts = prop::sample::select(fixtures());
        let edit = (any::<prop::sample::Index>(), 0..40_usize, "\\PC{0,3}|\n|\"|\\[\\[|=|é");
        (texts, prop::collection::vec(edit, 1..4)).prop_map(|(text, edits)| {
            let mut letters: Vec<char> = text.chars().collect();
            for (at, length, new) in edits {
                let at = at.index(letters.len() + 1);
                let end = (at + length).min(letters.len());
                letters.splice(at..end, new.chars());
            }
            letters.into_iter().collect()
        })
    }

    fn fixtures() -> Vec<String> {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/scenarios");
        let paths = crate::scenario::files(&dir).unwrap();
        paths.into_iter().map(|path| std::fs::read_to_string(path).unwrap()).collect()
    }

    proptest! {
        /// Parses any text: it is accepted, or refused with places within it.
        #[test]
        fn any_text_is_taken_or_refused(text in prop_oneof![4 => mangled(), 1 => ".{0,200}"]) {
            let lines: Vec<_> = text.lines().collect();
            for problem in examine(Path::new("x.toml"), &text).err().into_iter().flatten() {
                prop_assert!(problem.line <= lines.len() + 1, "{problem}");
                let line = lines.get(problem.line.wrapping_sub(1)).copied().unwrap_or_default();
                prop_assert!(problem.column <= line.chars().count() + 2, "{problem}");
                prop_assert!(!problem.message.is_empty() && !problem.message.contains('\n'), "{problem:?}");
            }
        }
    }

    #[test]
    fn faults_that_make_no_sense_are_refused() {
        let with = |step: &str| {
            let end = "[[steps]]\ndo = \"judge\"\nwhat = \"everything\"";
            refused(|t| t.replace(end, &format!("[[steps]]\n{step}\n{end}")))
        };
        insta::assert_snapshot!(
            with("do = \"link\"\nfrom = \"host\"\nto = \"nas\"\nconditions = { cut = true, delay = \"1ms\" }"),
            @r#"`x.toml`:28:1: key `conditions`: a link on which nothing arrives has no other conditions"#
        );
        insta::assert_snapshot!(
            with("do = \"fill-disk\"\nnode = \"nas\""),
            @r#"`x.toml`:25:11: key `do`: node `nas` has no `disk`: give it a size, such as `disk = "64MiB"`"#
        );
        insta::assert_snapshot!(
            with("do = \"s3-faults\"\nnode = \"nas\"\nrules = [{ fault = \"full\" }]"),
            @r#"`x.toml`:25:7: key `do`: `s3-faults` of `nas`, which is no Wasabi: break its link instead"#
        );
        insta::assert_snapshot!(
            with("do = \"damage\"\ntier = \"nas\"\npart = \"segment\"\nharm = \"flip\""),
            @r#"`x.toml`:25:7: key `do`: `damage` of nas that neither `verify` nor a refused `restore` follows proves nothing"#
        );
        insta::assert_snapshot!(
            with("do = \"restore\"\nnode = \"host\"\nrefused = true"),
            @r#"`x.toml`:27:1: key `refused`: nothing damages nas before `refused = true`"#
        );
        let wasabi = |rule: &str| {
            let nodes = "[nodes.nas]";
            let step = format!("[[steps]]\ndo = \"s3-faults\"\nnode = \"w\"\nrules = [{rule}]\n");
            refused(|t| {
                let t = t.replace(nodes, &format!("[nodes.w]\nrole = \"wasabi\"\n{nodes}"));
                t.replace("[[steps]]\ndo = \"load\"", &format!("{step}[[steps]]\ndo = \"load\""))
            })
        };
        insta::assert_snapshot!(
            wasabi("{ fault = \"full\", seconds = 1 }"),
            @r#"`x.toml`:20:20: key `rules`: `full` has no use for `seconds`"#
        );
        insta::assert_snapshot!(
            wasabi("{ fault = \"meteor\" }"),
            @r#"`x.toml`:20:20: key `rules`: unknown variant `meteor`, expected one of `slow_down`, `internal_error`, `unavailable`, `delay`, `timeout`, `cut`, `torn_upload`, `torn_download`, `lost_response`, `read_only`, `full`, `bit_flip`"#
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
