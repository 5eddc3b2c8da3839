//! The two streams of a terminal: data on stdout, remarks on stderr.

use std::io::Write as _;

/// Prints a remark on stderr; a closed stderr is ignored, for the exit status says it too.
pub(crate) fn remark(text: &str) {
    drop(writeln!(std::io::stderr(), "{text}"));
}

/// Prints data on stdout; a reader that has gone away is not an error.
pub(crate) fn print(text: &str) {
    drop(writeln!(std::io::stdout(), "{text}"));
}
