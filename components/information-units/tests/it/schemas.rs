//! The schemas of the contract: that fixtures/schemas has them, and that no committed one changes.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use cim_information_units::schemas::all;

const ACCEPT: &str = "CIM_UPDATE_FIXTURES=1 INSTA_UPDATE=always cargo test -p cim-information-units --test it schemas";

#[test]
fn the_schemas_are_those_of_the_fixtures() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/schemas");
    let mut all = all();
    all.sort_by_key(|doc| doc.type_name);
    let mut hashes = String::new();
    for doc in all {
        let path = folder.join(doc.type_name).join(format!("v{}.json", doc.version));
        let text = format!("{:#}\n", doc.schema);
        if std::env::var_os("CIM_UPDATE_FIXTURES").is_some_and(|v| v == "1") && !path.exists() {
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, &text).unwrap();
        }
        let committed = fs::read_to_string(&path).unwrap_or_default();
        assert!(
            committed == text,
            "`fixtures/schemas/{}/v{}.json` is not the code's: a stored form never changes under its version; a new version is accepted with\n  {ACCEPT}",
            doc.type_name,
            doc.version
        );
        let hash = cim_runtime::component::digest::digest(&doc.schema);
        writeln!(hashes, "{} v{} {}", doc.type_name, doc.version, &hash[..32]).unwrap();
    }
    insta::assert_snapshot!("contract-schemas", hashes);
}
