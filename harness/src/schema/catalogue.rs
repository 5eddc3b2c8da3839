//! Schemas by name and version, as they lie in a directory: `<name>/v<version>.json`.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use semver::Version;
use serde_json::Value;

use crate::error::{Context as _, Error, Result};
use crate::lab::tools::project_dir;

/// The folder of released schemas, one folder a release: they are never changed.
const RELEASED: &str = "released";

/// All schemas of a directory.
#[derive(Debug, Clone)]
pub(crate) struct Catalogue {
    /// The directory.
    pub(crate) dir: PathBuf,
    /// By name, the versions.
    pub(crate) schemas: BTreeMap<String, BTreeMap<u32, Value>>,
}

/// A schema's name, with a version or without: `inventory@4`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Name {
    /// The name.
    pub(crate) name: String,
    /// The version; the newest if it is left out.
    pub(crate) version: Option<u32>,
}

impl FromStr for Name {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version.trim_start_matches('v'))),
            None => (text, None),
        };
        let version = version.map(str::parse).transpose();
        let version = version.map_err(|_| "a version is a number, as in `inventory@4`")?;
        Ok(Self { name: name.to_owned(), version })
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

impl Catalogue {
    /// Reads a directory; without one, fixtures/schemas of the project.
    pub(crate) fn load(dir: Option<&Path>) -> Result<Self> {
        let project = || project_dir().map(|project| project.join("fixtures/schemas"));
        let dir = dir.map(Path::to_owned).or_else(project).ok_or_else(|| {
            Error::Usage("no project is here: name a directory of schemas with `--dir`".into())
        })?;
        let schemas = read(&dir)?;
        if schemas.is_empty() {
            let dir = dir.display();
            return Err(Error::Usage(format!(
                "`{dir}` has no schema `<name>/v<version>.json`: name another directory with `--dir`"
            )));
        }
        Ok(Self { dir, schemas })
    }

    /// Returns the newest release, and of each schema that was ever released what the last release that has it says;
    /// `None` before the first one.
    pub(crate) fn last_release(&self) -> Result<Option<(Version, Self)>> {
        let released = self.dir.join(RELEASED);
        if !released.is_dir() {
            return Ok(None);
        }
        let versions = names(&released)?.into_iter().filter_map(|name| name.parse().ok());
        let mut versions: Vec<Version> = versions.collect();
        versions.sort();
        let mut schemas: BTreeMap<String, BTreeMap<u32, Value>> = BTreeMap::new();
        for version in &versions {
            for (name, of_release) in read(&released.join(version.to_string()))? {
                schemas.entry(name).or_default().extend(of_release);
            }
        }
        Ok(versions.pop().map(|newest| (newest, Self { dir: released, schemas })))
    }

    /// Returns a schema and its version.
    pub(crate) fn find(&self, name: &Name) -> Result<(u32, &Value)> {
        let Some(versions) = self.schemas.get(&name.name) else {
            let known = self.schemas.keys();
            let near = known.max_by(|a, b| {
                let near = |known: &str| strsim::jaro_winkler(known, &name.name);
                near(a).total_cmp(&near(b))
            });
            let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
            return Err(Error::Usage(format!(
                "schema `{}` is unknown: {near}`cim-harness schema list` shows all",
                name.name
            )));
        };
        let version = name.version.or_else(|| versions.keys().next_back().copied());
        let found = version.and_then(|version| Some((version, versions.get(&version)?)));
        found.ok_or_else(|| {
            let known: Vec<_> = versions.keys().map(|version| format!("{version}")).collect();
            Error::Usage(format!(
                "schema `{name}` has no such version: it has {}",
                known.join(", ")
            ))
        })
    }
}

/// Reads the schemas of a directory. Folders without a file `v<version>.json` are passed over.
fn read(dir: &Path) -> Result<BTreeMap<String, BTreeMap<u32, Value>>> {
    let mut schemas = BTreeMap::new();
    for name in names(dir)? {
        let folder = dir.join(&name);
        if !folder.is_dir() || name == RELEASED {
            continue;
        }
        let mut versions = BTreeMap::new();
        for file in names(&folder)? {
            let number = file.strip_prefix('v').and_then(|rest| rest.strip_suffix(".json"));
            let Some(number) = number.and_then(|number| number.parse().ok()) else { continue };
            let path = folder.join(&file);
            let shown = || format!("cannot read schema `{}`", path.display());
            let text = std::fs::read_to_string(&path).setup(shown)?;
            versions.insert(number, serde_json::from_str(&text).setup(shown)?);
        }
        if !versions.is_empty() {
            schemas.insert(name, versions);
        }
    }
    Ok(schemas)
}

/// Lists the names in a directory, ascending.
fn names(dir: &Path) -> Result<Vec<String>> {
    let shown = || format!("cannot list `{}`", dir.display());
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir).setup(shown)? {
        names.push(entry.setup(shown)?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(files: &[(&str, &str)]) -> (tempfile::TempDir, Result<Catalogue>) {
        let dir = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = dir.path().join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, text).unwrap();
        }
        let catalogue = Catalogue::load(Some(dir.path()));
        (dir, catalogue)
    }

    #[test]
    fn versions_are_numbers_and_the_newest_is_meant() {
        let files = ["a/v9.json", "a/v10.json", "a/notes.txt", "b/examples/v1.json"];
        let (_dir, catalogue) = written(&files.map(|file| (file, "true")));
        let catalogue = catalogue.unwrap();
        assert_eq!(catalogue.schemas.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(catalogue.find(&"a".parse().unwrap()).unwrap().0, 10);
        assert_eq!(catalogue.find(&"a@9".parse().unwrap()).unwrap().0, 9);
        let error = |name: &str| catalogue.find(&name.parse().unwrap()).unwrap_err().to_string();
        assert_eq!(error("a@2"), "schema `a@2` has no such version: it has 9, 10");
        assert!(error("aa").contains("did you mean `a`?"), "{}", error("aa"));
        assert!("a@x".parse::<Name>().is_err());
    }

    #[test]
    fn the_last_release_is_by_number_and_what_an_earlier_one_had_counts_still() {
        let (_dir, catalogue) = written(&[
            ("a/v1.json", "true"),
            ("released/0.9.0/a/v1.json", "1"),
            ("released/0.9.0/b/v1.json", "2"),
            ("released/0.10.0/a/v1.json", "3"),
        ]);
        let (version, released) = catalogue.unwrap().last_release().unwrap().unwrap();
        assert_eq!(version, Version::new(0, 10, 0));
        assert_eq!(
            (&released.schemas["a"][&1], &released.schemas["b"][&1]),
            (&3.into(), &2.into())
        );
        let (_dir, catalogue) = written(&[("a/v1.json", "true")]);
        assert!(catalogue.unwrap().last_release().unwrap().is_none());
    }

    #[test]
    fn a_directory_without_schemas_and_a_broken_file_are_named() {
        assert!(written(&[("x.txt", "")]).1.unwrap_err().to_string().contains("`--dir`"));
        let error = written(&[("a/v1.json", "{")]).1.unwrap_err().chain();
        assert!(
            error.starts_with("cannot read schema `") && error.contains("a/v1.json"),
            "{error}"
        );
    }
}
