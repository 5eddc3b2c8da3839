//! From a document to stages: expressions, durations, and the keys that each kind has.

use super::document::{self, Document};
use super::lowering::{Lowering, nearest, opened, path};
use super::place::Step as At;
use super::stage::{Input, Shape, Step};
use crate::expression::Expression;
use crate::value;

/// The only format of documents.
const FORMAT: u32 = 1;
/// Windows that one event may be in.
const MOST_WINDOWS: i64 = 1_000;

/// The keys of each kind beside those of every stage, and whether they are needed.
const KINDS: [(&str, &[(&str, bool)]); 6] = [
    ("map", &[("expression", true), ("parallel", false)]),
    ("filter", &[("expression", true), ("parallel", false)]),
    ("branch", &[("cases", true), ("parallel", false)]),
    ("enrich", &[("expression", true), ("lookup", true), ("table", true), ("parallel", false)]),
    (
        "aggregate",
        &[
            ("expression", true),
            ("window", true),
            ("slide", false),
            ("key", false),
            ("value", false),
        ],
    ),
    ("join", &[("expression", true), ("left", true), ("right", true), ("within", true)]),
];

/// A stage whose sources are still names.
pub(super) struct Draft {
    pub(super) name: String,
    pub(super) from: Option<Vec<String>>,
    pub(super) takes: Option<Shape>,
    pub(super) gives: Option<Shape>,
    pub(super) parallel: usize,
    pub(super) step: Step,
    /// The names of the ways out: `""`, the cases of a branch, `late`.
    pub(super) ways: Vec<String>,
}

/// An output whose sources are still names.
pub(super) struct Exit {
    pub(super) name: String,
    pub(super) from: Option<Vec<String>>,
    pub(super) subject: Option<String>,
}

/// A definition whose sources are still names.
pub(super) struct Drafts {
    pub(super) pipeline: String,
    pub(super) input: Input,
    /// By the index in the document.
    pub(super) stages: Vec<Draft>,
    pub(super) outputs: Vec<Exit>,
}

pub(super) fn lower(document: Document, at: &mut Lowering<'_>) -> Option<Drafts> {
    at.name("pipeline", &path(&["pipeline"]), &document.pipeline);
    if document.format != FORMAT {
        at.wrong("format", &path(&["format"]), format!("this program reads format {FORMAT}"));
    }
    let input = input(document.input, at);
    let stages: Vec<_> = document
        .stage
        .into_iter()
        .enumerate()
        .map(|(index, stage)| draft(index, stage, at))
        .collect();
    let outputs = document.output.into_iter().enumerate().map(|(index, output)| {
        at.name("output.name", &path(&["output", &index.to_string(), "name"]), &output.name);
        let subject = output.subject;
        if subject.as_deref().is_some_and(|subject| !publishable(subject)) {
            let key = format!("output.{}.subject", output.name);
            let path = path(&["output", &index.to_string(), "subject"]);
            at.wrong(
                &key,
                &path,
                "no subject to publish to: words between single dots, without `*`, `>` and blanks",
            );
        }
        Exit { name: output.name, from: output.from.map(document::From::names), subject }
    });
    let outputs = outputs.collect();
    let stages = stages.into_iter().collect::<Option<Vec<_>>>()?;
    let timed = |stage: &&Draft| matches!(stage.step, Step::Aggregate { .. } | Step::Join { .. });
    if let (Some(stage), Some(input)) = (stages.iter().find(timed), &input)
        && input.time.is_none()
    {
        let message =
            format!("`{}` goes by the time of events: add `time = \"…\"` to `[input]`", stage.name);
        at.wrong("input.time", &path(&["input"]), message);
    }
    Some(Drafts { pipeline: document.pipeline, input: input?, stages, outputs })
}

fn publishable(subject: &str) -> bool {
    subject.split('.').all(|word| {
        !word.is_empty() && !word.contains(|c: char| c.is_whitespace() || c == '*' || c == '>')
    })
}

fn input(input: document::Input, at: &mut Lowering<'_>) -> Option<Input> {
    let mut of = |name: &str, text: Option<&String>| {
        text.map(|text| at.expression(&format!("input.{name}"), &path(&["input", name]), text, &[]))
    };
    let id = of("id", input.id.as_ref());
    let time = of("time", input.time.as_ref());
    let key = of("key", input.key.as_ref());
    let lateness = input.lateness.as_ref();
    let lateness = lateness
        .map(|text| at.milliseconds("input.lateness", &path(&["input", "lateness"]), text, 0));
    let gives = at.shape("input.gives", &path(&["input", "gives"]), input.gives.as_deref());
    Some(Input {
        stream: input.stream,
        subject: input.subject,
        id: opened(id)?,
        time: opened(time)?,
        key: opened(key)?,
        lateness: opened(lateness)?.unwrap_or(0),
        gives: gives.unwrap_or(Shape::Any),
    })
}

fn draft(index: usize, stage: document::Stage, at: &mut Lowering<'_>) -> Option<Draft> {
    let index = index.to_string();
    let here = |name: &str| path(&["stage", &index, name]);
    let key = |name: &str| format!("stage.{}.{name}", stage.name);
    at.name("stage.name", &here("name"), &stage.name);
    let Some((_, keys)) = KINDS.iter().find(|(kind, _)| *kind == stage.kind) else {
        let near = nearest(&stage.kind, KINDS.iter().map(|(kind, _)| *kind));
        let all = KINDS.map(|(kind, _)| kind).join(", ");
        at.wrong(
            &key("kind"),
            &here("kind"),
            format!("`{}` is no kind of stage{near}: there are {all}", stage.kind),
        );
        return None;
    };
    let complete = complete(&stage, keys, &here, &key, at);
    let takes = at.shape(&key("takes"), &here("takes"), stage.takes.as_deref());
    let gives = at.shape(&key("gives"), &here("gives"), stage.gives.as_deref());
    let parallel = stage.parallel.unwrap_or(1);
    if !(1..=64).contains(&parallel) {
        at.wrong(&key("parallel"), &here("parallel"), "the number of threads is 1 to 64");
    }
    let variables: &[&'static str] = if stage.kind == "enrich" { &["$entry"] } else { &[] };
    let mut compiled = |name: &str, text: &Option<String>, variables: &[&'static str]| {
        text.as_ref().map(|text| at.expression(&key(name), &here(name), text, variables))
    };
    let expression = compiled("expression", &stage.expression, variables);
    let lookup = compiled("lookup", &stage.lookup, &[]);
    let by = compiled("key", &stage.key, &[]);
    let part = compiled("value", &stage.value, &[]);
    let left = compiled("left", &stage.left, &[]);
    let right = compiled("right", &stage.right, &[]);
    let mut long = |name: &str, text: &Option<String>, least| {
        text.as_ref().map(|text| at.milliseconds(&key(name), &here(name), text, least))
    };
    let window = long("window", &stage.window, 1);
    let slide = long("slide", &stage.slide, 1);
    let within = long("within", &stage.within, 0);
    if !complete {
        return None;
    }
    let mut ways = vec![String::new()];
    let step = match stage.kind.as_str() {
        "map" => Step::Map(expression??),
        "filter" => Step::Filter(expression??),
        "branch" => {
            let (cases, names) = cases(&stage, &index, at);
            ways = names;
            Step::Branch(cases?)
        }
        "enrich" => {
            let table = stage.table.iter().flatten();
            let table = table.map(|(key, entry)| (key.clone(), value::of(entry))).collect();
            Step::Enrich { lookup: lookup??, table, expression: expression?? }
        }
        "aggregate" => {
            ways.push("late".into());
            let window = window??;
            let slide = opened(slide)?.unwrap_or(window);
            if slide > window || window % slide != 0 || window / slide > MOST_WINDOWS {
                at.wrong(
                    &key("slide"),
                    &here("slide"),
                    format!("a window is a multiple of its slide, at most {MOST_WINDOWS} of them"),
                );
                return None;
            }
            Step::Aggregate {
                key: opened(by)?,
                value: opened(part)?,
                window,
                slide,
                expression: expression??,
            }
        }
        _ => {
            ways.push("late".into());
            Step::Join { left: left??, right: right??, within: within??, expression: expression?? }
        }
    };
    let from = stage.from.map(document::From::names);
    Some(Draft { name: stage.name, from, takes, gives, parallel, step, ways })
}

/// Notes keys that are missing and keys that this kind has not. Reports whether it has all that it needs.
fn complete(
    stage: &document::Stage,
    keys: &[(&str, bool)],
    here: &impl Fn(&str) -> Vec<At>,
    key: &impl Fn(&str) -> String,
    at: &mut Lowering<'_>,
) -> bool {
    let given = [
        ("expression", stage.expression.is_some()),
        ("cases", stage.cases.as_ref().is_some_and(|cases| !cases.is_empty())),
        ("lookup", stage.lookup.is_some()),
        ("table", stage.table.is_some()),
        ("key", stage.key.is_some()),
        ("value", stage.value.is_some()),
        ("window", stage.window.is_some()),
        ("slide", stage.slide.is_some()),
        ("left", stage.left.is_some()),
        ("right", stage.right.is_some()),
        ("within", stage.within.is_some()),
        ("parallel", stage.parallel.is_some()),
    ];
    let mut complete = true;
    for (name, given) in given {
        let known = keys.iter().find(|(key, _)| *key == name);
        if given && known.is_none() {
            at.wrong(
                &key(name),
                &here(name),
                format!("a stage of kind `{}` has no `{name}`: remove it", stage.kind),
            );
            complete = false;
        } else if !given && known.is_some_and(|(_, needed)| *needed) {
            at.wrong(
                &key(name),
                &here("kind"),
                format!("a stage of kind `{}` needs `{name}`", stage.kind),
            );
            complete = false;
        }
    }
    complete
}

/// Returns the cases of a branch and the names of its ways.
fn cases(
    stage: &document::Stage,
    index: &str,
    at: &mut Lowering<'_>,
) -> (Option<Vec<Expression>>, Vec<String>) {
    let key = |name: &str| format!("stage.{}.{name}", stage.name);
    let mut ways = Vec::new();
    let mut cases = Vec::new();
    for (name, text) in stage.cases.iter().flatten() {
        let path = path(&["stage", index, "cases", name]);
        at.name(&key("cases"), &path, name);
        cases.push(at.expression(&key(&format!("cases.{name}")), &path, text, &[]));
        ways.push(name.clone());
    }
    if ways.iter().any(|way| way == "else") {
        at.wrong(
            &key("cases.else"),
            &path(&["stage", index, "cases", "else"]),
            "`else` is the way of events for which no case holds: name the case otherwise",
        );
    }
    ways.push("else".into());
    (cases.into_iter().collect(), ways)
}
