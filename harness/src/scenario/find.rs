//! Finds scenarios: every file of the directory is one.

use std::path::{Path, PathBuf};

use super::{Diagnostic, Scenario, examine};
use crate::error::{Error, Result};
use crate::lab::tools::project_dir;

/// A scenario of the directory.
#[derive(Debug)]
pub struct Listed {
    /// The file's name without its ending.
    pub name: String,
    /// The file.
    pub path: PathBuf,
    /// The scenario, or the reason why it cannot be read.
    pub scenario: Result<Scenario>,
}

/// Returns the directory of scenarios: `given`, else the value of `CIM_SCENARIOS`, else
/// `fixtures/scenarios` of the project.
pub fn directory(given: Option<&Path>) -> Result<PathBuf> {
    let named = || std::env::var_os("CIM_SCENARIOS").map(PathBuf::from);
    let ours = || project_dir().map(|dir| dir.join("fixtures/scenarios"));
    given
        .map(Path::to_owned)
        .or_else(named)
        .or_else(|| ours().filter(|dir| dir.is_dir()))
        .ok_or_else(|| {
            Error::Usage("no `fixtures/scenarios` here or above: give `--dir DIR`".to_owned())
        })
}

/// Reads every `.toml` file of the directory, ordered by name.
pub fn list(dir: &Path) -> Result<Vec<Listed>> {
    let listed = files(dir)?.into_iter().map(|path| {
        let scenario = read(&path);
        Listed { name: name_of(&path), path, scenario }
    });
    Ok(listed.collect())
}

/// Returns the paths of the directory's `.toml` files, ordered by name.
pub(crate) fn files(dir: &Path) -> Result<Vec<PathBuf>> {
    let cannot = |e| Error::Usage(format!("cannot read the scenarios in `{}`: {e}", dir.display()));
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(cannot)? {
        let path = entry.map_err(cannot)?.path();
        if path.extension().is_some_and(|e| e == "toml") {
            files.push(path);
        }
    }
    files.sort_by_key(|path| name_of(path));
    Ok(files)
}

/// Reads a scenario by name, or by path if it has a `/` or ends in `.toml`.
pub fn load(dir: Option<&Path>, name: &str) -> Result<(String, Scenario)> {
    let path = path_of(dir, name)?;
    Ok((name_of(&path), read(&path)?))
}

/// Returns the file of a scenario that is given by name or by path.
pub(crate) fn path_of(dir: Option<&Path>, name: &str) -> Result<PathBuf> {
    if name.contains('/') || Path::new(name).extension().is_some_and(|e| e == "toml") {
        return Ok(name.into());
    }
    let dir = directory(dir)?;
    let path = dir.join(format!("{name}.toml"));
    if path.is_file() {
        return Ok(path);
    }
    let names: Vec<_> = files(&dir)?.iter().map(|path| name_of(path)).collect();
    let hint = match &near(name, &names)[..] {
        [] => "`cim-harness scenario --list` shows the names".to_owned(),
        near => format!("is it {}?", near.join(" or ")),
    };
    Err(Error::Usage(format!("scenario `{name}` is not in `{}`: {hint}", dir.display())))
}

/// Returns at most three similar names, the most similar first.
fn near(name: &str, names: &[String]) -> Vec<String> {
    let mut near: Vec<_> = names.iter().map(|n| (strsim::jaro_winkler(name, n), n)).collect();
    near.retain(|(likeness, n)| *likeness > 0.8 || n.contains(name));
    near.sort_by(|a, b| b.0.total_cmp(&a.0));
    near.into_iter().take(3).map(|(_, n)| format!("`{n}`")).collect()
}

/// Reads a file; the error has all its problems.
pub(crate) fn examine_file(path: &Path) -> Result<Scenario, Vec<Diagnostic>> {
    match std::fs::read_to_string(path) {
        Ok(text) => examine(path, &text),
        Err(error) => Err(vec![Diagnostic::unreadable(path, &error)]),
    }
}

fn read(path: &Path) -> Result<Scenario> {
    examine_file(path).map_err(|problems| Error::Usage(Diagnostic::first_of(&problems)))
}

fn name_of(path: &Path) -> String {
    path.file_stem().unwrap_or_default().to_string_lossy().into_owned()
}
