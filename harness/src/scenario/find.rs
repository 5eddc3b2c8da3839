//! The scenarios that there are: the directory is the list.

use std::path::{Path, PathBuf};

use super::{Scenario, parse};
use crate::error::{Context as _, Error, Result};
use crate::lab::tools::project_dir;

/// A scenario of the directory.
#[derive(Debug)]
pub struct Listed {
    /// The file's name without its ending.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// What it says, or why it cannot be read.
    pub scenario: Result<Scenario>,
}

/// The directory of scenarios: `given`, or `fixtures/scenarios` of the project.
pub fn directory(given: Option<&Path>) -> Result<PathBuf> {
    if let Some(dir) = given {
        return Ok(dir.to_owned());
    }
    project_dir().map(|dir| dir.join("fixtures/scenarios")).filter(|dir| dir.is_dir()).ok_or_else(
        || Error::Usage("no `fixtures/scenarios` here or above: give `--dir DIR`".to_owned()),
    )
}

/// Every `.toml` file of the directory, by name.
pub fn list(dir: &Path) -> Result<Vec<Listed>> {
    let cannot = || format!("cannot read the scenarios in `{}`", dir.display());
    let mut listed = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(|e| Error::Usage(format!("{}: {e}", cannot())))? {
        let path = entry.setup(cannot)?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            let scenario = read(&path);
            listed.push(Listed { name: name_of(&path), path, scenario });
        }
    }
    listed.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(listed)
}

/// A scenario by name, or by path when it has a `/` or ends in `.toml`.
pub fn load(dir: Option<&Path>, name: &str) -> Result<(String, Scenario)> {
    if name.contains('/') || Path::new(name).extension().is_some_and(|e| e == "toml") {
        let path = Path::new(name);
        return Ok((name_of(path), read(path)?));
    }
    let dir = directory(dir)?;
    let path = dir.join(format!("{name}.toml"));
    if !path.is_file() {
        let names: Vec<_> = list(&dir)?.into_iter().map(|l| format!("`{}`", l.name)).collect();
        let (names, dir) = (names.join(", "), dir.display());
        return Err(Error::Usage(format!(
            "scenario `{name}` is not in `{dir}`: there are {names}"
        )));
    }
    Ok((name.to_owned(), read(&path)?))
}

fn read(path: &Path) -> Result<Scenario> {
    let text = std::fs::read_to_string(path)
        .map_err(|e| Error::Usage(format!("cannot read `{}`: {e}", path.display())))?;
    parse(path, &text)
}

fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
