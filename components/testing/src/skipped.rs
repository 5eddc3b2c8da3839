//! A test that cannot run says so.

use std::io::Write as _;

/// Prints the reason why a test was not done, and adds it to the file that ci/test counts: it is no passed test.
pub fn skipped(test: &str, reason: &str) {
    eprintln!("skipped: {test}: {reason}");
    if let Some(path) = std::env::var_os("CIM_SKIPPED_FILE") {
        let file = std::fs::File::options().append(true).create(true).open(path);
        writeln!(file.unwrap(), "{test}: {reason}").unwrap();
    }
}
