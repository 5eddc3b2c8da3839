//! docs/json.md: each field that it names is a field of the storage manager's output.

use std::path::Path;

/// Returns the identifiers of a table's first column and of the objects between backticks, each once.
fn fields(page: &str) -> Vec<&str> {
    let code = |text| str::split(text, '`').skip(1).step_by(2);
    let columns = page.lines().filter(|line| line.starts_with("| `"));
    let of_columns = columns.filter_map(|line| line.split(" | ").next()).flat_map(code);
    let objects = page.split('`').skip(1).step_by(2).filter(|span| span.starts_with(['{', '[']));
    let quoted = objects.flat_map(|span| span.split('"').skip(1).step_by(2));
    let names = of_columns.flat_map(|span| span.split('.')).chain(quoted);
    let mut names: Vec<_> =
        names.map(|name| name.trim_end_matches("[]")).filter(|name| !name.is_empty()).collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// Returns the source of every file below a folder.
fn sources(folder: &Path) -> String {
    let entries = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let texts = entries.map(|path| {
        if path.is_dir() { sources(&path) } else { std::fs::read_to_string(&path).unwrap() }
    });
    texts.collect()
}

/// Returns the fields of the page that no struct of the source has.
fn unknown<'a>(page: &'a str, source: &str) -> Vec<&'a str> {
    let has = |name: &str| {
        source.contains(&format!(" {name}: ")) || source.contains(&format!("rename = \"{name}\""))
    };
    fields(page).into_iter().filter(|name| !has(name)).collect()
}

#[test]
fn each_field_of_the_page_is_in_the_code() {
    let page = std::fs::read_to_string(super::project("docs/json.md")).unwrap();
    assert!(fields(&page).len() > 60, "the fields are read");
    let source = sources(&super::project("components/storage-manager/src"))
        + &sources(&super::project("components/core/src"));
    assert_eq!(unknown(&page, &source), Vec::<&str>::new());
}

#[test]
fn a_field_that_is_not_in_the_code_is_named() {
    let page = "| field | meaning |\n|---|---|\n| `a[].b`, `.c` | x: `{\"d\", \"e\"}` |\n";
    assert_eq!(fields(page), ["a", "b", "c", "d", "e"]);
    assert_eq!(unknown(page, "    a: u8,\n    pub d: u8,\n c: u8"), ["b", "e"]);
}
