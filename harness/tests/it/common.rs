//! Helpers of the tests: a lab in a directory that goes away, and waiting for conditions.

use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use cim_harness::lab::process::Launcher;
use cim_harness::lab::tools::Tools;
pub use cim_testing::skipped;
use cim_testing::tools_are_required;

pub const HARNESS: &str = env!("CARGO_BIN_EXE_cim-harness");

pub struct Lab {
    pub dir: tempfile::TempDir,
    pub tools: Tools,
    pub launcher: Launcher,
}

pub fn lab() -> Lab {
    let dir = tempfile::tempdir().unwrap();
    let tools = Tools::new(Path::new(HARNESS).parent().map(Path::to_owned));
    let launcher = Launcher::new(&tools, &dir.path().join("logs")).unwrap();
    Lab { dir, tools, launcher }
}

/// Polls until `probe` is true; fails after `seconds`.
pub fn eventually(what: &str, seconds: u64, mut probe: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(seconds);
    while !probe() {
        assert!(Instant::now() < deadline, "{what} did not happen within {seconds} s");
        std::thread::yield_now();
        std::thread::park_timeout(Duration::from_millis(20));
    }
}

/// Lists the process ids of all programs that have `text` on their command line.
pub fn processes_with(text: &str) -> Vec<u32> {
    let pids = std::fs::read_dir("/proc").unwrap().filter_map(|entry| {
        let pid: u32 = entry.ok()?.file_name().to_str()?.parse().ok()?;
        let line = std::fs::read(format!("/proc/{pid}/cmdline")).ok()?;
        let hit = String::from_utf8_lossy(&line).replace('\0', " ").contains(text);
        (hit && pid != std::process::id()).then_some(pid)
    });
    pids.collect()
}

/// Returns a command of the harness with an environment that holds none of its variables.
pub fn harness(args: &[&str]) -> Command {
    let mut command = Command::new(HARNESS);
    command.args(args).env("NO_COLOR", "1");
    let variables = [
        "BIN_DIR",
        "NATS_SERVER",
        "MINIO",
        "STORAGE_MANAGER",
        "STORAGE_MANAGER_SABOTAGED",
        "SCENARIOS",
        "RUNS_DIR",
    ];
    for variable in variables {
        command.env_remove(format!("CIM_{variable}"));
    }
    command.current_dir(env!("CARGO_MANIFEST_DIR"));
    command
}

/// Returns the storage manager beside the harness.
pub fn storage_manager() -> PathBuf {
    let path = Path::new(HARNESS).with_file_name("cim-storage-manager");
    assert!(path.is_file(), "`cim-storage-manager` is missing: run `cargo build --workspace`");
    path
}

/// Returns the one with test hooks, or `None` if it is missing and may be: that is printed, and counted by ci/test.
pub fn sabotaged(test: &str) -> Option<PathBuf> {
    let path = Path::new(HARNESS).with_file_name("cim-storage-manager-sabotaged");
    if path.is_file() {
        return Some(path);
    }
    assert!(!tools_are_required(), "`{}` is not there: run `ci/selftest --build`", path.display());
    skipped(test, "`cim-storage-manager-sabotaged` is not there: run `ci/selftest --build`");
    None
}

/// Writes a script and returns its path.
pub fn executable(path: &Path, text: &str) -> PathBuf {
    std::fs::write(path, text).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
    path.to_owned()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

pub fn scenarios() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/scenarios")
}

/// Writes a scenario small enough for a test, without bounds on times: the machine is shared.
pub fn small(name: &str) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string(scenarios().join(format!("{name}.toml"))).unwrap();
    let (text, _) = text.split_once("[expect]").unwrap_or((&text, ""));
    let path = dir.path().join(format!("{name}.toml"));
    std::fs::write(&path, text).unwrap();
    let path = path.to_str().unwrap().to_owned();
    (dir, path)
}
