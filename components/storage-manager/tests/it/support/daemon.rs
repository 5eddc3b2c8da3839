//! A storage manager that tiers.

use std::path::PathBuf;
use std::process::Stdio;

use cim_testing::wait_until;

use super::{Child, Manager};

/// It ends with its test, by kill -9; in order, and checked, with `stop`.
pub(crate) struct Daemon {
    child: Child,
    log: PathBuf,
}

impl Manager {
    /// Starts tiering, and waits until it says that it is ready.
    pub(crate) async fn tier(&self) -> Daemon {
        let ready = self.config().with_extension(format!("ready-{}", uuid::Uuid::now_v7()));
        let log = self.config().with_extension("log");
        let file = std::fs::File::options().create(true).append(true).open(&log).unwrap();
        let mut command = self.command();
        command.arg("tier").arg("--ready-file").arg(&ready);
        let mut child = Child::spawn(command.stdout(Stdio::null()).stderr(file));
        wait_until("the storage manager is ready", async || {
            if let Some(status) = child.try_wait() {
                panic!("it ended with {status}: {}", std::fs::read_to_string(&log).unwrap());
            }
            if ready.exists() { Ok(()) } else { Err(std::fs::read_to_string(&log).unwrap()) }
        })
        .await;
        Daemon { child, log }
    }
}

impl Daemon {
    pub(crate) fn pid(&self) -> u32 {
        self.child.pid()
    }

    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap()
    }

    /// Waits until its log has a text; returns the log.
    pub(crate) async fn says(&self, text: &str) -> String {
        wait_until(&format!("the log says `{text}`"), async || {
            let log = self.log();
            if log.contains(text) { Ok(log) } else { Err(log) }
        })
        .await
    }

    /// Sends SIGTERM: it flushes what there is and ends well.
    pub(crate) async fn stop(mut self) {
        self.child.signal("TERM");
        let status = self.child.ends().await;
        assert!(status.success(), "{status}: {}", self.log());
    }

    /// Sends a signal by its name.
    pub(crate) fn signal(&self, name: &str) {
        self.child.signal(name);
    }

    /// Stops it in the middle of its work, until it is thawed.
    pub(crate) fn freeze(&self) {
        self.child.signal("STOP");
    }

    pub(crate) fn thaw(&self) {
        self.child.signal("CONT");
    }

    /// Kills it: -9.
    pub(crate) fn kill(self) {
        drop(self);
    }
}
