//! The problems of a scenario file, with their places.

use std::fmt;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Serialize;

/// A problem in a file. Displayed as `file`:line:column: message.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 for the file as a whole.
    pub line: usize,
    /// The character of the line, from 1; 0 for the file as a whole.
    pub column: usize,
    /// The key that the line gives a value, or the table that it opens.
    pub key: Option<String>,
    /// The problem, and the way out.
    pub message: String,
}

impl Diagnostic {
    /// Makes the problem of a file that cannot be read at all.
    pub(super) fn unreadable(file: &Path, error: &std::io::Error) -> Self {
        let message = format!("cannot be read: {error}");
        Self { file: file.to_owned(), line: 0, column: 0, key: None, message }
    }

    /// Returns the first problem in words, and the number of the others.
    pub(crate) fn first_of(problems: &[Self]) -> String {
        match problems {
            [] => String::new(),
            [only] => only.to_string(),
            [first, others @ ..] => {
                let (count, file) = (others.len(), first.file.display());
                format!("{first} (and {count} more: `cim-harness scenario check {file}`)")
            }
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}`:", self.file.display())?;
        if self.line > 0 {
            write!(f, "{}:{}:", self.line, self.column)?;
        }
        // The key, unless the message names it.
        match &self.key {
            Some(key) if !self.message.contains(&format!("`{key}`")) => {
                write!(f, " key `{key}`: {}", self.message)
            }
            _ => write!(f, " {}", self.message),
        }
    }
}

/// A problem at a range of bytes of a text.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct SpannedDiagnostic {
    pub(super) span: Option<Range<usize>>,
    pub(super) message: String,
}

impl From<toml::de::Error> for SpannedDiagnostic {
    fn from(error: toml::de::Error) -> Self {
        let message = error.message().lines().collect::<Vec<_>>().join(", ");
        Self { span: error.span(), message }
    }
}

impl SpannedDiagnostic {
    pub(super) fn at(self, file: &Path, text: &str) -> Diagnostic {
        let Self { span, message } = self;
        let file = file.to_owned();
        let Some(span) = span else {
            return Diagnostic { file, line: 0, column: 0, key: None, message };
        };
        let before = &text[..text.floor_char_boundary(span.start)];
        let line = before.matches('\n').count();
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        let key = text.lines().nth(line).and_then(key_of_line).map(str::to_owned);
        Diagnostic { file, line: line + 1, column, key, message }
    }
}

fn key_of_line(line: &str) -> Option<&str> {
    let line = line.trim();
    if line.starts_with('[') {
        return Some(line.split('#').next()?.trim().trim_matches(['[', ']']));
    }
    let key = line.split_once('=')?.0.trim();
    (!key.is_empty() && !key.contains(['{', '"', ','])).then_some(key)
}
