//! The binary as a process.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use serde::Deserialize;

use crate::raw::Client;

pub(crate) const ACCESS_KEY: &str = "process-test";
pub(crate) const SECRET_KEY: &str = "process-test-secret";

/// A running server process; killed when dropped.
pub(crate) struct Process {
    pub(crate) child: Child,
    stderr: tempfile::NamedTempFile,
    pub(crate) ready: Ready,
}

/// The line that the server prints when it is ready.
#[derive(Debug, Deserialize, PartialEq, Eq)]
#[serde(deny_unknown_fields)]
pub(crate) struct Ready {
    pub(crate) s3: String,
    pub(crate) admin: String,
}

/// Returns the binary with an empty environment.
pub(crate) fn command() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_cim-fake-wasabi"));
    command.env_clear().env("CIM_FAKE_WASABI_ACCESS_KEY", ACCESS_KEY);
    command.env("CIM_FAKE_WASABI_SECRET_KEY", SECRET_KEY);
    command
}

impl Process {
    /// Starts the binary and waits for its line.
    pub(crate) fn start(dir: &Path, more: &[&str]) -> Self {
        let stderr = tempfile::NamedTempFile::new().unwrap();
        let mut child = command()
            .arg("serve")
            .arg("--dir")
            .arg(dir)
            .args(more)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(stderr.reopen().unwrap())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| {
            let stderr = std::fs::read_to_string(stderr.path()).unwrap();
            panic!("not a ready line: {line:?}: {error}\n{stderr}")
        });
        Self { child, stderr, ready }
    }

    /// Returns its log so far.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.stderr.path()).unwrap()
    }

    pub(crate) fn client(&self) -> Client {
        Client::new(&self.ready.s3, ACCESS_KEY, SECRET_KEY)
    }

    /// Kills it with signal 9 and waits until it has ended.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
