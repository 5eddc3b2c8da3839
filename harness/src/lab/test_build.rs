//! The storage manager built with its test hooks: it can be made to die at its commit points, and
//! to sabotage itself.
//!
//! Only the program can say which hooks it has: a build with hooks has a command that lists them. A
//! version, a name or a path would prove nothing.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::tools::{Tool, Tools};
use crate::error::{Error, Result};

/// The variable that arms a fail point: its name, a colon, and the pass on which it kills (1 is the
/// first).
pub(crate) const FAIL_POINT: &str = "CIM_FAIL_POINT";
/// The variable that sets its clock ahead, in seconds.
pub(crate) const CLOCK_AHEAD: &str = "CIM_CLOCK_AHEAD";
/// The variable that arms a sabotage.
pub(crate) const SABOTAGE: &str = "CIM_SABOTAGE";

/// A storage manager with test hooks.
#[derive(Debug, Clone)]
pub(crate) struct TestBuild {
    /// The program.
    pub(crate) program: PathBuf,
    /// The hooks it was built with.
    pub(crate) hooks: Hooks,
}

/// The names of test hooks.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Hooks {
    /// The fail points, at which it can be made to die.
    pub(crate) fail_points: Vec<String>,
    /// The sabotages, each a defect that can be switched on.
    pub(crate) sabotages: Vec<String>,
}

impl TestBuild {
    /// Finds the test build; the error says why there is none.
    pub(crate) fn find(tools: &Tools) -> Result<Self> {
        let program = tools.find(Tool::SabotagedStorageManager)?;
        let hooks = ask(&program).ok_or_else(|| {
            let path = program.display();
            Error::setup(format!("`{path}` has no test hooks: build it with `ci/selftest --build`"))
        })?;
        Ok(Self { program, hooks })
    }
}

/// Asks a program for its hooks; returns `None` if it was built without.
fn ask(program: &Path) -> Option<Hooks> {
    let output = std::process::Command::new(program).arg("hooks").output().ok()?;
    output.status.success().then(|| serde_json::from_slice(&output.stdout).ok())?
}
