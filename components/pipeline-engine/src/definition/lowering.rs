//! Problems while a document is lowered, each with its place, and the readers of its small values.

use std::time::Duration;

use super::place::{self, Step as At};
use super::stage::{Format, Shape};
use crate::expression::Expression;
use crate::problem::Problem;

/// The document and the problems found so far.
pub(super) struct Lowering<'a> {
    text: &'a str,
    format: Format,
    pub(super) problems: Vec<Problem>,
}

impl<'a> Lowering<'a> {
    pub(super) fn new(text: &'a str, format: Format) -> Self {
        Self { text, format, problems: Vec::new() }
    }

    /// Notes a problem of the value at a path.
    pub(super) fn wrong(&mut self, key: &str, path: &[At], message: impl Into<String>) {
        let offset = place::range(self.text, self.format, path).start;
        self.wrong_at(key, offset, message);
    }

    fn wrong_at(&mut self, key: &str, offset: usize, message: impl Into<String>) {
        let (line, column) = crate::problem::place(self.text, offset);
        self.problems.push(Problem { line, column, key: key.into(), message: message.into() });
    }

    pub(super) fn expression(
        &mut self,
        key: &str,
        path: &[At],
        text: &str,
        variables: &[&'static str],
    ) -> Option<Expression> {
        match Expression::compile(text, variables) {
            Ok(expression) => Some(expression),
            Err(invalid) => {
                let range = place::range(self.text, self.format, path);
                // Verbatim in the document unless something in it is escaped.
                let inside = self.text.get(range.clone()).and_then(|part| part.find(text));
                let offset =
                    inside.map_or(range.start, |inside| range.start + inside + invalid.offset);
                self.wrong_at(key, offset, invalid.message);
                None
            }
        }
    }

    pub(super) fn milliseconds(
        &mut self,
        key: &str,
        path: &[At],
        text: &str,
        least: i64,
    ) -> Option<i64> {
        let read = humantime::parse_duration(text).ok().as_ref().map(Duration::as_millis);
        match read.and_then(|read| i64::try_from(read).ok()) {
            Some(read) if read >= least && read <= 366 * 86_400_000 => Some(read),
            _ => {
                let least = if least > 0 { "above zero and " } else { "" };
                self.wrong(key, path, format!("`{text}` is no duration {least}of at most a year: write `500ms`, `30s` or `1h`"));
                None
            }
        }
    }

    pub(super) fn shape(&mut self, key: &str, path: &[At], text: Option<&str>) -> Option<Shape> {
        let text = text?;
        let found = Shape::ALL.iter().find(|(name, _)| *name == text);
        if found.is_none() {
            let names = Shape::ALL.map(|(name, _)| name).join(", ");
            self.wrong(key, path, format!("`{text}` is no type: there are {names}"));
        }
        found.map(|(_, shape)| *shape)
    }

    pub(super) fn name(&mut self, key: &str, path: &[At], name: &str) {
        let right = !name.is_empty()
            && name.len() <= 64
            && name
                .bytes()
                .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_');
        if !right || name == "input" {
            self.wrong(
                key,
                path,
                format!("`{name}` is no name: 1 to 64 of a-z, 0-9, `-` and `_`, and not `input`"),
            );
        }
    }
}

pub(super) fn path(steps: &[&str]) -> Vec<At> {
    let step = |step: &&str| step.parse().map_or_else(|_| At::Key((*step).into()), At::Index);
    steps.iter().map(step).collect()
}

/// Keeps a value that is missing apart from one that is wrong.
#[expect(clippy::option_option, reason = "the outer one is a problem that was noted already")]
pub(super) fn opened<T>(value: Option<Option<T>>) -> Option<Option<T>> {
    match value {
        None => Some(None),
        Some(Some(value)) => Some(Some(value)),
        Some(None) => None,
    }
}

/// Returns a remark with the name that was probably meant.
pub(super) fn nearest<'a>(name: &str, names: impl Iterator<Item = &'a str>) -> String {
    let near = names.map(|known| (strsim::jaro_winkler(name, known), known));
    let near = near.filter(|(score, _)| *score > 0.8).max_by(|a, b| a.0.total_cmp(&b.0));
    near.map(|(_, name)| format!(" (`{name}`?)")).unwrap_or_default()
}
