//! The search for the programs of a lab.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// A program that a lab starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Tool {
    /// `nats-server`
    NatsServer,
    /// `minio`
    Minio,
    /// `weed`, SeaweedFS
    Weed,
    /// `versitygw`
    Versitygw,
    /// `cim-storage-manager`
    StorageManager,
    /// `cim-storage-manager-sabotaged`: the same with its test hooks
    SabotagedStorageManager,
    /// `cim-fake-wasabi`
    FakeWasabi,
    /// `nats`, natscli: the peer that benchmarks compare with
    Natscli,
    /// `cim-harness` itself, as the supervisor of the others
    Harness,
}

impl Tool {
    /// Returns the program's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::NatsServer => "nats-server",
            Self::Minio => "minio",
            Self::Weed => "weed",
            Self::Versitygw => "versitygw",
            Self::StorageManager => "cim-storage-manager",
            Self::SabotagedStorageManager => "cim-storage-manager-sabotaged",
            Self::FakeWasabi => "cim-fake-wasabi",
            Self::Natscli => "nats",
            Self::Harness => "cim-harness",
        }
    }

    /// Returns the environment variable that overrides the search.
    pub fn variable(self) -> &'static str {
        match self {
            Self::NatsServer => "CIM_NATS_SERVER",
            Self::Minio => "CIM_MINIO",
            Self::Weed => "CIM_WEED",
            Self::Versitygw => "CIM_VERSITYGW",
            Self::StorageManager => "CIM_STORAGE_MANAGER",
            Self::SabotagedStorageManager => "CIM_STORAGE_MANAGER_SABOTAGED",
            Self::FakeWasabi => "CIM_FAKE_WASABI",
            Self::Natscli => "CIM_NATSCLI",
            Self::Harness => "CIM_HARNESS",
        }
    }
}

/// The search for programs: the tool's own variable, `--bin-dir`, the directory of the running
/// program, `.tools/bin` of the project, `PATH`, in this order.
#[derive(Debug, Clone, Default)]
pub struct Tools {
    bin_dir: Option<PathBuf>,
    given: BTreeMap<Tool, PathBuf>,
}

impl Tools {
    /// Makes a search that looks into `bin_dir` first.
    pub fn new(bin_dir: Option<PathBuf>) -> Self {
        Self { bin_dir, given: BTreeMap::new() }
    }

    /// Returns the same search with a fixed path for one program.
    #[must_use]
    pub fn with(mut self, tool: Tool, program: PathBuf) -> Self {
        self.given.insert(tool, program);
        self
    }

    /// Returns the program's path.
    pub fn find(&self, tool: Tool) -> Result<PathBuf> {
        if let Some(given) = self.given.get(&tool) {
            return Ok(given.clone());
        }
        if let Some(path) = std::env::var_os(tool.variable()).filter(|v| !v.is_empty()) {
            let path = PathBuf::from(path);
            return if path.is_file() {
                Ok(path)
            } else {
                let (variable, path) = (tool.variable(), path.display());
                Err(Error::setup(format!("`{variable}` names `{path}`, which is not a file")))
            };
        }
        self.places().into_iter().map(|dir| dir.join(tool.name())).find(|p| p.is_file()).ok_or_else(
            || {
                let name = tool.name();
                let way_out = if tool == Tool::SabotagedStorageManager {
                    format!("run `ci/selftest --build`, or set `{}`", tool.variable())
                } else if name.starts_with("cim-") {
                    format!("run `cargo build --bin {name}`, or set `{}`", tool.variable())
                } else {
                    let nas = match tool {
                        Tool::Weed => " --nas seaweedfs",
                        Tool::Versitygw => " --nas versitygw",
                        _ => "",
                    };
                    format!("run `ci/setup{nas}`, or set `{}`", tool.variable())
                };
                Error::setup(format!("program `{name}` is not found: {way_out}"))
            },
        )
    }

    fn places(&self) -> Vec<PathBuf> {
        let mut places: Vec<PathBuf> = self.bin_dir.iter().cloned().collect();
        if let Some(dir) = std::env::current_exe().ok().as_deref().and_then(Path::parent) {
            places.push(dir.to_owned());
            // Test programs lie in `deps/`, one below the binaries.
            places.extend(dir.parent().filter(|_| dir.ends_with("deps")).map(Path::to_owned));
        }
        places.extend(project_dir().map(|dir| dir.join(".tools/bin")));
        if let Some(path) = std::env::var_os("PATH") {
            places.extend(std::env::split_paths(&path));
        }
        places
    }
}

/// Returns the project directory above the current directory or the running program: the one with
/// `fixtures/scenarios`, or with the `.tools` of `ci/setup`.
pub fn project_dir() -> Option<PathBuf> {
    let start = [std::env::current_dir().ok(), std::env::current_exe().ok()];
    start
        .iter()
        .flatten()
        .flat_map(|path| path.ancestors())
        .find(|dir| dir.join("fixtures/scenarios").is_dir() || dir.join(".tools/bin").is_dir())
        .map(Path::to_owned)
}

/// Returns the version that a program prints, without its own name.
pub async fn version(tool: Tool, program: &Path) -> String {
    let asked = if tool == Tool::Weed { "version" } else { "--version" };
    let output = tokio::process::Command::new(program).arg(asked).output().await;
    let text = output.map(|o| String::from_utf8_lossy(&o.stdout).into_owned()).unwrap_or_default();
    let line = text.lines().next().unwrap_or_default();
    let words: Vec<_> = line.split_whitespace().map(|w| w.trim_end_matches(',')).collect();
    // A version has a dot; SeaweedFS first says how large its volumes may be, `30GB`.
    let is_number = |w: &str| {
        w.trim_start_matches('v').starts_with(|c: char| c.is_ascii_digit()) && w.contains('.')
    };
    let numbered = words.iter().find(|w| is_number(w));
    // MinIO that was built from source says `minio version DEVELOPMENT.GOGET`.
    let named = || words.iter().skip_while(|w| **w != "version").nth(1);
    numbered.or_else(named).map_or_else(|| "unknown".to_owned(), |w| (*w).to_owned())
}
