//! The program's own words and statuses.

use std::process::Command;

use serde_json::Value;

/// Runs the program in a folder with these files; its status and stdout.
pub(crate) fn run(files: &[(&str, &str)], arguments: &[&str]) -> (Option<i32>, String, String) {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        std::fs::write(folder.path().join(name), text).unwrap();
    }
    run_in(folder.path(), arguments)
}

/// Runs the program in a folder.
pub(crate) fn run_in(
    folder: &std::path::Path,
    arguments: &[&str],
) -> (Option<i32>, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cim-pipeline-engine"));
    let output = command.args(arguments).current_dir(folder).env_clear().output().unwrap();
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.code(), text(&output.stdout), text(&output.stderr))
}

const RIGHT: &str = "pipeline = \"p\"\nformat = 1\n[[stage]]\nname = \"a\"\nkind = \"map\"\nexpression = \".\"\n[[output]]\nname = \"out\"\n";

#[test]
fn check_says_problems_by_file_and_line_and_status() {
    let (status, out, _) = run(&[("a.toml", RIGHT)], &["check", "a.toml"]);
    assert_eq!((status, out.as_str()), (Some(0), "`p` has no problem: 1 stages, 1 outputs\n"));
    let wrong = RIGHT.replace("\".\"", "\".a | foo\"");
    let (status, out, _) = run(&[("a.toml", &wrong)], &["check", "a.toml"]);
    assert_eq!(
        (status, out.as_str()),
        (Some(5), "a.toml:6:20: `stage.a.expression`: there is no filter `foo`\n")
    );
    let (status, out, _) = run(&[("a.toml", &wrong)], &["check", "a.toml", "--json"]);
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!((status, &report["problems"][0]["line"]), (Some(5), &6.into()));
    let (status, _, err) = run(&[], &["check", "none.toml"]);
    assert_eq!(status, Some(2));
    assert!(err.starts_with("error: cannot read `none.toml`: "), "{err}");
}
