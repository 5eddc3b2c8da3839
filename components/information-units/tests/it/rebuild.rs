//! State, index, views and snapshots are made anew from the log.

use serde_json::json;

use crate::support::{Nats, Program, call, note, report};

#[tokio::test]
async fn what_is_rebuilt_is_what_was_and_finds_the_same() {
    let nats = Nats::start().await;
    let units = Program::start(&nats, "one").await;
    let client = &nats.client;
    let schema = json!({"type": "letter", "schema": {"type": "object"}});
    call(client, "type.register", schema).await.unwrap();
    for n in 0..12 {
        let unit = format!("u{}", n % 7);
        if n < 7 {
            call(client, "unit.create", note(&unit, &format!("text {n} north"))).await.unwrap();
        } else {
            let got = call(client, "unit.get", json!({"unit": unit})).await.unwrap();
            let mut change = note(&unit, &format!("text {n} south"));
            change["expected"] = got["version"].clone();
            call(client, "unit.update", change).await.unwrap();
            let link = json!({"unit": unit, "relation": "next", "target": "u0"});
            call(client, "unit.link", link).await.unwrap();
        }
    }
    let queries = [json!({"text": "south"}), json!({"tags": ["note"]}), json!({"links_to": "u0"})];
    let mut before = Vec::new();
    for query in &queries {
        before.push(call(client, "unit.query", query.clone()).await.unwrap());
    }
    assert_eq!(before[0]["total"], 5);
    units.stop().await;
    let digest = report(&nats, &["digest"]);

    // The bucket, with snapshot and views, may be lost.
    nats.jetstream().delete_key_value("information-units").await.unwrap();
    let units = Program::start(&nats, "two").await;
    for (query, before) in queries.iter().zip(&before) {
        assert_eq!(call(client, "unit.query", query.clone()).await.unwrap(), *before);
    }
    units.stop().await;
    // And again from the snapshot that it left, in which there is no index.
    let units = Program::start(&nats, "two").await;
    assert!(units.log().contains(", 0 events since its snapshot"), "{}", units.log());
    for (query, before) in queries.iter().zip(&before) {
        assert_eq!(call(client, "unit.query", query.clone()).await.unwrap(), *before);
    }
    units.stop().await;
    let rebuilt = report(&nats, &["rebuild"]);
    assert_eq!((&rebuilt["digest"], &rebuilt["views_changed"]), (&digest["digest"], &json!(0)));
    let bucket = nats.jetstream().get_key_value("information-units").await.unwrap();
    bucket.purge("type.letter").await.unwrap();
    assert_eq!(report(&nats, &["rebuild"])["views_changed"], 1);
}
