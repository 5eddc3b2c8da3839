//! A run's directory, which holds everything that a run leaves on disk.

use std::path::{Path, PathBuf};

use crate::error::{Context as _, Result, make_dir};
use crate::lab::tools::project_dir;

/// The directory of one run.
#[derive(Debug)]
pub struct RunDir {
    path: PathBuf,
}

/// Returns the default parent of run directories: the value of `CIM_RUNS_DIR`, else `runs` of the
/// project, else `cim-runs` of the temporary directory.
pub fn default_root() -> PathBuf {
    let named = std::env::var_os("CIM_RUNS_DIR").map(PathBuf::from);
    let ours = || project_dir().map(|dir| dir.join("runs"));
    named.or_else(ours).unwrap_or_else(|| std::env::temp_dir().join("cim-runs"))
}

impl RunDir {
    /// Makes `<scenario>-<time>-<seed>` below `root`; two runs never share one.
    pub fn create(root: &Path, scenario: &str, seed: u64) -> Result<Self> {
        make_dir(root)?;
        let cannot = || format!("cannot make a run directory in `{}`", root.display());
        let root = root.canonicalize().setup(cannot)?;
        let time = jiff::Timestamp::now().strftime("%Y%m%dT%H%M%SZ").to_string();
        let name = format!("{scenario}-{time}-{seed}");
        for attempt in 1..100 {
            let name = if attempt == 1 { name.clone() } else { format!("{name}-{attempt}") };
            let path = root.join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(Self { path }),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).setup(cannot),
            }
        }
        Err(crate::Error::setup(cannot()))
    }

    /// Returns the directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the directory of the processes' logs.
    pub fn logs(&self) -> PathBuf {
        self.path.join("logs")
    }

    /// Returns the directory of the machines' disks.
    pub fn disks(&self) -> PathBuf {
        self.path.join("disks")
    }

    /// Deletes it with everything in it.
    pub fn remove(&self) -> Result<()> {
        std::fs::remove_dir_all(&self.path)
            .setup(|| format!("cannot delete `{}`", self.path.display()))
    }
}
