//! Words that a reader stumbles over stand nowhere in the sources and the docs.

use std::fs;
use std::path::{Path, PathBuf};

/// Vague words: a text names the program, the person or the thing instead.
const VAGUE: [&str; 4] = ["nobody", "somebody", "whoever", "what is there"];

/// Folders below the top of the workspace whose texts are checked, tests left out.
const FOLDERS: [&str; 3] = ["components", "harness", "docs"];

fn texts(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let is = |name: &str| path.file_name().is_some_and(|file| file == name);
        if path.is_dir() && !is("tests") && !is("target") {
            texts(&path, found);
        } else if path.extension().is_some_and(|ending| ending == "rs" || ending == "md") {
            found.push(path);
        }
    }
}

#[test]
fn texts_name_the_thing() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let mut files = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    for folder in FOLDERS {
        texts(&root.join(folder), &mut files);
    }
    assert!(files.len() > 300, "only {} files were found", files.len());
    let mut vague = Vec::new();
    for file in files {
        let text = fs::read_to_string(&file).unwrap();
        for (line, number) in text.lines().zip(1..) {
            let lower = line.to_lowercase();
            let words = VAGUE.iter().filter(|word| lower.contains(**word));
            vague.extend(words.map(|word| format!("{}:{number}: {word}", file.display())));
        }
    }
    assert!(vague.is_empty(), "{}", vague.join("\n"));
}

/// Folders whose modules are parts of their own: the head of each names what the part owns and what it does not.
#[test]
fn every_part_says_what_it_owns() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let harness = [
        "authoring",
        "bench",
        "cli",
        "engine",
        "inventory",
        "lab",
        "oracle",
        "report",
        "scenario",
        "selftest",
        "soak",
        "substrate",
        "workload",
        "schema",
    ];
    let mut heads: Vec<_> =
        harness.iter().map(|part| format!("harness/src/{part}/mod.rs")).collect();
    for crate_ in ["component-registry", "information-units", "pipeline-engine", "runtime"] {
        heads.push(format!("components/{crate_}/src/lib.rs"));
    }
    for part in ["tier", "journal", "chain", "restore", "segment", "s3"] {
        heads.push(format!("components/storage-manager/src/{part}/mod.rs"));
    }
    heads.extend(["lib.rs", "store/mod.rs"].map(|file| format!("harness/fake-wasabi/src/{file}")));
    let silent: Vec<_> = heads
        .into_iter()
        .filter(|path| {
            let text = fs::read_to_string(root.join(path)).unwrap();
            let head = text.lines().map_while(|line| line.strip_prefix("//!"));
            let head = head.collect::<Vec<_>>().concat().to_lowercase();
            !(head.contains("owns ") && head.contains("does not own"))
        })
        .collect();
    assert!(silent.is_empty(), "{silent:?}");
}
