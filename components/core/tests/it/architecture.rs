//! Crates depend only on what docs/architecture.md lets them, and the top level does not grow.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde::Deserialize;
use serde_json::{Value, json};

/// Crates that mean I/O: cim-core does without.
const IO: [&str; 6] = ["tokio", "async-nats", "rust-s3", "hyper", "reqwest", "parquet"];

/// All that may lie at the top: what holds the project, and what git, CI and cargo need there.
const TOP: [&str; 26] = [
    ".ci",
    ".editorconfig",
    ".gitattributes",
    ".github",
    ".gitignore",
    ".typos.toml",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "SECURITY.md",
    "ci",
    "clippy.toml",
    "components",
    "deny.toml",
    "docs",
    "findings",
    "fixtures",
    "flake.lock",
    "flake.nix",
    "harness",
    "nixos",
    TOOLCHAIN,
    "rustfmt.toml",
];
const TOOLCHAIN: &str = "rust-toolchain.toml";

/// What `cargo metadata` tells, as far as it matters here.
#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
}

#[derive(Deserialize)]
struct Package {
    manifest_path: PathBuf,
    dependencies: Vec<Dependency>,
}

#[derive(Deserialize)]
struct Dependency {
    name: String,
    /// `dev` or `build`.
    kind: Option<String>,
    /// Where it is not in this workspace: a registry, or a repository.
    source: Option<String>,
    path: Option<PathBuf>,
}

#[test]
fn crates_depend_only_on_what_they_may() {
    let found = wrong(&metadata());
    assert!(found.is_empty(), "see docs/architecture.md:\n{}", found.join("\n"));
}

/// Proves that the test above can fail: each forbidden dependency is planted, and found.
#[test]
fn a_planted_dependency_is_found() {
    let within = |folder: &str| json!({ "path": root().join(folder) });
    let registry = json!({ "source": "registry+https://github.com/rust-lang/crates.io-index" });
    let git = json!({ "source": "git+https://example.org/planted" });
    let planted = [
        ("components/core", "cim-runtime", Value::Null, within("components/runtime")),
        ("components/core", "tokio", Value::Null, registry.clone()),
        ("components/core", "hyper", json!("build"), registry.clone()),
        (
            "components/runtime",
            "cim-storage-manager",
            Value::Null,
            within("components/storage-manager"),
        ),
        (
            "components/storage-manager",
            "cim-fake-wasabi",
            Value::Null,
            within("harness/fake-wasabi"),
        ),
        ("components/storage-manager", "cim-harness", json!("dev"), within("harness")),
        ("harness", "cim-storage-manager", Value::Null, within("components/storage-manager")),
        ("harness", "cim-runtime", json!("build"), within("components/runtime")),
        ("harness/fake-wasabi", "cim-core", json!("dev"), within("components/core")),
        ("components/core", "cim-testing", Value::Null, within("components/testing")),
        ("harness", "cim-testing", json!("build"), within("components/testing")),
        ("components/testing", "cim-core", Value::Null, within("components/core")),
        ("components/testing", "cim-fake-wasabi", json!("dev"), within("harness/fake-wasabi")),
        ("components/runtime", "planted", Value::Null, git),
        ("harness", "planted", Value::Null, json!({ "path": "/elsewhere" })),
    ];
    let mut said = Vec::new();
    for (from, name, kind, rest) in planted {
        said.extend(wrong(&with(from, dependency(name, &kind, &rest))));
    }
    insta::assert_snapshot!(said.join("\n"), @r"
    `components/core` depends on `components/runtime` (normal)
    `components/core` depends on `tokio` (normal): cim-core does no I/O
    `components/core` depends on `hyper` (build): cim-core does no I/O
    `components/runtime` depends on `components/storage-manager` (normal)
    `components/storage-manager` depends on `harness/fake-wasabi` (normal)
    `components/storage-manager` depends on `harness` (dev)
    `harness` depends on `components/storage-manager` (normal)
    `harness` depends on `components/runtime` (build)
    `harness/fake-wasabi` depends on `components/core` (dev)
    `components/core` depends on `components/testing` (normal)
    `harness` depends on `components/testing` (build)
    `components/testing` depends on `components/core` (normal)
    `components/testing` depends on `harness/fake-wasabi` (dev)
    `components/runtime` depends on `planted` from `git+https://example.org/planted`: only crates.io and this workspace are allowed
    `harness` depends on `/elsewhere` (normal)
    ");
    let allowed = [
        (
            "components/storage-manager",
            "cim-fake-wasabi",
            json!("dev"),
            within("harness/fake-wasabi"),
        ),
        ("components/core", "tokio", json!("dev"), registry),
        ("components/core", "cim-testing", json!("dev"), within("components/testing")),
        ("harness", "cim-testing", json!("dev"), within("components/testing")),
    ];
    for (from, name, kind, rest) in allowed {
        assert!(wrong(&with(from, dependency(name, &kind, &rest))).is_empty(), "{from} to {name}");
    }
}

#[test]
fn a_crate_in_no_layer_is_found() {
    let mut metadata = metadata();
    metadata.packages[0].manifest_path = "/elsewhere/Cargo.toml".into();
    metadata.packages[1].manifest_path = root().join("harness/deep/Cargo.toml");
    let found = wrong(&metadata);
    for folder in ["/elsewhere", "harness/deep"] {
        let text = format!("crate `{folder}` lies in no layer");
        assert!(found.contains(&text), "{found:?}");
    }
}

#[test]
fn the_top_level_does_not_grow() {
    // Sources that came without their history, as in Nix, are as git had them.
    if !root().join(".git").exists() {
        return;
    }
    let listed = listed(&[]);
    let new = listed.iter().filter_map(|path| path.split('/').next());
    let new: Vec<_> = new.filter(|name| !TOP.contains(name)).collect();
    assert!(new.is_empty(), "put it into a folder, or allow it here: {new:?}");
}

/// What two crates need lies in cim-testing, so that it is compiled, read and changed once.
#[test]
fn no_crate_includes_a_file_of_another_one() {
    if !root().join(".git").exists() {
        return;
    }
    let mut found = Vec::new();
    for file in listed(&["*.rs"]) {
        // One that was moved away is listed still.
        let text = std::fs::read_to_string(root().join(&file)).unwrap_or_default();
        found.extend(
            included(&text)
                .filter(|path| is_foreign(&file, path))
                .map(|path| format!("`{file}` includes `{path}`")),
        );
    }
    assert!(found.is_empty(), "put it into components/testing: {found:?}");
    let planted = "#[path = \"../../core/tests/it/model.rs\"]\nmod model;";
    let planted =
        included(planted).filter(|path| is_foreign("components/runtime/src/lib.rs", path));
    assert_eq!(planted.collect::<Vec<_>>(), ["../../core/tests/it/model.rs"]);
}

/// Returns the paths of a file's `#[path]` attributes.
fn included(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.lines().filter_map(|line| line.trim_start().strip_prefix("#[path = \""));
    lines.filter_map(|rest| rest.split('"').next())
}

/// Returns true if a path, as a file names it, leads out of the file's crate.
fn is_foreign(file: &str, path: &str) -> bool {
    let folders = file.split('/').count() - 1;
    let manifest = |depth: &usize| {
        let folder: PathBuf = file.split('/').take(*depth).collect();
        root().join(folder).join("Cargo.toml").is_file()
    };
    let crate_depth = (1..=folders).rev().find(manifest).unwrap_or_default();
    path.split('/').filter(|part| *part == "..").count() > folders - crate_depth
}

#[test]
fn the_compiler_that_is_pinned_is_the_oldest_that_will_do() {
    let read = |file: &str, key: &str| {
        let text = std::fs::read_to_string(root().join(file)).unwrap();
        let line = text.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
        line.split('"').nth(1).unwrap().to_owned()
    };
    // In Nix it is nixpkgs that says which compiler there is.
    if root().join(TOOLCHAIN).exists() {
        let pinned = read(TOOLCHAIN, "channel");
        assert_eq!(pinned, format!("{}.0", read("Cargo.toml", "rust-version")));
    }
}

/// Says of each crate and of each dependency what is wrong with it.
fn wrong(metadata: &Metadata) -> Vec<String> {
    let mut wrong = Vec::new();
    for package in &metadata.packages {
        let from = folder(package.manifest_path.parent().unwrap());
        if !is_layer(&from) {
            wrong.push(format!("crate `{from}` lies in no layer"));
        }
        for dependency in &package.dependencies {
            wrong.extend(objection(&from, dependency));
        }
    }
    wrong
}

fn objection(from: &str, dependency: &Dependency) -> Option<String> {
    let Dependency { name, kind, source, path } = dependency;
    let kind = kind.as_deref().unwrap_or("normal");
    if let Some(path) = path {
        let to = folder(path);
        return (!may(from, kind, &to)).then(|| format!("`{from}` depends on `{to}` ({kind})"));
    }
    let source = source.as_deref().unwrap_or("nowhere");
    if !source.starts_with("registry+") {
        return Some(format!(
            "`{from}` depends on `{name}` from `{source}`: only crates.io and this workspace are allowed"
        ));
    }
    let io = from == "components/core" && kind != "dev" && IO.contains(&name.as_str());
    io.then(|| format!("`{from}` depends on `{name}` ({kind}): cim-core does no I/O"))
}

fn is_layer(folder: &str) -> bool {
    match folder.split_once('/') {
        Some(("components", name)) => !name.contains('/'),
        _ => ["harness", "harness/fake-wasabi"].contains(&folder),
    }
}

/// Returns true if the crate in one folder may depend on the one in another.
fn may(from: &str, kind: &str, to: &str) -> bool {
    let of_tests = kind == "dev";
    match (from, to) {
        ("components/testing", _) => false,
        (_, "components/testing") | ("harness", "harness/fake-wasabi") => of_tests,
        ("components/core" | "components/schema", _) => false,
        ("components/runtime", to) => to == "components/core",
        ("harness", "components/core" | "components/schema") => kind != "build",
        (component, "components/core" | "components/runtime") => {
            component.starts_with("components/")
        }
        (component, "harness/fake-wasabi") => component.starts_with("components/") && of_tests,
        _ => false,
    }
}

/// Returns a path within the project without the project's own.
fn folder(path: &Path) -> String {
    path.strip_prefix(root()).unwrap_or(path).to_str().unwrap().to_owned()
}

fn root() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    root.canonicalize().unwrap()
}

/// Lists the files that git has or would have, by patterns.
fn listed(patterns: &[&str]) -> Vec<String> {
    let listed = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard"])
        .args(patterns)
        .current_dir(root())
        .output()
        .unwrap();
    assert!(listed.status.success(), "{}", String::from_utf8_lossy(&listed.stderr));
    String::from_utf8(listed.stdout).unwrap().lines().map(str::to_owned).collect()
}

fn metadata() -> Metadata {
    let output = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--no-deps", "--offline", "--format-version", "1"])
        .current_dir(root())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// Returns the project with one more dependency.
fn with(from: &str, dependency: Dependency) -> Metadata {
    let mut metadata = metadata();
    let manifest = root().join(from).join("Cargo.toml");
    let mut packages = metadata.packages.iter_mut();
    let package = packages.find(|package| package.manifest_path == manifest).unwrap();
    package.dependencies.push(dependency);
    metadata
}

/// Makes a dependency as cargo tells of one.
fn dependency(name: &str, kind: &Value, rest: &Value) -> Dependency {
    let mut dependency = json!({ "name": name, "kind": kind });
    dependency.as_object_mut().unwrap().extend(rest.as_object().unwrap().clone());
    serde_json::from_value(dependency).unwrap()
}
