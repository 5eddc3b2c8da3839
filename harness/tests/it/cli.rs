//! The command line: an error is one line, with the way out and the right status.

use std::process::Output;

use crate::common::{harness, scenarios, stderr, stdout};

fn failed(output: &Output, status: i32) -> String {
    let text = stderr(output);
    assert_eq!(output.status.code(), Some(status), "{text}");
    assert_eq!(stdout(output), "", "stdout is for data");
    let errors: Vec<_> = text.lines().filter(|line| line.starts_with("error: ")).collect();
    assert_eq!(errors.len(), 1, "{text}");
    errors[0].to_owned()
}

#[test]
fn the_version_has_its_commit_where_the_build_was_told() {
    let said = stdout(&harness(&["--version"]).output().unwrap());
    let commit = option_env!("CIM_COMMIT").map(|commit| format!(" ({commit})"));
    let expected =
        format!("cim-harness {}{}\n", env!("CARGO_PKG_VERSION"), commit.unwrap_or_default());
    assert_eq!(said, expected);
}

#[test]
fn an_unknown_scenario_is_refused_with_the_one_that_may_be_meant() {
    let output = harness(&["scenario", "desaster-recovery"]).output().unwrap();
    let error = failed(&output, 2);
    assert!(error.contains("scenario `desaster-recovery` is not in `"), "{error}");
    assert!(error.ends_with(": is it `disaster-recovery`?"), "{error}");
}

#[test]
fn a_broken_file_is_refused_with_line_and_key() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("mine.toml");
    let text = std::fs::read_to_string(scenarios().join("disaster-recovery.toml")).unwrap();
    let line = text.lines().position(|l| l.starts_with("deletes = ")).unwrap() + 1;
    std::fs::write(&path, text.replace("deletes = 40", "delete = 40")).unwrap();
    let output = harness(&["scenario", path.to_str().unwrap()]).output().unwrap();
    let error = failed(&output, 2);
    let place = format!("mine.toml`:{line}:1: unknown field `delete`, expected one of");
    assert!(error.contains(&place), "{error}");
}

#[test]
fn a_missing_program_is_named_with_the_way_out() {
    let runs = tempfile::tempdir().unwrap();
    let mut command = harness(&["scenario", "disaster-recovery", "--runs-dir"]);
    command.arg(runs.path()).env("CIM_NATS_SERVER", "/no/such/nats-server");
    let error = failed(&command.output().unwrap(), 3);
    assert_eq!(error, "error: `CIM_NATS_SERVER` names `/no/such/nats-server`, which is not a file");
    // A copy of the harness, away from the project and without a PATH.
    let lonely = tempfile::tempdir().unwrap();
    let copy = lonely.path().join("cim-harness");
    std::fs::copy(crate::common::HARNESS, &copy).unwrap();
    let mut command = std::process::Command::new(&copy);
    command.args(["scenario", "disaster-recovery", "--dir"]).arg(scenarios());
    command.current_dir(lonely.path()).env_clear().arg("--runs-dir").arg(runs.path());
    // A program that another test starts briefly holds every file open here, this copy too.
    let began = std::time::Instant::now();
    let output = loop {
        match command.output() {
            Err(busy)
                if busy.kind() == std::io::ErrorKind::ExecutableFileBusy
                    && began.elapsed().as_secs() < 30 =>
            {
                std::thread::yield_now();
            }
            output => break output.unwrap(),
        }
    };
    let error = failed(&output, 3);
    assert_eq!(
        error,
        "error: program `nats-server` is not found: run `ci/setup`, or set `CIM_NATS_SERVER`"
    );
    assert_eq!(std::fs::read_dir(runs.path()).unwrap().count(), 0);
}

#[test]
fn bad_flags_are_refused() {
    for (flags, wanted) in [
        (&["--rate", "fast"][..], "`fast` is not a rate: write it like `10000/s`"),
        (&["--events", "0"], "0 is not in 1.."),
        (&["--seed", "minus"], "invalid digit"),
    ] {
        let output = harness(&["scenario", "tiering"]).args(flags).output().unwrap();
        assert_eq!(output.status.code(), Some(2));
        assert!(stderr(&output).contains(wanted), "{}", stderr(&output));
    }
    let output = harness(&["scenario", "tiering", "--size", "3"]).output().unwrap();
    assert!(failed(&output, 2).contains("`--size 3B` is below 40B"));
    let output = harness(&["scenario", "tiering", "--corpus", "/no/such.ndjson"]).output().unwrap();
    assert!(failed(&output, 2).contains("cannot read the corpus `/no/such.ndjson`"));
}

#[test]
fn the_directory_is_the_list() {
    let output = harness(&["scenario", "--list", "--json"]).output().unwrap();
    assert!(output.status.success(), "{}", stderr(&output));
    let rows: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    let files = std::fs::read_dir(scenarios()).unwrap().count();
    assert_eq!(rows.as_array().unwrap().len(), files);
    assert!(files >= 6, "{files}");
    assert!(rows.as_array().unwrap().iter().all(|row| row["error"].is_null()), "{rows}");
}

#[test]
fn a_scenario_that_the_substrate_cannot_do_is_skipped_and_not_passed() {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(scenarios().join("tiering.toml")).unwrap();
    let text = format!("requires = [\"power-loss\"]\n{text}");
    std::fs::write(dir.path().join("power.toml"), text).unwrap();
    let mut command = harness(&["scenario", "power", "--json", "--dir"]);
    let output = command.arg(dir.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(4));
    let report: serde_json::Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(report["verdict"], "skipped");
    assert_eq!(report["reason"], "the process substrate does not offer \"power-loss\"");
}

#[test]
fn a_dry_run_draws_the_same_plan_twice_and_starts_nothing() {
    let runs = tempfile::tempdir().unwrap();
    let plan = |flags: &[&str]| {
        let mut command = harness(&["scenario", "storage-manager-crash", "--dry-run"]);
        command.args(flags).arg("--runs-dir").arg(runs.path());
        let output = command.env("CIM_NATS_SERVER", "/no/such/program").output().unwrap();
        assert!(output.status.success(), "{}", stderr(&output));
        stdout(&output)
    };
    let first = plan(&["--seed", "7"]);
    assert_eq!(first, plan(&["--seed", "7"]));
    assert_ne!(first, plan(&["--seed", "8"]));
    assert!(first.contains("kill storage-manager on host"), "{first}");
    let json: serde_json::Value = serde_json::from_str(&plan(&["--seed", "7", "--json"])).unwrap();
    let digest = json["plan_digest"].as_str().unwrap();
    assert!(first.contains(&format!("plan {digest}\n")), "{first}");
    assert_eq!(plan(&["--seed", "7", "--repeat", "3", "--json"]).lines().count(), 3);
    assert_eq!(std::fs::read_dir(runs.path()).unwrap().count(), 0);
}

#[test]
fn an_unexpected_skip_fails_and_says_what_to_write() {
    let dir = tempfile::tempdir().unwrap();
    let mine = dir.path().join("mine");
    std::fs::create_dir(&mine).unwrap();
    let text = std::fs::read_to_string(scenarios().join("tiering.toml")).unwrap();
    let text = format!("requires = [\"power-loss\"]\n{text}");
    std::fs::write(mine.join("power.toml"), text).unwrap();
    let all = |wanted: i32| {
        let output = harness(&["scenario", "--all", "--dir"]).arg(&mine).output().unwrap();
        assert_eq!(output.status.code(), Some(wanted), "{}", stdout(&output));
        stdout(&output)
    };
    let problem = all(1);
    assert!(problem.contains("add `power = { process = \"skipped: power-loss\" }`"), "{problem}");
    let outcomes = dir.path().join("outcomes.toml");
    std::fs::write(&outcomes, "power = { process = \"passed\" }\n").unwrap();
    assert!(all(1).contains("write `process = \"skipped: power-loss\"` in `"));
    std::fs::write(&outcomes, "power = { process = \"skipped: power-loss\" }\n").unwrap();
    assert!(all(0).contains("0 passed, 0 failed, 1 skipped, as expected"));
    std::fs::write(&outcomes, "power = 7\n").unwrap();
    let output = harness(&["scenario", "--all", "--dir"]).arg(&mine).output().unwrap();
    assert!(failed(&output, 2).contains("outcomes.toml`: "));
}

#[test]
fn what_cannot_go_together_is_refused_before_anything_starts() {
    for (args, wanted) in [
        (&["scenario", "--all", "--repeat", "2"][..], "cannot be used with"),
        (&["scenario", "tiering", "--outcomes", "x"], "--all"),
        (&["soak"], "--for <TIME>"),
    ] {
        let output = harness(args).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{args:?}");
        assert!(stderr(&output).contains(wanted), "{}", stderr(&output));
    }
    for (args, wanted) in [
        (&["scenario", "--all", "--only", "x*"][..], "no scenario in `"),
        (&["scenario", "--all", "--only", "[x"], "`--only [x`: "),
        (&["soak", "--for", "1s", "--only", "power-*"], "can run none of these"),
        (&["report", "/no/such/run"], "is neither a file nor a run in `"),
        (&["report", "Cargo.toml"], "not a report"),
    ] {
        let error = failed(&harness(args).output().unwrap(), 2);
        assert!(error.contains(wanted), "{error}");
    }
}

#[test]
fn a_scenario_too_many_and_none_at_all_have_a_way_out() {
    for (args, wanted) in [
        (&["scenario", "tiering", "lost-twice"][..], "`--all --only A --only B` runs several"),
        (&["scenario"], "name a scenario: `--list` shows them"),
        (&["scenario", "tiering", "--size", "10GiB", "--dry-run"], "above 1000000B"),
    ] {
        let error = failed(&harness(args).output().unwrap(), 2);
        assert!(error.contains(wanted), "{error}");
    }
}

/// Returns bash's completions of the last word.
fn completed(words: &[&str]) -> Vec<String> {
    let script = "source <(cim-harness completions bash)
COMP_WORDS=(\"$@\") COMP_CWORD=$(($# - 1)) COMP_TYPE=9
_clap_complete_cim_harness cim-harness \"${COMP_WORDS[COMP_CWORD]}\" ''
printf '%s\\n' \"${COMPREPLY[@]}\"";
    let program = std::path::Path::new(env!("CARGO_BIN_EXE_cim-harness"));
    let path = std::env::var("PATH").unwrap();
    let output = std::process::Command::new("bash")
        .args(["-c", script, "bash"])
        .args(words)
        .env("PATH", format!("{}:{path}", program.parent().unwrap().display()))
        .env("CIM_SCENARIOS", scenarios())
        .output()
        .unwrap();
    stdout(&output).lines().map(|line| line.trim().to_owned()).collect()
}

#[test]
fn bash_completes_behind_every_word() {
    assert!(completed(&["cim-harness", "inv"]).contains(&"inventory".to_owned()));
    assert!(completed(&["cim-harness", "soak", "--f"]).contains(&"--for".to_owned()));
    let scenarios = completed(&["cim-harness", "scenario", "disaster-"]);
    assert_eq!(scenarios, ["disaster-recovery"]);
}
