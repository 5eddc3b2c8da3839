//! Programs and queries of docs/archive.md, as they stand there.

use std::path::Path;

/// Returns the blocks of a language in a section, which is named by its heading.
pub(crate) fn documented(section: &str, language: &str) -> Vec<String> {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/archive.md");
    let page = std::fs::read_to_string(page).unwrap();
    let (_, rest) = page.split_once(&format!("\n## {section}\n")).expect(section);
    let section = rest.split("\n## ").next().expect("there is a first part");
    let begin = format!("```{language}\n");
    let blocks = section.split(&begin).skip(1);
    blocks.map(|block| block.split("```").next().expect("it begins").to_owned()).collect()
}
