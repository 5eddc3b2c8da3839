//! The storage manager's binary, and its commands.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::Value;

use super::{Child, Settings};

/// A storage manager that is configured; its commands run when they are called.
pub(crate) struct Manager {
    config: PathBuf,
}

impl Manager {
    pub(crate) fn new(dir: &Path, name: &str, settings: &Settings) -> Self {
        let config = dir.join(format!("{name}.toml"));
        std::fs::write(&config, settings.to_toml(dir, name)).unwrap();
        Self { config }
    }

    pub(crate) fn config(&self) -> &Path {
        &self.config
    }

    pub(super) fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cim-storage-manager"));
        command.env_clear().arg("--config").arg(&self.config);
        command
    }

    pub(crate) fn run(&self, arguments: &[&str]) -> Output {
        self.command().args(["--log", "warn"]).args(arguments).output().unwrap()
    }

    /// Starts a command and leaves it running; what it prints is read by `output`, or from its pipes.
    pub(crate) fn spawn(&self, arguments: &[&str]) -> Child {
        self.spawn_logging("warn", arguments)
    }

    /// The same with a log that says more.
    pub(crate) fn spawn_logging(&self, level: &str, arguments: &[&str]) -> Child {
        let mut command = self.command();
        command.args(["--log", level]).args(arguments);
        Child::spawn(command.stdout(Stdio::piped()).stderr(Stdio::piped()))
    }

    /// Runs a command that must succeed; returns its JSON.
    pub(crate) fn json(&self, arguments: &[&str]) -> Value {
        let output = self.run(&[arguments, &["--json"]].concat());
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{arguments:?}: {said}");
        serde_json::from_slice(&output.stdout).unwrap()
    }

    /// Runs a command that must fail; returns its status and its one line.
    pub(crate) fn error(&self, arguments: &[&str]) -> (i32, String) {
        let output = self.run(arguments);
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success(), "{arguments:?} should fail");
        let errors: Vec<_> = stderr.lines().filter(|l| l.starts_with("error: ")).collect();
        assert_eq!(errors.len(), 1, "one line says what is wrong: {stderr}");
        (output.status.code().unwrap(), errors[0].into())
    }
}
