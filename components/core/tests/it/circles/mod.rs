//! No circle of files: where a file uses another, that one does not use it back, by whatever way round.
//!
//! A module and those below it are one thing in several files, so between them anything goes. Tests are left out, as
//! are methods: they come with a type, and its name is in a path somewhere.

mod read;
mod tree;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use read::Uses;

/// Folders of crates, from the top of the workspace.
const CRATES: [&str; 2] = ["components", "harness"];

#[test]
fn no_files_form_a_circle() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap();
    let uses = read::workspace(&root, &CRATES);
    assert!(uses.between.len() > 1000, "only {} uses were found", uses.between.len());
    let found = shown(&uses);
    assert!(found.is_empty(), "{}", found.join("\n"));
}

/// Returns the sets of files that reach each other.
fn circles(uses: &Uses) -> Vec<Vec<&str>> {
    let mut after: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (from, to) in uses.between.keys() {
        after.entry(from).or_default().push(to);
    }
    let reached: BTreeMap<_, _> =
        after.keys().map(|&file| (file, tree::reached(file, &after))).collect();
    let mut circles: Vec<Vec<&str>> = Vec::new();
    for (&file, beyond) in &reached {
        if !beyond.contains(file) || circles.iter().flatten().any(|&known| known == file) {
            continue;
        }
        let back = |other: &&&str| reached.get(**other).is_some_and(|it| it.contains(file));
        circles.push(beyond.iter().filter(back).copied().collect());
    }
    circles
}

/// Returns a text for each circle: its files, and the lines that tie it.
fn shown(uses: &Uses) -> Vec<String> {
    let text = |circle: Vec<&str>| {
        let mut text = format!("{} files use each other in a circle:", circle.len());
        for ((from, to), lines) in &uses.between {
            if circle.contains(&from.as_str()) && circle.contains(&to.as_str()) {
                let _ = write!(text, "\n  {from} uses {to}");
                for (line, path) in lines {
                    let _ = write!(text, "\n    line {line}: {path}");
                }
            }
        }
        text
    };
    circles(uses).into_iter().map(text).collect()
}

/// Proves that the test above can fail: a made-up crate has a circle of three by each way of naming something, and a
/// parent that may use its children.
#[test]
fn a_made_up_circle_is_found() {
    let root = tempfile::tempdir().unwrap();
    let files = [
        ("made/up/src/lib.rs", "mod a; mod b; mod c; mod d; mod kept; pub use c::Last;"),
        ("made/up/src/a.rs", "use crate::b::Second;\npub struct First;\nfn f(_: Second) {}"),
        // Through what the root hands on, in a macro, and behind a name of its own.
        (
            "made/up/src/b.rs",
            "use crate as all;\npub struct Second;\nfn f() { assert!(all::Last::new().is_none()); }",
        ),
        // In an attribute; the test below it does not count.
        (
            "made/up/src/c.rs",
            "pub struct Last {\n#[serde(default = \"super::a::first\")]\nfirst: u8 }\n\
             #[cfg(test)]\nmod tests { use crate::d::D; }",
        ),
        ("made/up/src/d.rs", "pub struct D(crate::c::Last, super::kept::Parent);"),
        ("made/up/src/kept/mod.rs", "mod child; pub struct Parent(child::Child);"),
        ("made/up/src/kept/child.rs", "pub struct Child(Option<Box<super::Parent>>);"),
    ];
    for (file, text) in files {
        let path = root.path().join(file);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
    }
    std::fs::write(root.path().join("made/up/Cargo.toml"), "[package]\nname = \"made-up\"")
        .unwrap();
    let found = shown(&read::workspace(root.path(), &["made"]));
    insta::assert_snapshot!(found.join("\n"), @r"
    3 files use each other in a circle:
      made/up/src/a.rs uses made/up/src/b.rs
        line 1: crate::b::Second
      made/up/src/b.rs uses made/up/src/c.rs
        line 3: all::Last::new
      made/up/src/c.rs uses made/up/src/a.rs
        line 2: super::a::first
    ");
}
