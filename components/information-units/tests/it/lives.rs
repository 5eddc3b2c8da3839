//! The life of units: they are made, get versions, links and types, and are found.

use serde_json::{Value, json};

use crate::support::{Nats, Program, call, note};

fn names(found: &Value) -> Vec<&str> {
    found["units"].as_array().unwrap().iter().map(|unit| unit["unit"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn units_get_versions_and_the_chain_holds() {
    let nats = Nats::start().await;
    let _units = Program::start(&nats, "one").await;
    let client = &nats.client;
    let done = call(client, "unit.create", note("a", "the first text")).await.unwrap();
    assert_eq!(done["event"]["type"], "unit.created");
    // Said again with another id it changes nothing; with another content it is refused.
    let again = call(client, "unit.create", note("a", "the first text")).await.unwrap();
    assert_eq!(again["changed"], false);
    let (code, what) = call(client, "unit.create", note("a", "other")).await.unwrap_err();
    assert_eq!(code, "unit_exists");
    assert_eq!(
        what,
        "`a` exists with another content: send `unit.update`, or give the new unit another name"
    );

    let first = call(client, "unit.get", json!({"unit": "a"})).await.unwrap();
    let mut change = note("a", "the second text");
    change["expected"] = first["version"].clone();
    let done = call(client, "unit.update", change.clone()).await.unwrap();
    assert_eq!((&done["changed"], &done["event"]["aggregate_version"]), (&json!(true), &json!(2)));
    // The same update again is one effect; another one from the same version is too late.
    assert_eq!(call(client, "unit.update", change.clone()).await.unwrap()["changed"], false);
    change["metadata"]["text"] = "a third text".into();
    let (code, what) = call(client, "unit.update", change).await.unwrap_err();
    assert_eq!(code, "version_conflict");
    let second = call(client, "unit.get", json!({"unit": "a"})).await.unwrap();
    assert!(what.contains(second["version"].as_str().unwrap()), "{what}");
    assert_eq!(second["metadata"]["text"], "the second text");
    assert_eq!(second["versions"].as_array().unwrap().len(), 2);
    let old = json!({"unit": "a", "version": first["version"]});
    assert_eq!(call(client, "unit.get", old).await.unwrap()["metadata"]["text"], "the first text");
    let none = json!({"unit": "b"});
    assert_eq!(call(client, "unit.get", none).await.unwrap_err().0, "unit_not_found");
}

#[tokio::test]
async fn events_name_the_content_and_the_content_before() {
    let nats = Nats::start().await;
    let _units = Program::start(&nats, "one").await;
    let content = |text: &str| cim_core::names::ContentId::of(text.as_bytes());
    let create = json!({"unit": "a", "content": content("x")});
    call(&nats.client, "unit.create", create).await.unwrap();
    let got = call(&nats.client, "unit.get", json!({"unit": "a"})).await.unwrap();
    let update = json!({"unit": "a", "content": content("y"), "expected": got["version"]});
    call(&nats.client, "unit.update", update).await.unwrap();
    let events = nats.events().await;
    let named = events[1].content.clone().unwrap();
    assert_eq!((named.id, named.previous), (content("y"), Some(content("x"))));
}

#[tokio::test]
async fn links_are_typed_and_seen_from_both_ends() {
    let nats = Nats::start().await;
    let _units = Program::start(&nats, "one").await;
    let client = &nats.client;
    call(client, "unit.create", note("a", "x")).await.unwrap();
    let link = json!({"unit": "a", "relation": "cites", "target": "b"});
    assert_eq!(call(client, "unit.link", link.clone()).await.unwrap_err().0, "unit_not_found");
    call(client, "unit.create", note("b", "y")).await.unwrap();
    assert_eq!(call(client, "unit.link", link.clone()).await.unwrap()["changed"], true);
    assert_eq!(call(client, "unit.link", link).await.unwrap()["changed"], false);
    let b = call(client, "unit.get", json!({"unit": "b"})).await.unwrap();
    assert_eq!(b["linked_from"], json!([{"relation": "cites", "unit": "a"}]));
    for (query, expected) in [
        (json!({"links_to": "b"}), vec!["a"]),
        (json!({"relation": "cites"}), vec!["a"]),
        (json!({"relation": "cites", "links_to": "b"}), vec!["a"]),
        (json!({"relation": "cites", "links_to": "a"}), vec![]),
    ] {
        assert_eq!(names(&call(client, "unit.query", query).await.unwrap()), expected);
    }
}

#[tokio::test]
async fn types_check_metadata_and_have_versions() {
    let nats = Nats::start().await;
    let _units = Program::start(&nats, "one").await;
    let client = &nats.client;
    let mut letter = json!({"unit": "l1", "type": "letter", "metadata": {"to": 7}});
    assert_eq!(call(client, "unit.create", letter.clone()).await.unwrap_err().0, "type_not_found");
    let schema =
        json!({"type": "object", "required": ["to"], "properties": {"to": {"type": "string"}}});
    let register = json!({"type": "letter", "schema": schema});
    call(client, "type.register", register.clone()).await.unwrap();
    assert_eq!(call(client, "type.register", register).await.unwrap()["changed"], false);
    let (code, what) = call(client, "unit.create", letter.clone()).await.unwrap_err();
    assert_eq!(code, "metadata_invalid");
    assert!(what.contains("`/to`: 7 is not of type \"string\""), "{what}");
    letter["metadata"]["to"] = "Ada".into();
    call(client, "unit.create", letter).await.unwrap();

    let newer = json!({"type": "object", "required": ["to", "from"]});
    let mut register = json!({"type": "letter", "schema": newer});
    assert_eq!(
        call(client, "type.register", register.clone()).await.unwrap_err().0,
        "type_conflict"
    );
    register["expected"] = 1.into();
    call(client, "type.register", register).await.unwrap();
    let asked = json!({"type": "letter", "metadata": {"to": "Ada"}});
    let checked = call(client, "type.validate", asked).await.unwrap();
    assert_eq!((&checked["version"], &checked["valid"]), (&json!(2), &json!(false)));
    // A schema that is none, and one that needs the network.
    for schema in [json!({"type": "thing"}), json!({"$ref": "https://example.org/a.json"})] {
        let register = json!({"type": "bad", "schema": schema});
        assert_eq!(call(client, "type.register", register).await.unwrap_err().0, "type_invalid");
    }
    let large = json!({"unit": "n", "metadata": {"n": 9_007_199_254_740_993_u64}});
    let (code, what) = call(client, "unit.create", large).await.unwrap_err();
    assert!(code == "invalid_request" && what.contains("beyond 2^53"), "{code} {what}");
}

#[tokio::test]
async fn queries_find_by_type_tag_time_and_text() {
    let nats = Nats::start().await;
    let _units = Program::start(&nats, "one").await;
    let client = &nats.client;
    for (unit, text) in [("a", "a ship sails north"), ("b", "a train goes north"), ("c", "snow")] {
        call(client, "unit.create", note(unit, text)).await.unwrap();
    }
    call(client, "type.register", json!({"type": "any", "schema": true})).await.unwrap();
    call(client, "unit.create", json!({"unit": "d", "type": "any", "tags": ["note", "x"]}))
        .await
        .unwrap();
    let find = async |query: Value| call(client, "unit.query", query).await.unwrap();
    assert_eq!(names(&find(json!({"text": "north"})).await), ["b", "a"]);
    assert_eq!(names(&find(json!({"text": "north ship"})).await), ["a"]);
    assert_eq!(names(&find(json!({"text": "\"goes north\" OR snow"})).await), ["c", "b"]);
    assert_eq!(names(&find(json!({"type": "any"})).await), ["d"]);
    assert_eq!(names(&find(json!({"tags": ["note", "x"]})).await), ["d"]);
    let all = find(json!({"tags": ["note"], "limit": 2})).await;
    assert_eq!((names(&all), &all["total"]), (vec!["d", "c"], &json!(4)));
    let since = all["units"][1]["time"].clone();
    assert_eq!(names(&find(json!({"since": since})).await), ["d", "c"]);
    assert_eq!(names(&find(json!({"until": since})).await), ["b", "a"]);
    // What a version no longer says is not found any more.
    let a = call(client, "unit.get", json!({"unit": "a"})).await.unwrap();
    let mut change = note("a", "a ship sails south");
    change["expected"] = a["version"].clone();
    call(client, "unit.update", change).await.unwrap();
    assert_eq!(names(&find(json!({"text": "north"})).await), ["b"]);
    assert_eq!(names(&find(json!({"text": "south"})).await), ["a"]);
    for (query, code) in [
        (json!({"text": "\"open"}), "query_invalid"),
        (json!({"since": "yesterday"}), "query_invalid"),
        (json!({"limit": 0}), "invalid_request"),
    ] {
        assert_eq!(call(client, "unit.query", query).await.unwrap_err().0, code);
    }
    let list = call(client, "unit.list", json!({"after": "b", "limit": 1})).await.unwrap();
    assert_eq!((names(&list), &list["total"]), (vec!["c"], &json!(4)));
}
