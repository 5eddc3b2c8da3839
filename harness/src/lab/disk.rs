//! Disks that can be full: a tmpfs of a given size each, in a mount namespace that only this
//! harness and its child processes are in.
//!
//! The namespace is gone with its last process, and every mount in it with the namespace. So there
//! is nothing to unmount after a harness that was killed, and no other process ever sees these
//! disks.

use std::ffi::{CString, OsString};
use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

use crate::error::{Context as _, Error, Result, make_dir};

/// The variable that holds the mount namespace in which the harness was started.
const OUTSIDE: &str = "CIM_HARNESS_OUTSIDE";
/// The file that [`Disk::fill`] writes, in the disk's root.
const FILLER: &str = "filler";
/// Bytes that are written at once while a disk is filled.
const BLOCK: usize = 256 * 1024;

static WHY_NOT: OnceLock<String> = OnceLock::new();

/// Moves this process into a mount namespace of its own. The same process starts the program again
/// there, so the function returns only if it is there already, or if no namespace can be had. Call
/// it before anything else is started.
///
/// Root needs nothing else; other users get a user namespace besides, where the kernel allows one.
pub(crate) fn enter_own_namespace() {
    if inside() {
        return;
    }
    if let Err(why) = try_enter() {
        // The first reason is as good as any other.
        drop(WHY_NOT.set(why));
    }
}

/// Returns the reason why there can be no disks of a given size, or `None` if there can.
pub(crate) fn why_not() -> Option<String> {
    if inside() {
        return None;
    }
    Some(WHY_NOT.get().map_or_else(|| "no mount namespace was requested".into(), Clone::clone))
}

/// Reports whether this process has left the namespace that it was first started in.
fn inside() -> bool {
    let outside = std::env::var_os(OUTSIDE);
    outside.is_some() && outside != namespace()
}

fn namespace() -> Option<OsString> {
    std::fs::read_link("/proc/self/ns/mnt").ok().map(PathBuf::into_os_string)
}

fn try_enter() -> Result<(), String> {
    let here = namespace().ok_or("/proc is not mounted")?;
    let kind: &[&str] =
        if rustix::process::geteuid().is_root() { &[] } else { &["--user", "--map-root-user"] };
    let unshare = || {
        let mut command = Command::new("unshare");
        command.arg("--mount").args(kind).arg("--");
        command
    };
    // The probe's mount is gone before any other process can see it.
    let mut probe = unshare();
    probe.args(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs"]).arg(std::env::temp_dir());
    let tried = probe.stdin(Stdio::null()).output();
    let tried = tried.map_err(|e| format!("`unshare` of util-linux cannot be run: {e}"))?;
    if !tried.status.success() {
        let said = String::from_utf8_lossy(&tried.stderr).trim().replace('\n', " | ");
        return Err(format!("a tmpfs cannot be mounted: {said}"));
    }
    let program = std::env::current_exe().map_err(|e| format!("cannot find the program: {e}"))?;
    let error = unshare().arg(program).args(std::env::args_os().skip(1)).env(OUTSIDE, here).exec();
    Err(format!("`unshare` of util-linux cannot be run: {error}"))
}

/// A disk of a given size. Dropping it unmounts it and deletes its content.
#[derive(Debug)]
pub(crate) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// Mounts a disk of `size` bytes, rounded up to pages, at `path`.
    pub(crate) fn mount(path: &Path, size: u64) -> Result<Self> {
        let shown = path.display();
        if let Some(why) = why_not() {
            return Err(Error::setup(format!("no disk of a given size at `{shown}`: {why}")));
        }
        make_dir(path)?;
        let options =
            CString::new(format!("size={size},mode=0755")).expect("there is no NUL in it");
        let flags = MountFlags::NODEV | MountFlags::NOSUID;
        mount("cim-disk", path, "tmpfs", flags, Some(options.as_c_str()))
            .setup(|| format!("cannot mount a disk of {size} bytes at `{shown}`"))?;
        Ok(Self { path: path.to_owned() })
    }

    /// Returns the free bytes.
    pub(crate) fn available(&self) -> Result<u64> {
        let cannot = || format!("cannot ask for the room on `{}`", self.path.display());
        let found = rustix::fs::statvfs(&self.path).step(cannot)?;
        Ok(found.f_bavail * found.f_frsize)
    }

    /// Writes a file until `leave` bytes are free, or none.
    pub(crate) fn fill(&self, leave: u64) -> Result<()> {
        let path = self.path.join(FILLER);
        let cannot = || format!("cannot write `{}`", path.display());
        let mut file = OpenOptions::new().create(true).append(true).open(&path).step(cannot)?;
        let zeros = vec![0; BLOCK];
        loop {
            let more = self.available()?.saturating_sub(leave);
            let more = usize::try_from(more).unwrap_or(BLOCK).min(BLOCK);
            match file.write(&zeros[..more]) {
                Ok(0) => return Ok(()),
                Ok(_) => {}
                // Another process took the last of it.
                Err(error) if error.kind() == std::io::ErrorKind::StorageFull => return Ok(()),
                Err(error) => return Err(error).step(cannot),
            }
        }
    }

    /// Deletes the file that [`Self::fill`] wrote.
    pub(crate) fn free(&self) -> Result<()> {
        let path = self.path.join(FILLER);
        std::fs::remove_file(&path).step(|| format!("cannot delete `{}`", path.display()))
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Programs of the lab may be about to end and still hold files: the mount goes when they
        // are gone.
        let _ = unmount(&self.path, UnmountFlags::DETACH);
    }
}
