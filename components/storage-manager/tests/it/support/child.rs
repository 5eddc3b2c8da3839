//! A process that ends with its test, failed ones included.

use std::process::{ChildStderr, ChildStdout, Command, ExitStatus, Output};

use cim_testing::wait_until;

/// A process that is killed when this goes.
pub(crate) struct Child(Option<std::process::Child>);

impl Child {
    pub(crate) fn spawn(command: &mut Command) -> Self {
        let child = command.spawn();
        Self(Some(child.unwrap_or_else(|error| panic!("{command:?}: {error}"))))
    }

    fn running(&self) -> &std::process::Child {
        self.0.as_ref().expect("only `output` takes it")
    }

    fn running_mut(&mut self) -> &mut std::process::Child {
        self.0.as_mut().expect("only `output` takes it")
    }

    pub(crate) fn pid(&self) -> u32 {
        self.running().id()
    }

    /// Sends a signal by its name, for example `TERM`.
    pub(crate) fn signal(&self, name: &str) {
        let (name, pid) = (format!("-{name}"), self.pid().to_string());
        assert!(Command::new("kill").args([name, pid]).status().unwrap().success());
    }

    /// Kills it (-9), and waits until it is gone.
    pub(crate) fn kill(&mut self) {
        if let Some(child) = &mut self.0 {
            // A process that is gone already needs no killing.
            drop(child.kill());
            drop(child.wait());
        }
    }

    /// Returns how it ended, or `None` while it runs.
    pub(crate) fn try_wait(&mut self) -> Option<ExitStatus> {
        self.running_mut().try_wait().unwrap()
    }

    /// Waits until it has ended by itself.
    pub(crate) async fn ends(&mut self) -> ExitStatus {
        let pid = self.pid();
        wait_until("the process ends", async || {
            self.try_wait().ok_or_else(|| format!("process {pid} runs"))
        })
        .await
    }

    /// Takes the end of its stdout that is read.
    pub(crate) fn stdout(&mut self) -> ChildStdout {
        self.running_mut().stdout.take().expect("it is a pipe, and was not taken")
    }

    /// Takes the end of its stderr that is read.
    pub(crate) fn stderr(&mut self) -> ChildStderr {
        self.running_mut().stderr.take().expect("it is a pipe, and was not taken")
    }

    /// Reads all that it prints, until it has ended by itself.
    pub(crate) fn output(mut self) -> Output {
        self.0.take().expect("only `output` takes it").wait_with_output().unwrap()
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.kill();
    }
}
