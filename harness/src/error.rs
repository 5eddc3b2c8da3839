//! What can stop the harness, by what the caller should do about it.

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

/// What the harness's functions return.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A [`Error::Setup`] without a cause.
    pub fn setup(what: impl Into<String>) -> Self {
        Self::Setup(what.into(), None)
    }

    /// A [`Error::Step`] without a cause.
    pub fn step(what: impl Into<String>) -> Self {
        Self::Step(what.into(), None)
    }

    /// The status that the process ends with.
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

    /// The error and what caused it, on one line.
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

/// Says what was being done when something else failed.
pub trait Context<T> {
    /// As an [`Error::Setup`].
    fn setup(self, what: impl FnOnce() -> String) -> Result<T>;
    /// As an [`Error::Step`].
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

/// Writes a file and names it when that fails.
pub(crate) fn write_file(path: &Path, bytes: impl AsRef<[u8]>) -> Result<()> {
    std::fs::write(path, bytes).setup(|| format!("cannot write `{}`", path.display()))
}

/// Makes a directory with its parents and names it when that fails.
pub(crate) fn make_dir(path: &Path) -> Result<()> {
    std::fs::create_dir_all(path).setup(|| format!("cannot make `{}`", path.display()))
}
