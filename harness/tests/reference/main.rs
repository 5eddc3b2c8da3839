//! docs/scenarios.md, docs/events.md, docs/json.md, fixtures/schemas/scenario.json and a table of docs/architecture.md
//! match the code.
//!
//! `CIM_UPDATE_FIXTURES=1` writes the first two and the schema.

mod json;
mod render;
mod way;

use std::path::{Path, PathBuf};

use cim_harness::scenario::{self, Scenario};
use render::Reference;
use serde_json::Value;

const ACCEPT: &str = "CIM_UPDATE_FIXTURES=1 cargo test -p cim-harness --test reference";

fn project(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(path)
}

/// Compares a file with the text wanted, or writes it when that was asked for.
fn is_or_becomes(path: &str, wanted: &str) {
    let file = project(path);
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    if found == wanted {
        return;
    }
    if std::env::var_os("CIM_UPDATE_FIXTURES").is_some_and(|value| value == "1") {
        std::fs::write(file, wanted).unwrap();
        return;
    }
    let line = found.lines().zip(wanted.lines()).position(|(a, b)| a != b);
    let line = line.unwrap_or_else(|| found.lines().count().min(wanted.lines().count()));
    panic!(
        "`{path}` is not what the code says, from line {} on: it has `{}`, the code says `{}`\n\
         write it: {ACCEPT}",
        line + 1,
        found.lines().nth(line).unwrap_or(""),
        wanted.lines().nth(line).unwrap_or(""),
    );
}

/// Puts generated text between a block's markers.
fn splice(page: &str, block: &str, text: &str) -> String {
    let begin = format!("<!-- generated: {block} -->\n");
    let (before, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) =
        rest.split_once("<!-- end -->").unwrap_or_else(|| panic!("{block} has no end"));
    format!("{before}{begin}{text}<!-- end -->{after}")
}

#[test]
fn the_reference_is_what_the_types_and_the_files_say() {
    let page = std::fs::read_to_string(project("docs/scenarios.md")).unwrap();
    let schema = scenario::schema();
    let reference = Reference::new(&schema);
    let listed = scenario::list(&project("fixtures/scenarios")).unwrap();
    let titles = listed.iter().map(|l| {
        let scenario = l.scenario.as_ref().unwrap_or_else(|e| panic!("{}", e.chain()));
        (l.name.as_str(), scenario.title.as_str())
    });
    let blocks = [
        ("scenarios", render::scenarios(titles)),
        ("quantities", reference.quantities()),
        ("top level", reference.top_level()),
        ("tables", reference.tables()),
        ("words", reference.words()),
        ("steps", reference.steps()),
    ];
    let count = page.matches("<!-- generated: ").count();
    assert_eq!(count, blocks.len(), "every generated part of docs/scenarios.md has its text");
    let wanted = blocks.iter().fold(page, |page, (block, text)| splice(&page, block, text));
    is_or_becomes("docs/scenarios.md", &wanted);
}

#[test]
fn the_committed_schema_is_that_of_the_types() {
    is_or_becomes("fixtures/schemas/scenario.json", &format!("{:#}\n", scenario::schema()));
}

/// Returns the schema's reason for refusing a scenario, if it does.
fn refusal(text: &str) -> Option<String> {
    let mut compiler = boon::Compiler::new();
    compiler.add_resource("urn:scenario", scenario::schema()).unwrap();
    let mut compiled = boon::Schemas::new();
    let index = compiler.compile("urn:scenario", &mut compiled).unwrap();
    let document: toml::Value = toml::from_str(text).unwrap();
    let document: Value = serde_json::to_value(document).unwrap();
    compiled.validate(&document, index).err().map(|e| format!("{e:#}"))
}

#[test]
fn every_scenario_fits_the_schema() {
    for l in scenario::list(&project("fixtures/scenarios")).unwrap() {
        let text = std::fs::read_to_string(&l.path).unwrap();
        assert_eq!(refusal(&text), None, "{}", l.name);
    }
}

#[test]
fn what_the_harness_refuses_an_editor_marks_too() {
    let path = project("fixtures/scenarios/disaster-recovery.toml");
    let good = std::fs::read_to_string(path).unwrap();
    for (from, to) in [
        ("deletes = 40", "delete = 40"),
        ("do = \"await-load\"", "do = \"await-lead\""),
        ("do = \"destroy\"\nnode = \"host\"", "do = \"destroy\""),
        ("what = \"recovery\"", "what = \"recover\""),
        ("rate = \"10000/s\"", "rate = \"fast\""),
        ("published = [\"25%\", \"75%\"]", "published = [\"25%\", \"175%\"]"),
        ("within = \"60s\"", "within = \"60 parsecs\""),
        ("size = \"1KiB\"", "size = \"-1KiB\""),
        ("title = ", "titel = "),
        ("do = \"resume-load\"", "do = \"resume-load\"\nnode = \"host\""),
        ("role = \"nas\"", "role = \"nose\""),
    ] {
        let bad = good.replacen(from, to, 1);
        assert_ne!(bad, good, "{from}");
        assert!(refusal(&bad).is_some(), "the schema takes `{to}`");
        let parsed: Result<Scenario, _> = scenario::parse(Path::new("bad.toml"), &bad);
        assert!(parsed.is_err(), "the harness takes `{to}`");
    }
}

#[test]
fn the_catalogue_of_events_is_what_the_schemas_say() {
    let command = std::process::Command::new(env!("CARGO_BIN_EXE_cim-harness"))
        .args(["schema", "docs"])
        .current_dir(project(""))
        .output()
        .unwrap();
    assert!(command.status.success(), "{command:?}");
    is_or_becomes("docs/events.md", &String::from_utf8(command.stdout).unwrap());
}
