//! The way of one event, in docs/architecture.md and at the heads of modules: each file exists and has each function that
//! its row names.

use std::path::Path;

/// The heading of the table of docs/architecture.md.
const HEADING: &str = "## The way of one event\n";
/// Modules of the storage manager with a table of their own at the head.
const HEADS: [&str; 3] = ["tier/mod.rs", "journal/mod.rs", "chain/mod.rs"];

/// Returns each row of a table: its files, and its functions as `name` or `Type::name`, each of which is in one of them.
fn rows(table: &str) -> Vec<(Vec<&str>, Vec<&str>)> {
    let cells = table.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = cells.skip(1).map(|line| {
        let cells: Vec<_> = line.split(" | ").collect();
        let [_, files, functions, ..] = cells[..] else { panic!("not three cells: {line}") };
        (names(files), names(functions))
    });
    rows.collect()
}

/// Returns the names of a cell.
fn names(cell: &str) -> Vec<&str> {
    cell.split(", ").map(|name| name.trim_matches('`')).collect()
}

/// Returns the section of a page that has the table.
fn section(page: &str) -> &str {
    let (_, section) = page.split_once(HEADING).expect("the page has the table");
    section.split_once("\n## ").map_or(section, |(section, _)| section)
}

/// Returns the head of a module, without its comment signs.
fn head(source: &str) -> String {
    let lines = source.lines().map_while(|line| line.strip_prefix("//!"));
    lines.flat_map(|line| [line.trim_start(), "\n"]).collect()
}

/// Reports whether a source text defines a function, and the type before `::` if there is one.
fn defines(source: &str, function: &str) -> bool {
    let (owner, name) = match function.split_once("::") {
        Some((owner, name)) => (Some(owner), name),
        None => (None, function),
    };
    let is_end = |rest: &str| rest.starts_with(['(', '<']);
    let after = format!("fn {name}");
    let has_function = source.split(&after).skip(1).any(is_end);
    let of_owner = |owner: &str| {
        let heads = source.lines().filter(|line| line.starts_with("impl"));
        let is_other = |c: char| !c.is_alphanumeric() && c != '_';
        heads.flat_map(|line| line.split(is_other)).any(|word| word == owner)
    };
    has_function && owner.is_none_or(of_owner)
}

/// Returns the rows that do not hold, each with the reason.
fn wrong(table: &str, folder: &Path) -> Vec<String> {
    let found = rows(table).into_iter().flat_map(|(files, functions)| {
        let mut sources = String::new();
        let mut wrong = Vec::new();
        for file in &files {
            match std::fs::read_to_string(folder.join(file)) {
                Ok(source) => sources.push_str(&source),
                Err(_) => wrong.push(format!("`{file}` does not exist")),
            }
        }
        if wrong.is_empty() {
            let missing = functions.into_iter().filter(|function| !defines(&sources, function));
            let files = files.join("`, `");
            wrong.extend(missing.map(|function| format!("`{files}` has no `{function}`")));
        }
        wrong
    });
    found.collect()
}

#[test]
fn each_step_of_the_way_is_in_the_code() {
    let page = std::fs::read_to_string(super::project("docs/architecture.md")).unwrap();
    let folder = super::project("components/storage-manager/src");
    assert!(rows(section(&page)).len() > 20, "the table is read");
    let wrong = wrong(section(&page), &folder);
    assert!(wrong.is_empty(), "docs/architecture.md, {HEADING}{}", wrong.join("\n"));
}

#[test]
fn each_step_at_the_head_of_a_module_is_in_the_code() {
    let folder = super::project("components/storage-manager/src");
    for module in HEADS {
        let head = head(&std::fs::read_to_string(folder.join(module)).unwrap());
        assert!(rows(&head).len() >= 5, "the table of {module} is read");
        let wrong = wrong(&head, &folder);
        assert!(wrong.is_empty(), "{module}\n{}", wrong.join("\n"));
    }
}

#[test]
fn a_step_that_is_not_in_the_code_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let source =
        "struct A;\nimpl<T> A {\n    pub async fn there<T>(&self) {}\n}\nfn thereby() {}\n";
    std::fs::write(folder.path().join("a.rs"), source).unwrap();
    std::fs::write(folder.path().join("c.rs"), "fn other() {}\n").unwrap();
    let page = format!(
        "# Page\n{HEADING}\n| step | file | function | after it |\n|---|---|---|---|\n\
         | one | `a.rs` | `A::there`, `thereby` | x |\n\
         | two | `a.rs` | `B::there`, `A::the` | x |\n\
         | three | `b.rs` | `there` | x |\n\
         | four | `a.rs`, `c.rs` | `other`, `another` | x |\n\n## Other\n| not | this | one | row |\n"
    );
    let expected = [
        "`a.rs` has no `B::there`",
        "`a.rs` has no `A::the`",
        "`b.rs` does not exist",
        "`a.rs`, `c.rs` has no `another`",
    ];
    assert_eq!(wrong(section(&page), folder.path()), expected);
    let module = "//! Head.\n//!\n//! | step | file | function |\n//! |---|---|---|\n//! | one | `a.rs` | `no` |\n\nmod a;\n";
    assert_eq!(wrong(&head(module), folder.path()), ["`a.rs` has no `no`"]);
}
