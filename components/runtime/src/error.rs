//! The form of errors at the edge of a program.

use std::error::Error;
use std::fmt::Write as _;

/// Returns the error and its sources in one line: `failed to open segment `x`: connection refused`.
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        // Some libraries repeat their source in their own text; once is enough.
        if !line.ends_with(&text) {
            write!(line, ": {text}").expect("writing to a string does not fail");
        }
        source = cause.source();
    }
    line.replace('\n', " ")
}
