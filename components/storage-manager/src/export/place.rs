//! Files and directories that have their name when they are whole.

use std::fs::{File, Permissions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use tempfile::{NamedTempFile, TempDir};

use super::Place;

/// The rights of a file or directory; the umask takes from them.
const ALL: (u32, u32) = (0o666, 0o777);

/// A file.
pub(super) struct NewFile {
    file: BufWriter<NamedTempFile>,
    path: PathBuf,
}

/// A directory.
pub(super) struct NewDirectory {
    dir: TempDir,
    path: PathBuf,
}

/// Returns a temporary path beside the final one: a rename works within one file system only.
fn beside(path: &Path) -> io::Result<&Path> {
    if path.try_exists()? {
        return Err(io::Error::new(
            io::ErrorKind::AlreadyExists,
            "it is there already: name another one, or remove it",
        ));
    }
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    let parent = parent.unwrap_or(Path::new("."));
    if !parent.is_dir() {
        let what = format!("there is no directory `{}`: make it first", parent.display());
        return Err(io::Error::new(io::ErrorKind::NotFound, what));
    }
    Ok(parent)
}

impl NewFile {
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let mut begun = tempfile::Builder::new();
        let begun = begun.prefix(".cim-export-").permissions(Permissions::from_mode(ALL.0));
        let file = BufWriter::with_capacity(64 << 10, begun.tempfile_in(beside(path)?)?);
        Ok(Self { file, path: path.into() })
    }
}

impl Write for NewFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Place for NewFile {
    fn named(self) -> io::Result<()> {
        let file = self.file.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.as_file().sync_all()?;
        file.persist_noclobber(self.path)?;
        Ok(())
    }
}

impl NewDirectory {
    pub(super) fn begin(path: &Path) -> io::Result<Self> {
        let mut begun = tempfile::Builder::new();
        let begun = begun.prefix(".cim-export-").permissions(Permissions::from_mode(ALL.1));
        Ok(Self { dir: begun.tempdir_in(beside(path)?)?, path: path.into() })
    }

    /// Writes a file of it.
    pub(super) fn file(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        let mut file = File::create_new(self.dir.path().join(name))?;
        file.write_all(bytes)?;
        file.sync_all()
    }

    pub(super) fn named(self) -> io::Result<()> {
        beside(&self.path)?;
        std::fs::rename(self.dir.keep(), self.path)
    }
}
