//! The inventory: round trips, and the cases that Nix and this code must agree on.

use std::fs;
use std::path::{Path, PathBuf};

use cim_core::inventory::{Inventory, LAB_KEYS, ProblemKind};
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

use crate::support::Schema;

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fixtures/inventory")
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

/// A file of fixtures/inventory/cases.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    /// The form is wrong, so problems are not asked for.
    #[serde(default)]
    refused: bool,
    #[serde(default)]
    problems: Vec<Expected>,
    inventory: Value,
}

/// A problem that must be found: its kind, and what its line must name.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Expected {
    kind: ProblemKind,
    names: Vec<String>,
}

#[test]
fn every_case_has_the_problems_that_it_says() {
    let mut cases: Vec<_> =
        fs::read_dir(fixtures().join("cases")).unwrap().map(|e| e.unwrap().path()).collect();
    cases.sort();
    assert!(cases.len() >= 45, "{} cases", cases.len());
    for path in cases {
        let shown = path.file_name().unwrap().display().to_string();
        let case: Case =
            serde_json::from_str(&read(&path)).unwrap_or_else(|e| panic!("{shown}: {e}"));
        let inventory = serde_json::from_str::<Inventory>(&case.inventory.to_string());
        if case.refused {
            assert!(inventory.is_err(), "{shown} is read");
            continue;
        }
        let problems = inventory.unwrap_or_else(|e| panic!("{shown}: {e}")).problems();
        assert_eq!(problems.len(), case.problems.len(), "{shown}: {problems:#?}");
        for expected in &case.problems {
            let found = problems.iter().any(|problem| {
                let names = expected.names.iter().all(|name| problem.message.contains(&**name));
                problem.kind == expected.kind && names
            });
            assert!(
                found,
                "{shown}: no {} of {:?} in {problems:#?}",
                expected.kind, expected.names
            );
        }
        for problem in problems {
            assert!(!problem.message.contains('\n') && problem.message.contains('`'), "{problem}");
        }
    }
}

/// Checks that the inventories that the toolkit hands out can be used as they are.
#[test]
fn the_inventories_of_this_project_have_no_problems() {
    let schema = Schema::of::<Inventory>();
    for name in ["example", "lab"] {
        let text = read(&fixtures().join(format!("{name}.json")));
        let inventory: Inventory =
            serde_json::from_str(&text).unwrap_or_else(|e| panic!("{name}.json: {e}"));
        assert_eq!(schema.refusal(&serde_json::from_str(&text).unwrap()), None, "{name}.json");
        assert_eq!(inventory.problems(), [], "{name}.json");
        assert_eq!(inventory.lab, name == "lab");
    }
}

/// Checks that a public seed opens only labs.
#[test]
fn every_key_of_the_lab_is_refused_elsewhere() {
    let text = read(&fixtures().join("lab.json"));
    let mut lab: Inventory = serde_json::from_str(&text).unwrap();
    let keys: Vec<_> =
        lab.hosts.values().flat_map(|host| host.users()).map(|(_, key)| key.to_string()).collect();
    assert!(!keys.is_empty());
    for key in &keys {
        assert!(LAB_KEYS.contains(&key.as_str()), "`{key}` of lab.json is not in `LAB_KEYS`");
    }
    let nix = read(&fixtures().join("../../nixos/lib/lab-keys.nix"));
    let nix: Vec<_> = nix.split('"').filter(|word| word.len() == 56).collect();
    assert_eq!(nix, LAB_KEYS, "nixos/lib/lab-keys.nix and `LAB_KEYS` are one list");
    let seeds = fs::read_dir(fixtures().join("lab-keys")).unwrap().count();
    assert_eq!(seeds, LAB_KEYS.len(), "seeds in fixtures/inventory/lab-keys");
    lab.lab = false;
    let refused = lab.problems().iter().filter(|p| p.kind == ProblemKind::LabKey).count();
    assert_eq!(refused, keys.len());
}

#[test]
fn a_key_that_comes_twice_is_refused() {
    let text = r#"{"version":1,"name":"a","networks":{"lan":{"cidr":"10.0.0.0/8"},"lan":{"cidr":"11.0.0.0/8"}},"hosts":{}}"#;
    let error = serde_json::from_str::<Inventory>(text).unwrap_err().to_string();
    assert_eq!(error, "duplicate key `lan`: keep one of them at line 1 column 69");
}

fn span() -> impl Strategy<Value = Value> {
    "[1-9][0-9]{0,8}(ms|s|m|h)".prop_map(Value::from)
}

/// Draws one of the values, null, or no such key.
fn maybe(value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<Value>> {
    prop_oneof![Just(None), Just(Some(Value::Null)), value.prop_map(Some)].boxed()
}

/// Draws one of the values or no such key.
fn given(value: impl Strategy<Value = Value> + 'static) -> BoxedStrategy<Option<Value>> {
    prop_oneof![Just(None), value.prop_map(Some)].boxed()
}

/// Draws an object with some of the keys.
fn object(keys: Vec<(&'static str, BoxedStrategy<Option<Value>>)>) -> impl Strategy<Value = Value> {
    let (names, values): (Vec<_>, Vec<_>) = keys.into_iter().unzip();
    values.prop_map(move |values| {
        let pairs = names.iter().zip(values).filter_map(|(name, v)| Some(((*name).into(), v?)));
        Value::Object(pairs.collect())
    })
}

fn one_of(words: &'static [&'static str]) -> impl Strategy<Value = Value> {
    prop::sample::select(words).prop_map(Value::from)
}

fn subjects() -> impl Strategy<Value = Value> {
    prop::collection::vec("[a-z*]{1,3}(\\.[a-z]{1,3}){0,2}(\\.>)?", 0..3).prop_map(Value::from)
}

fn stream() -> impl Strategy<Value = Value> {
    object(vec![
        ("subjects", subjects().prop_map(Some).boxed()),
        ("description", maybe(any::<String>().prop_map(Value::from))),
        ("storage", given(one_of(&["file", "memory"]))),
        ("retention", given(one_of(&["limits", "interest", "workqueue"]))),
        ("discard", given(one_of(&["old", "new"]))),
        ("maxBytes", maybe((1..=9_007_199_254_740_991_u64).prop_map(Value::from))),
        ("maxMessages", maybe((1..10_u64).prop_map(Value::from))),
        ("maxAge", maybe(span())),
        ("maxMessageSize", maybe((1..=67_108_864_u64).prop_map(Value::from))),
        ("duplicateWindow", given(span())),
    ])
}

fn address() -> impl Strategy<Value = Value> {
    any::<u32>().prop_map(|bits| std::net::Ipv4Addr::from_bits(bits).to_string().into())
}

fn host() -> impl Strategy<Value = Value> {
    let nats = object(vec![
        ("maxFileStore", Just(Some(json!(1))).boxed()),
        ("maxMemoryStore", Just(Some(json!(1))).boxed()),
        ("port", given((1..=65_535_u64).prop_map(Value::from))),
        ("syncInterval", given(prop_oneof![Just(json!("always")), span()])),
    ]);
    let ssh = Just(json!({ "keys": ["ssh-ed25519 AAAAC3Nza ops"], "from": ["10.0.0.0/8"] }));
    object(vec![
        ("role", one_of(&["host", "nas", "fake-wasabi", "operator"]).prop_map(Some).boxed()),
        ("network", one_of(&["lan", "wan"]).prop_map(Some).boxed()),
        ("address", address().prop_map(Some).boxed()),
        ("system", given(one_of(&["x86_64-linux", "aarch64-linux"]))),
        ("ssh", maybe(ssh)),
        ("nats", maybe(nats)),
        (
            "s3",
            maybe(one_of(&["minio", "garage", "seaweedfs"]).prop_map(|p| json!({ "provider": p }))),
        ),
    ])
}

fn tiers() -> impl Strategy<Value = Value> {
    let tier = Just(json!({ "host": "nas", "bucket": "cim-archive" }));
    let name = || "[a-z0-9]{1,8}".prop_map(Value::from);
    let encryption = object(vec![
        ("tiers", given(one_of(&["both", "wasabi", "none"]))),
        ("key", maybe(name())),
        ("moreKeys", given(prop::collection::vec(name(), 0..3).prop_map(Value::from))),
    ]);
    let retention = object(vec![
        (
            "streams",
            prop::collection::vec("[A-Z*]{1,4}", 1..3).prop_map(|globs| Some(json!(globs))).boxed(),
        ),
        ("tier", maybe(one_of(&["nas", "wasabi"]))),
        ("maxAge", maybe("[1-9][0-9]{0,3}h".prop_map(Value::from))),
        ("maxMessages", maybe((1..1000_u64).prop_map(Value::from))),
    ]);
    object(vec![
        ("secondary", maybe(tier.clone())),
        ("tertiary", maybe(tier)),
        ("encryption", maybe(encryption)),
        ("retention", given(prop::collection::vec(retention, 0..3).prop_map(Value::from))),
    ])
}

fn inventory() -> impl Strategy<Value = Value> {
    let networks = Just(json!({ "lan": { "cidr": "10.0.0.0/8" } }));
    let map = |name, value: BoxedStrategy<Value>| {
        prop::collection::btree_map(name, value, 0..4).prop_map(|map| json!(map))
    };
    object(vec![
        ("version", (1..=4_u64).prop_map(|version| Some(json!(version))).boxed()),
        ("name", "[a-z0-9]{1,8}".prop_map(|name| Some(name.into())).boxed()),
        ("lab", given(any::<bool>().prop_map(Value::from))),
        ("networks", networks.prop_map(Some).boxed()),
        ("hosts", map("[a-z]{1,3}", host().boxed()).prop_map(Some).boxed()),
        ("streams", given(map("[A-Za-z_-]{1,4}", stream().boxed()))),
        ("tiers", given(tiers())),
    ])
}

#[test]
fn inventories_round_trip_and_fit_their_schema() {
    let schema = Schema::of::<Inventory>();
    proptest!(|(value in inventory())| {
        prop_assert_eq!(schema.refusal(&value), None);
        let read: Inventory = serde_json::from_str(&value.to_string())?;
        let written = serde_json::to_value(&read)?;
        prop_assert_eq!(schema.refusal(&written), None);
        let again: Inventory = serde_json::from_value(written)?;
        prop_assert_eq!(&again, &read);
        // Every problem is reported, one line each, and reported the same way again.
        let problems = read.problems();
        prop_assert!(problems.iter().all(|p| !p.message.contains('\n')));
        prop_assert_eq!(problems, again.problems());
    });
}
