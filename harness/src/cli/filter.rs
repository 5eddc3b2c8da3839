//! Selects scenarios of the directory.

use std::path::{Path, PathBuf};

use globset::{Glob, GlobSet, GlobSetBuilder};

use crate::error::{Error, Result};
use crate::scenario::{self, Scenario};

/// The flags that select scenarios by name.
#[derive(Debug, clap::Args)]
pub(super) struct FilterArgs {
    /// Only scenarios of these names; `*` stands for any text. May be given several times.
    #[arg(long, value_name = "GLOB")]
    only: Vec<String>,
    /// No scenarios of these names, likewise.
    #[arg(long, value_name = "GLOB")]
    except: Vec<String>,
}

/// The selected scenarios of a directory.
#[derive(Debug)]
pub(super) struct Selected {
    /// The directory.
    pub(super) dir: PathBuf,
    /// True if these are all that it has.
    pub(super) whole: bool,
    /// By name.
    pub(super) scenarios: Vec<(String, Scenario)>,
}

impl FilterArgs {
    /// Reports whether no flag is given.
    pub(super) fn is_empty(&self) -> bool {
        self.only.is_empty() && self.except.is_empty()
    }

    /// Returns the selected scenarios; at least one. A broken file is an error before anything
    /// starts.
    pub(super) fn select(&self, dir: Option<&Path>) -> Result<Selected> {
        let (only, except) = (globs("--only", &self.only)?, globs("--except", &self.except)?);
        let dir = scenario::directory(dir)?;
        let mut scenarios = Vec::new();
        for listed in scenario::list(&dir)? {
            let wanted = self.only.is_empty() || only.is_match(&listed.name);
            if wanted && !except.is_match(&listed.name) {
                scenarios.push((listed.name, listed.scenario?));
            }
        }
        if scenarios.is_empty() {
            let dir = dir.display();
            return Err(Error::Usage(format!(
                "no scenario in `{dir}` matches: `cim-harness scenario --list` shows their names"
            )));
        }
        let whole = self.is_empty();
        Ok(Selected { dir, whole, scenarios })
    }
}

fn globs(flag: &str, texts: &[String]) -> Result<GlobSet> {
    let mut set = GlobSetBuilder::new();
    for text in texts {
        let glob = Glob::new(text);
        set.add(glob.map_err(|e| Error::Usage(format!("`{flag} {text}`: {}", e.kind())))?);
    }
    set.build().map_err(|e| Error::Usage(format!("`{flag}`: {e}")))
}
