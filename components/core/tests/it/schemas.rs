//! The schemas under fixtures/schemas: that they are the code's, and that no committed one changes.
//!
//! `CIM_UPDATE_FIXTURES=1` writes the file of a version that has none yet, and refreshes titles and
//! descriptions. It never changes what a committed version accepts: that takes a new version.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use cim_core::schemas::{SchemaDoc, schemas};
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::support::Schema;

const ACCEPT: &str =
    "CIM_UPDATE_FIXTURES=1 INSTA_UPDATE=always cargo test -p cim-core --test it schemas";

/// Returns the folder of the fixtures, brought up to date first if that was asked for.
fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/schemas");
        if std::env::var_os("CIM_UPDATE_FIXTURES").is_some_and(|value| value == "1") {
            for doc in &schemas() {
                update(&folder, doc);
            }
        }
        folder
    })
}

fn update(folder: &Path, doc: &SchemaDoc) {
    let path = path(folder, doc.type_name, doc.version);
    if path.exists() && rules(&read(&path)) != rules(&doc.schema) {
        return;
    }
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, pretty(&doc.schema)).unwrap();
}

fn path(folder: &Path, type_name: &str, version: u32) -> PathBuf {
    folder.join(type_name).join(format!("v{version}.json"))
}

fn read(path: &Path) -> Value {
    let text = fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn pretty(schema: &Value) -> String {
    format!("{schema:#}\n")
}

/// Returns a schema without its texts for people.
fn rules(schema: &Value) -> Value {
    match schema {
        Value::Object(fields) => fields
            .iter()
            // A property of such a name is an object, not a string.
            .filter(|(name, value)| {
                !(matches!(name.as_str(), "title" | "description") && value.is_string())
            })
            .map(|(name, value)| (name.clone(), rules(value)))
            .collect(),
        Value::Array(items) => items.iter().map(rules).collect(),
        other => other.clone(),
    }
}

/// Returns the names in a folder, sorted; none if it does not exist.
fn names(folder: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(folder) else { return Vec::new() };
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// Returns the versions of a type in the fixtures.
fn versions(type_name: &str) -> BTreeMap<u32, PathBuf> {
    let folder = folder().join(type_name);
    names(&folder)
        .into_iter()
        .filter_map(|name| {
            let version = name.strip_prefix('v')?.strip_suffix(".json")?.parse().ok()?;
            Some((version, folder.join(name)))
        })
        .collect()
}

#[test]
fn the_code_writes_what_the_committed_schemas_say() {
    for doc in schemas() {
        let path = path(folder(), doc.type_name, doc.version);
        let shown = format!("fixtures/schemas/{}/v{}.json", doc.type_name, doc.version);
        assert!(
            path.exists(),
            "`{shown}` is missing; if the version is meant, accept it:\n  {ACCEPT}"
        );
        let committed = read(&path);
        assert!(
            rules(&committed) == rules(&doc.schema),
            "the schema of `{}` is not that of `{shown}` any more: {}\n\
             a stored form never changes under its version: bump `WireType::VERSION`, then accept it:\n  {ACCEPT}",
            doc.type_name,
            first_difference(&pretty(&rules(&committed)), &pretty(&rules(&doc.schema))),
        );
        assert!(
            committed == doc.schema,
            "the descriptions in `{shown}` are not those of the code any more: {}\naccept them:\n  {ACCEPT}",
            first_difference(&pretty(&committed), &pretty(&doc.schema)),
        );
    }
}

fn first_difference(committed: &str, current: &str) -> String {
    let (mut a, mut b) = (committed.lines(), current.lines());
    loop {
        match (a.next(), b.next()) {
            (None, None) => return "the texts are equal".to_owned(),
            (a, b) if a == b => {}
            (a, b) => return format!("`{}` is now `{}`", a.unwrap_or(""), b.unwrap_or("")),
        }
    }
}

/// Compares every committed version with the hash of its rules: a version that changes, or goes, shows
/// here even if file and code agree.
#[test]
fn committed_versions_stay_as_they_are() {
    let mut list = String::new();
    for type_name in names(folder()) {
        for (version, path) in versions(&type_name) {
            let hash = Sha256::digest(rules(&read(&path)).to_string());
            writeln!(list, "{type_name} v{version} {}", hex::encode(&hash[..16])).unwrap();
        }
    }
    insta::assert_snapshot!("committed-schemas", list);
}

#[test]
fn versions_count_from_the_first_to_the_current() {
    for doc in schemas() {
        let committed: Vec<_> = versions(doc.type_name).into_keys().collect();
        let wanted: Vec<_> = (doc.first..=doc.version).collect();
        assert_eq!(committed, wanted, "versions of `{}` in fixtures/schemas", doc.type_name);
    }
    let mut names: Vec<_> = schemas().iter().map(|doc| doc.type_name).collect();
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), schemas().len(), "two types have one name");
}

/// Returns the sample documents of one version: text by file name.
fn samples(type_name: &str, kind: &str, version: u32) -> Vec<(String, String)> {
    let folder = folder().join(type_name).join(kind).join(format!("v{version}"));
    names(&folder)
        .into_iter()
        .map(|name| {
            let text = fs::read_to_string(folder.join(&name)).unwrap();
            (format!("{type_name}/{kind}/v{version}/{name}"), text)
        })
        .collect()
}

/// Checks that documents of every version fit that version's schema, and that the current code reads them.
#[test]
fn sample_documents_fit_their_schema_and_are_read() {
    for doc in schemas() {
        for (version, path) in versions(doc.type_name) {
            let schema = Schema::new(read(&path));
            let examples = samples(doc.type_name, "examples", version);
            assert!(!examples.is_empty(), "`{}` v{version} has no examples", doc.type_name);
            for (name, text) in examples {
                let value = serde_json::from_str(&text).unwrap();
                assert_eq!(schema.refusal(&value), None, "`{name}`");
                doc.check(&text).unwrap_or_else(|e| panic!("`{name}` is not read: {e}"));
            }
        }
    }
}

/// Checks that wrong documents are refused by the schema of their version, and by the code.
#[test]
fn wrong_documents_are_refused() {
    for doc in schemas() {
        let schema = Schema::new(read(&path(folder(), doc.type_name, doc.version)));
        let refused = samples(doc.type_name, "refused", doc.version);
        assert!(!refused.is_empty(), "`{}` v{} refuses nothing", doc.type_name, doc.version);
        for (name, text) in refused {
            let value = serde_json::from_str(&text).unwrap();
            assert!(schema.refusal(&value).is_some(), "the schema accepts `{name}`");
            assert!(doc.check(&text).is_err(), "the code reads `{name}`");
        }
    }
}
