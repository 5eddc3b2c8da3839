//! The schemas of fixtures/schemas, each version against itself and the one before.

use std::path::Path;

use cim_schema::{Class, judge};
use serde_json::Value;

/// Returns the versions of a type, oldest first.
fn versions(type_name: &str) -> Vec<(u32, Value)> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/schemas").join(type_name);
    let all = (1..100).filter_map(|version| {
        let text = std::fs::read_to_string(folder.join(format!("v{version}.json"))).ok()?;
        Some((version, serde_json::from_str(&text).unwrap()))
    });
    all.collect()
}

#[test]
fn every_committed_version_is_judged() {
    let mut pairs = 0;
    for type_name in
        ["event-envelope", "archive-entry", "journal-entry", "journal-checkpoint", "inventory"]
    {
        let versions = versions(type_name);
        assert!(!versions.is_empty(), "`{type_name}` has no schemas");
        for (version, schema) in &versions {
            let judgement = judge(schema, schema).unwrap();
            assert_eq!(judgement.class, Class::Full, "`{type_name}` v{version}: {judgement:#?}");
            assert_eq!(judgement.changes, [], "`{type_name}` v{version}");
        }
        for pair in versions.windows(2) {
            let judgement = judge(&pair[0].1, &pair[1].1).unwrap();
            // Archives of every format are read for ever.
            assert!(judgement.class.is_backward(), "`{type_name}` v{}: {judgement:#?}", pair[1].0);
            // A version that changes nothing would have no reason to be.
            assert_ne!(judgement.changes, [], "`{type_name}` v{}", pair[1].0);
            pairs += 1;
        }
    }
    assert!(pairs >= 10, "{pairs}");
}
