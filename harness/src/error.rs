//! The errors that end the harness, by the caller's way out.

use std::path::Path;
use std::process::ExitCode;

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A run that did not come to a verdict of its own.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The command line or a scenario file is wrong. Exit status 2.
    #[error("{0}")]
    Usage(String),
    /// The lab could not be set up: a program is missing or does not start. Exit status 3.
    #[error("{0}")]
    Setup(String, #[source] Option<Source>),
    /// A step did not do what it must: the scenario has failed. Exit status 1.
    #[error("{0}")]
    Step(String, #[source] Option<Source>),
    /// SIGINT or SIGTERM. Exit status 130.
    #[error("interrupted")]
    Interrupted,
}

/// The result of the harness's functions.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// Makes an [`Error::Setup`] without a cause.
    pub fn setup(what: impl Into<String>) -> Self {
        Self::Setup(what.into(), None)
    }

    /// Makes an [`Error::Step`] without a cause.
    pub fn step(what: impl Into<String>) -> Self {
        Self::Step(what.into(), None)
    }

    /// Returns the exit status of the process.
    pub fn exit_code(&self) -> ExitCode {
        ExitCode::from(self.status())
    }

    pub(crate) fn status(&self) -> u8 {
        match self {
            Self::Step(..) => 1,
            Self::Usage(_) => 2,
            Self::Setup(..) => 3,
            Self::Interrupted => 130,
        }
    }

    /// Returns the error and its causes, on one line.
    pub fn chain(&self) -> String {
        let mut text = self.to_string();
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            text.push_str(": ");
            text.push_str(error.to_string().trim_end());
            source = error.source();
        }
        text.replace('\n', " ")
    }
}

/// An extension of results that adds to an error what was being done.
pub trait Context<T> {
    /// Turns the error into an [`Error::Setup`] with this description.
    fn setup(self, what: impl FnOnce() -> String) -> Result<T>;
    /// Turns the error into an [`Error::Step`] with this description.
    fn step(self, what: impl FnOnce() -> String) -> Result<T>;
}

impl<T, E: Into<Source>> Context<T> for std::result::Result<T, E> {
    fn setup(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::Setup(what(), Some(e.into())))
    }

    fn step(self, what: impl FnOnce() -> String) -> Result<T> {
        self.map_err(|e| Error::Step(what(), Some(e.into())))
    }
}

/// Writes a file; the error names it.
pub(crate) fn write_file(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    std::fs::write(path, bytes).setup(|| format!("cannot write `{}`", path.display()))
}

/// Makes a directory with its parents; the error names it.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).setup(|| format!("cannot make `{}`", path.display()))
}
