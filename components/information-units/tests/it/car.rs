//! Units leave as a CAR file, and come in elsewhere as they were.

use std::path::PathBuf;

use cim_core::names::ContentId;
use iroh_car::CarReader;
use serde_json::{Value, json};

use crate::support::{Nats, Program, call, note, run};

fn file(nats: &Nats, name: &str, bytes: &[u8]) -> PathBuf {
    let path = nats.dir.path().join(name);
    std::fs::write(&path, bytes).unwrap();
    path
}

/// Makes two units that link to each other, with content, versions and a type whose second version the first ones do
/// not meet.
async fn history(nats: &Nats) -> Vec<u8> {
    let client = &nats.client;
    let long: Vec<u8> =
        (0..900_000_u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    let path = file(nats, "long", &long);
    let (status, out, err) = run(nats, &["put", "--create", path.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{err}");
    let content = String::from_utf8(out).unwrap().trim().to_owned();
    let path = file(nats, "short", b"a short text");
    assert_eq!(run(nats, &["put", path.to_str().unwrap()]).0, Some(0));
    let short = ContentId::of(b"a short text");

    let schema = json!({"type": "object", "required": ["title"]});
    call(client, "type.register", json!({"type": "note", "schema": schema})).await.unwrap();
    let mut a = note("a", "first");
    a["type"] = "note".into();
    a["content"] = content.into();
    a["metadata"]["numbers"] = json!([1, -2, 0.5, true, null, {"z": 1, "aa": 2}]);
    call(client, "unit.create", a.clone()).await.unwrap();
    let schema = json!({"type": "object", "required": ["author"]});
    let newer = json!({"type": "note", "schema": schema, "expected": 1});
    call(client, "type.register", newer).await.unwrap();
    call(client, "unit.create", note("b", "other")).await.unwrap();
    call(client, "unit.create", note("alone", "not of these")).await.unwrap();
    for (unit, target) in [("a", "b"), ("b", "a")] {
        let link = json!({"unit": unit, "relation": "cites", "target": target});
        call(client, "unit.link", link).await.unwrap();
    }
    let got = call(client, "unit.get", json!({"unit": "a"})).await.unwrap();
    a["expected"] = got["version"].clone();
    a["content"] = short.as_str().into();
    a["metadata"]["author"] = "Ada".into();
    call(client, "unit.update", a).await.unwrap();
    long
}

async fn unit(nats: &Nats, name: &str) -> Value {
    let mut unit = call(&nats.client, "unit.get", json!({"unit": name})).await.unwrap();
    for version in unit["versions"].as_array_mut().unwrap() {
        version.as_object_mut().unwrap().remove("time");
    }
    unit
}

fn export(nats: &Nats, unit: &str) -> Vec<u8> {
    let (status, out, err) = run(nats, &["export", unit]);
    assert_eq!(status, Some(0), "{err}");
    out
}

#[tokio::test]
async fn a_unit_and_all_of_it_goes_elsewhere_and_is_the_same() {
    let (nats, other) = (Nats::start().await, Nats::start().await);
    let _here = Program::start(&nats, "one").await;
    let long = history(&nats).await;
    let car = export(&nats, "a");

    // Another's reader takes it, and finds every block that the root leads to.
    let mut reader = CarReader::new(car.as_slice()).await.unwrap();
    let root = reader.header().roots()[0].to_string();
    let (mut blocks, mut found) = (Vec::new(), 0);
    while let Some((id, bytes)) = reader.next_block().await.unwrap() {
        let id: ContentId = id.to_string().parse().unwrap();
        assert_eq!(id.verify(&bytes), Ok(true));
        found += bytes.len();
        blocks.push(id.to_string());
    }
    assert_eq!(blocks[0], root);
    assert!(blocks.len() > 10 && found > long.len(), "{} blocks of {found} bytes", blocks.len());

    let there = Program::start(&other, "one").await;
    let path = file(&other, "a.car", &car);
    let import = || run(&other, &["import", "--create", path.to_str().unwrap()]);
    let (status, out, err) = import();
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(String::from_utf8(out).unwrap(), "a: 7 of 7 changes were new\n");
    for name in ["a", "b"] {
        assert_eq!(unit(&other, name).await, unit(&nats, name).await);
    }
    let alone = call(&other.client, "unit.get", json!({"unit": "alone"})).await;
    assert_eq!(alone.unwrap_err().0, "unit_not_found");
    let id = ContentId::of(&long);
    let (status, whole, err) = run(&other, &["get", id.as_str()]);
    assert_eq!(status, Some(0), "{err}");
    assert!(whole == long);
    // What came in goes out the same, byte for byte; and once more in, it changes nothing.
    assert!(export(&other, "a") == car);
    let (status, out, err) = import();
    assert_eq!(status, Some(0), "{err}");
    assert_eq!(String::from_utf8(out).unwrap(), "a: 0 of 7 changes were new\n");
    there.stop().await;
}

#[tokio::test]
async fn a_file_that_is_damaged_and_a_history_that_parted_are_refused() {
    let (nats, other) = (Nats::start().await, Nats::start().await);
    let _here = Program::start(&nats, "one").await;
    history(&nats).await;
    let car = export(&nats, "a");
    let _there = Program::start(&other, "one").await;
    let import = async |bytes: &[u8]| {
        let path = file(&other, "a.car", bytes);
        run(&other, &["import", "--create", path.to_str().unwrap()])
    };
    let mut damaged = car.clone();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let cut = &car[..last];
    for (bytes, said) in [
        (damaged.as_slice(), "is damaged: its bytes are not those of its id"),
        (cut, "the CAR file cannot be read"),
        (b"no car at all", "the CAR file"),
        (b"", "it is empty"),
    ] {
        let (status, _, err) = import(bytes).await;
        assert_eq!(status, Some(5), "{err}");
        assert!(err.contains(said), "{err}");
        assert_eq!(other.events().await.len(), 0);
    }
    call(&other.client, "unit.create", note("b", "another history")).await.unwrap();
    let (status, _, err) = import(&car).await;
    assert_eq!(status, Some(6), "{err}");
    assert!(err.contains("unit.create: `b` exists with another content"), "{err}");
    let (status, _, err) = run(&nats, &["export", "nothing"]);
    assert_eq!(status, Some(2), "{err}");
    assert!(err.contains("there is no unit `nothing`"), "{err}");
}
