//! A user's own scenarios: written, checked, found and run in a folder of the user's own.

use std::path::Path;
use std::process::Output;

use crate::common::{harness, scenarios, stderr, stdout};
use serde_json::Value;

fn scenario(args: &[&str], dir: &Path) -> Output {
    let mut command = harness(&["scenario"]);
    command.args(args).arg("--dir").arg(dir).output().unwrap()
}

#[test]
fn a_new_scenario_is_well_and_found_and_never_overwritten() {
    let dir = tempfile::tempdir().unwrap();
    let mine = dir.path().join("mine");
    let output = scenario(&["new", "my-fear"], &mine);
    assert!(output.status.success(), "{}", stderr(&output));
    let path = mine.join("my-fear.toml");
    assert_eq!(stdout(&output).trim(), path.to_str().unwrap());
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("{name}") && !text.contains("{steps}"), "{text}");
    let kinds = cim_harness::scenario::schema();
    for kind in kinds["definitions"]["Step"]["oneOf"].as_array().unwrap() {
        let kind = kind["properties"]["do"]["const"].as_str().unwrap();
        assert!(text.contains(&format!("#   {kind} ")), "`{kind}` is explained");
    }
    let checked = scenario(&["check"], &mine);
    assert!(checked.status.success(), "{}", stderr(&checked));
    assert_eq!(stderr(&checked).trim(), "1 scenario: nothing is wrong");
    let listed = scenario(&["--list"], &mine);
    assert!(stdout(&listed).starts_with("my-fear "), "{}", stdout(&listed));

    let again = scenario(&["new", "my-fear"], &mine);
    assert_eq!(again.status.code(), Some(2));
    assert!(stderr(&again).contains("exists already: take another name"), "{}", stderr(&again));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
    for name in ["check", "My-Fear", "../out"] {
        let refused = scenario(&["new", name], &mine);
        assert_eq!(refused.status.code(), Some(2), "{name}");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

#[test]
fn a_copy_begins_with_what_there_is() {
    let dir = tempfile::tempdir().unwrap();
    let output = scenario(&["new", "mine", "--from", "lost-twice"], dir.path());
    assert!(output.status.success(), "{}", stderr(&output));
    let copy = std::fs::read_to_string(dir.path().join("mine.toml")).unwrap();
    let original = std::fs::read_to_string(scenarios().join("lost-twice.toml")).unwrap();
    let (_, body) = original.split_once('\n').unwrap();
    assert!(copy.ends_with(body), "{copy}");
    assert_eq!(copy.matches("#:schema").count(), 1);
    let unknown = scenario(&["new", "other", "--from", "lost-thrice"], dir.path());
    assert_eq!(unknown.status.code(), Some(2));
    assert!(!dir.path().join("other.toml").exists());
}

#[test]
fn check_says_all_that_is_wrong_in_all_files() {
    let dir = tempfile::tempdir().unwrap();
    let good = std::fs::read_to_string(scenarios().join("tiering.toml")).unwrap();
    let bad = good.replace("role = \"nas\"", "role = \"nose\"").replace("rate = ", "rats = ");
    std::fs::write(dir.path().join("a.toml"), bad).unwrap();
    std::fs::write(dir.path().join("b.toml"), good.replace("[nodes.nas]", "[nodes.nas")).unwrap();
    std::fs::write(dir.path().join("c.toml"), &good).unwrap();
    std::fs::write(dir.path().join("new.toml"), &good).unwrap();
    let output = scenario(&["check"], dir.path());
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(stdout(&output), "");
    let said = stderr(&output);
    let last = said.lines().last().unwrap();
    assert!(
        last.starts_with("4 scenarios: ") && last.ends_with(" problems in 3 of them"),
        "{said}"
    );
    assert!(said.contains("key `role`: unknown variant `nose`"), "{said}");
    assert!(said.contains("unknown field `rats`"), "{said}");
    assert!(said.contains("a scenario cannot be called `new`"), "{said}");

    let output = scenario(&["check", "--json"], dir.path());
    assert_eq!(output.status.code(), Some(2));
    let found: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(found["checked"], 4);
    let role = &found["files"][0]["problems"][0];
    let line = good.lines().position(|line| line == "role = \"nas\"").unwrap() + 1;
    assert_eq!((&role["line"], &role["column"]), (&line.into(), &8.into()), "{role}");
    assert_eq!(role["key"], "role");
    assert_eq!(found["files"][2]["problems"], Value::Array(Vec::new()));

    let output = scenario(&["check", "c", "no-such"], dir.path());
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("scenario `no-such` is not in `"), "{}", stderr(&output));
}

#[test]
fn every_scenario_of_the_project_is_well() {
    let output = harness(&["scenario", "check"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
}

#[test]
fn a_new_scenario_runs_green_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let output = scenario(&["new", "mine"], dir.path());
    assert!(output.status.success(), "{}", stderr(&output));
    let runs = dir.path().join("runs");
    let runs = runs.to_str().unwrap();
    let run = scenario(&["mine", "--json", "--seed", "21", "--runs-dir", runs], dir.path());
    assert!(run.status.success(), "{}\n{}", stderr(&run), stdout(&run));
    let report: Value = serde_json::from_str(&stdout(&run)).unwrap();
    assert_eq!(report["verdict"], "passed");
    assert_eq!(report["scenario"], "mine");
}
