//! Programs that tests start and this project did not write.

use std::path::{Path, PathBuf};

use crate::skipped;

/// Returns true if a missing program fails a test that would be skipped otherwise.
pub fn tools_are_required() -> bool {
    std::env::var_os("CIM_REQUIRE_TOOLS").is_some_and(|value| value == "1")
}

/// Finds a program by its path below `.tools`; one of `bin/`, for example `bin/minio`, may be on PATH instead.
///
/// Without it the test is skipped and counted as such, or fails with `CIM_REQUIRE_TOOLS=1`.
pub fn optional_tool(path: &str, test: &str) -> Option<PathBuf> {
    let found = find(path);
    if found.is_none() {
        let reason = format!("`{path}` is not there: run `ci/setup --test`");
        assert!(!tools_are_required(), "{reason}");
        skipped(test, &reason);
    }
    found
}

/// Finds a program without which there is nothing to test.
pub fn required_tool(path: &str) -> PathBuf {
    find(path).unwrap_or_else(|| panic!("`{path}` is not there: run `ci/setup --test`"))
}

fn find(path: &str) -> Option<PathBuf> {
    let ours = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../.tools").join(path);
    if ours.is_file() {
        return Some(ours);
    }
    let name = path.strip_prefix("bin/")?;
    let places = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&places).map(|place| place.join(name)).find(|file| file.is_file())
}
