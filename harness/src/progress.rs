//! What a person sees meanwhile, on stderr.

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
    /// Progress that begins now; a live line only where somebody looks.
    pub fn new(quiet: bool) -> Self {
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        let live = !quiet && !plain && std::io::stderr().is_terminal();
        Self { started: Instant::now(), live, quiet }
    }

    /// A line that stays.
    pub fn line(&self, text: &str) {
        if !self.quiet {
            let clear = if self.live { "\r\x1b[K" } else { "" };
            Self::write(&format!("{clear}{:>7.2}s  {text}\n", self.elapsed().as_secs_f64()));
        }
    }

    /// A line that the next one overwrites.
    pub fn live(&self, text: &str) {
        if self.live {
            Self::write(&format!("\r\x1b[K{:>7.2}s  {text}", self.elapsed().as_secs_f64()));
        }
    }

    /// When the run began.
    pub fn started(&self) -> Instant {
        self.started
    }

    /// Time since the run began.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// A closed stderr is no reason to stop a run.
    fn write(text: &str) {
        let mut stderr = std::io::stderr().lock();
        drop(stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush()));
    }
}
