//! The check: a document becomes a definition, or a list of everything that is wrong with it.

use super::document::Document;
use super::lowering::Lowering;
use super::stage::{Definition, Format};
use super::{graph, lower};
use crate::problem::{Problem, place};

/// Reads and checks a document.
///
/// # Errors
/// With all problems that were found, in the order of the document.
pub fn check(text: &str, format: Format) -> Result<Definition, Vec<Problem>> {
    let document = read(text, format).map_err(|problem| vec![problem])?;
    let mut lowering = Lowering::new(text, format);
    let definition = lower::lower(document, &mut lowering)
        .and_then(|draft| graph::resolve(draft, &mut lowering));
    let mut problems = lowering.problems;
    problems.sort();
    problems.dedup();
    match definition {
        Some(definition) if problems.is_empty() => Ok(definition),
        _ => Err(problems),
    }
}

fn read(text: &str, format: Format) -> Result<Document, Problem> {
    match format {
        Format::Toml => toml::from_str(text).map_err(|error| {
            let (line, column) = place(text, error.span().map_or(0, |span| span.start));
            Problem {
                line,
                column,
                key: String::new(),
                message: error.message().replace('\n', " "),
            }
        }),
        Format::Json => serde_json::from_str(text).map_err(|error| {
            let message = error.to_string();
            let message = message.split(" at line ").next().unwrap_or_default().to_owned();
            let (line, column) = (error.line().max(1), error.column().max(1));
            Problem { line, column, key: String::new(), message }
        }),
    }
}
