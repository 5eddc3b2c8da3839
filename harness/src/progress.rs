//! The progress of a run for people, on stderr.

use std::io::{IsTerminal as _, Write as _};
use std::time::{Duration, Instant};

/// The progress of a run.
#[derive(Debug)]
pub struct Progress {
    started: Instant,
    live: bool,
    quiet: bool,
}

impl Progress {
    /// Starts the progress now; it has a live line only on a terminal.
    pub fn new(quiet: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let live = !quiet && !plain && std::io::stderr().is_terminal();
        Self { started: Instant::now(), live, quiet }
    }

    /// Prints a line that stays.
    pub fn line(&self, text: &str) {
        if !self.quiet {
            let clear = if self.live { "\r\x1b[K" } else { "" };
            Self::write(&format!("{clear}{:>7.2}s  {text}\n", self.elapsed().as_secs_f64()));
        }
    }

    /// Prints a line that the next one overwrites.
    pub fn live(&self, text: &str) {
        if self.live {
            Self::write(&format!("\r\x1b[K{:>7.2}s  {text}", self.elapsed().as_secs_f64()));
        }
    }

    /// Returns the start of the run.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Returns the time since the run began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// Writes to stderr; a closed one is no reason to stop a run.
    fn write(text: &str) {
        let mut stderr = std::io::stderr().lock();
        drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
    }
}
