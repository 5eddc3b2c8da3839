//! The way of one event in docs/architecture.md: each file exists and has each function that its row names.

use std::path::Path;

/// The heading of the table.
const HEADING: &str = "## The way of one event\n";

/// Returns each row of the table: its file, and its functions as `name` or `Type::name`.
fn rows(page: &str) -> Vec<(&str, Vec<&str>)> {
    let (_, section) = page.split_once(HEADING).expect("the page has the table");
    let section = section.split_once("\n## ").map_or(section, |(section, _)| section);
    let cells = section.lines().filter_map(|line| line.strip_prefix("| ")?.strip_suffix(" |"));
    let rows = cells.skip(1).map(|line| {
        let cells: Vec<_> = line.split(" | ").collect();
        let [_, file, functions, _] = cells[..] else { panic!("not four cells: {line}") };
        (file.trim_matches('`'), functions.split(", ").map(|name| name.trim_matches('`')).collect())
    });
    rows.collect()
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
fn wrong(page: &str, folder: &Path) -> Vec<String> {
    let found = rows(page).into_iter().flat_map(|(file, functions)| {
        let Ok(source) = std::fs::read_to_string(folder.join(file)) else {
            return vec![format!("`{file}` does not exist")];
        };
        let missing = functions.into_iter().filter(|function| !defines(&source, function));
        missing.map(|function| format!("`{file}` has no `{function}`")).collect()
    });
    found.collect()
}

#[test]
fn each_step_of_the_way_is_in_the_code() {
    let page = std::fs::read_to_string(super::project("docs/architecture.md")).unwrap();
    assert!(rows(&page).len() > 20, "the table is read");
    let wrong = wrong(&page, &super::project("components/storage-manager/src"));
    assert!(wrong.is_empty(), "docs/architecture.md, {HEADING}{}", wrong.join("\n"));
}

#[test]
fn a_step_that_is_not_in_the_code_is_named() {
    let folder = tempfile::tempdir().unwrap();
    let source =
        "struct A;\nimpl<T> A {\n    pub async fn there<T>(&self) {}\n}\nfn thereby() {}\n";
    std::fs::write(folder.path().join("a.rs"), source).unwrap();
    let page = format!(
        "# Page\n{HEADING}\n| step | file | function | after it |\n|---|---|---|---|\n\
         | one | `a.rs` | `A::there`, `thereby` | x |\n\
         | two | `a.rs` | `B::there`, `A::the` | x |\n\
         | three | `b.rs` | `there` | x |\n\n## Other\n| not | this | one | row |\n"
    );
    let expected = ["`a.rs` has no `B::there`", "`a.rs` has no `A::the`", "`b.rs` does not exist"];
    assert_eq!(wrong(&page, folder.path()), expected);
}
