//! The command line: stdout, exit statuses, and the texts of errors.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::process::{Process, Ready, command};
use crate::support::wait_until;

fn run(args: &[&str]) -> Output {
    command().args(args).stdin(Stdio::null()).output().unwrap()
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

/// Returns the last line on stderr, and the exit status.
fn failure(args: &[&str]) -> (String, Option<i32>) {
    let output = run(args);
    assert!(output.stdout.is_empty(), "{}", stdout(&output));
    let stderr = String::from_utf8(output.stderr).unwrap();
    (stderr.lines().last().unwrap_or_default().to_owned(), output.status.code())
}

fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args(["-s", name, &pid.to_string()]).status().unwrap();
    assert!(status.success());
}

#[tokio::test]
async fn signals_stop_it_cleanly() {
    for name in ["TERM", "INT"] {
        let dir = tempfile::tempdir().unwrap();
        let ready_file = dir.path().join("ready.json");
        let more =
            ["--ready-file", ready_file.to_str().unwrap(), "--create-bucket", "tier", "--no-fsync"];
        let mut process = Process::start(&dir.path().join("data"), &more);
        let client = process.client();
        client.put("/tier/key", "x").await.expect(200);
        let find = || std::fs::read_to_string(&ready_file).ok();
        wait_until("the ready file", Duration::from_secs(10), || find().is_some()).await;
        let written: Ready = serde_json::from_str(&find().unwrap()).unwrap();
        assert_eq!(written, process.ready);

        signal(process.child.id(), name);
        let status = process.child.wait().unwrap();
        assert_eq!((status.code(), status.signal()), (Some(0), None), "SIG{name}");
        client.send("GET", "/tier/key", &[], "").await.unwrap_err();
    }
}

#[tokio::test]
async fn what_is_not_implemented_is_logged_as_an_error() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path(), &["--create-bucket", "tier"]);
    let client = process.client();
    client.get("/tier/absent").await.expect(404);
    assert!(!process.log().contains("ERROR"), "{}", process.log());
    client.get("/tier?lifecycle").await.expect_code(501, "NotImplemented");
    let log = process.log();
    let line = log.lines().find(|line| line.contains("ERROR")).unwrap_or_default();
    assert!(line.contains("not implemented") && line.contains("uri=/tier?lifecycle"), "{log}");
}

#[test]
fn a_directory_is_used_by_one_server_at_a_time() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().to_str().unwrap();
    let _process = Process::start(dir.path(), &[]);
    let (error, status) = failure(&["serve", "--dir", path]);
    assert_eq!(
        (error, status),
        (
            format!(
                "error: `{path}` is in use by another cim-fake-wasabi; stop it or choose another directory"
            ),
            Some(3)
        )
    );
}

#[test]
fn a_foreign_directory_is_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("thesis.tex"), "years of work").unwrap();
    let path = dir.path().to_str().unwrap();
    let (error, status) = failure(&["serve", "--dir", path]);
    let want = format!(
        "error: `{path}` is not empty and not a cim-fake-wasabi directory: it holds `thesis.tex`"
    );
    assert_eq!((error, status), (want, Some(3)));

    let dir = tempfile::tempdir().unwrap();
    let format = dir.path().join("FORMAT");
    std::fs::write(&format, r#"{"layout":"cim-fake-wasabi","version":2}"#).unwrap();
    let (error, status) = failure(&["serve", "--dir", dir.path().to_str().unwrap()]);
    let want = format!(
        "error: `{}` says `cim-fake-wasabi version 2`, which this build does not read",
        format.display()
    );
    assert_eq!((error, status), (want, Some(3)));
}

#[tokio::test]
async fn a_damaged_object_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let process = Process::start(dir.path(), &["--create-bucket", "tier"]);
    process.client().put("/tier/key", "x").await.expect(200);
    process.kill();
    let objects = dir.path().join("buckets/tier/objects");
    let object = std::fs::read_dir(&objects).unwrap().next().unwrap().unwrap().path();
    let file = std::fs::File::options().write(true).open(&object).unwrap();
    file.set_len(file.metadata().unwrap().len() - 1).unwrap();
    let (error, status) = failure(&["serve", "--dir", dir.path().to_str().unwrap()]);
    let want = format!(
        "error: `{}` is damaged; remove it to start without it: no trailer",
        object.display()
    );
    assert_eq!((error, status), (want, Some(3)));
}

#[test]
fn it_keeps_to_loopback_unless_told() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let path = path.to_str().unwrap();
    for flag in ["--listen", "--admin-listen"] {
        let (error, status) = failure(&["serve", "--dir", path, flag, "0.0.0.0:0"]);
        let want = "error: `0.0.0.0:0` is not a loopback address; pass --i-know-this-is-a-fake to serve on it";
        assert_eq!((error.as_str(), status), (want, Some(4)));
    }
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let addr = taken.local_addr().unwrap().to_string();
    let (error, status) = failure(&["serve", "--dir", path, "--listen", &addr]);
    assert!(error.starts_with(&format!("error: failed to listen on `{addr}`; ")), "{error}");
    assert_eq!(status, Some(4));
    assert!(!std::path::Path::new(path).exists(), "made before it was known to be of use");
    Process::start(path.as_ref(), &["--listen", "0.0.0.0:0", "--i-know-this-is-a-fake"]).kill();
}

#[test]
fn credentials_come_from_flags_environment_or_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("data");
    let path = path.to_str().unwrap();
    let bare = |args: &[&str]| {
        let mut command = command();
        command.env_clear().args(["serve", "--dir", path]).args(args).output().unwrap()
    };
    assert_eq!(bare(&[]).status.code(), Some(2));
    assert_eq!(bare(&["--access-key", "a"]).status.code(), Some(2));
    let file = dir.path().join("credentials");
    std::fs::write(&file, "[default]\naws_access_key_id = a\n").unwrap();
    let half = bare(&["--credentials-file", file.to_str().unwrap()]);
    let error = String::from_utf8(half.stderr).unwrap();
    assert!(error.contains("profile `default` has only one of the two keys"), "{error}");
    assert_eq!(half.status.code(), Some(2));
    let bucket = bare(&["--access-key", "a", "--secret-key", "b", "--create-bucket", "No_Good"]);
    assert_eq!(bucket.status.code(), Some(2));
}

#[test]
fn the_table_of_behaviour_is_text_or_json() {
    let table = run(&["behaviour"]);
    assert!(stdout(&table).contains("conditional-writes"));
    let rows: Value = serde_json::from_str(&stdout(&run(&["behaviour", "--json"]))).unwrap();
    let duration = rows
        .as_array()
        .unwrap()
        .iter()
        .find(|row| row["name"] == "minimum-storage-duration")
        .unwrap();
    assert!(duration["source"].as_str().unwrap().starts_with("https://docs.wasabi.com/"));
}

#[test]
fn completions_ask_the_program() {
    for shell in ["bash", "zsh", "fish"] {
        let script = stdout(&run(&["completions", shell]));
        assert!(script.contains("COMPLETE"), "{shell}");
    }
    let words = ["--", "cim-fake-wasabi", "serve", "--no-cond"];
    let asked = command()
        .args(words)
        .envs([("COMPLETE", "bash"), ("_CLAP_COMPLETE_INDEX", "2"), ("_CLAP_IFS", "\n")])
        .output();
    assert_eq!(stdout(&asked.unwrap()).trim(), "--no-conditional-writes");
}
