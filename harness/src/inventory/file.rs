//! The inventory file: reads it, and replaces it as a whole.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use cim_core::inventory::Inventory;

use crate::error::{Context as _, Error, Result};

/// Reads a file's text.
pub(super) fn text(path: &Path) -> Result<String> {
    fs::read_to_string(path).map_err(|error| {
        let path = path.display();
        Error::Usage(format!(
            "cannot read inventory `{path}`: {error}; name one with `--inventory` or `CIM_INVENTORY`, or start from a copy of fixtures/inventory/example.json"
        ))
    })
}

/// Reads an inventory; `path` is for the error only.
pub(super) fn parse(path: &Path, text: &str) -> Result<Inventory> {
    serde_json::from_str(text).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        // The position stands once, at the beginning.
        let message = error.to_string();
        let message = message.split(" at line ").next().unwrap_or_default();
        Error::Usage(format!("inventory `{}`:{line}:{column}: {message}", path.display()))
    })
}

pub(super) fn load(path: &Path) -> Result<Inventory> {
    parse(path, &text(path)?)
}

/// Replaces a file: every reader sees the old one or the new one, also after a power cut.
pub(super) fn replace(path: &Path, text: &str) -> Result<()> {
    let cannot = || format!("cannot write inventory `{}`", path.display());
    // A symbolic link stays one.
    let path = fs::canonicalize(path).setup(cannot)?;
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let new = path.with_file_name(name);
    let write = || {
        let mut file = fs::File::create_new(&new)?;
        file.set_permissions(fs::metadata(&path)?.permissions())?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&new, &path)?;
        let dir = path.parent().unwrap_or(Path::new("/"));
        fs::File::open(dir)?.sync_all()
    };
    write().inspect_err(|_| drop(fs::remove_file(&new))).setup(cannot)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_replaced_and_nothing_is_left_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let (path, link) = (dir.path().join("a.json"), dir.path().join("link.json"));
        fs::write(&path, "old").unwrap();
        std::os::unix::fs::symlink(&path, &link).unwrap();
        replace(&link, "new").unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 2);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_place() {
        let text = "{\n  \"version\": 1,\n  \"nmae\": \"a\"\n}";
        let error = parse(Path::new("a.json"), text).unwrap_err().to_string();
        assert!(
            error.starts_with("inventory `a.json`:3:8: unknown field `nmae`, expected"),
            "{error}"
        );
    }
}
