//! The admin endpoint and its accounting.

use std::time::Duration;

use bytes::Bytes;
use cim_fake_wasabi::Stats;
use serde_json::{Value, json};

use crate::raw::{Client, Reply};
use crate::support::{Server, noise};

const DAY: Duration = Duration::from_hours(24);

async fn admin(server: &Server, method: &str, path: &str, body: &str) -> Reply {
    let client = Client::new(&server.wasabi().admin_url(), "", "");
    client.transmit(method, path, &[], Bytes::from(body.to_owned())).await.unwrap()
}

fn parsed(reply: &Reply) -> Value {
    serde_json::from_slice(&reply.body).unwrap()
}

#[tokio::test]
async fn a_plan_is_set_shown_and_cleared_over_http() {
    let server = Server::start().await;
    let plan = r#"[{"fault":"slow_down","operations":["Put*"],"count":1,"retry_after_seconds":2}]"#;
    admin(&server, "PUT", "/faults", plan).await.expect(200);
    let struck = server.client().put("/tier/key", "x").await.expect_code(503, "SlowDown");
    assert_eq!(struck.header("retry-after"), Some("2"));
    server.client().put("/tier/key", "x").await.expect(200);
    let shown = admin(&server, "GET", "/faults", "").await.expect(200);
    let want = json!({ "seed": 0, "rules": [{
        "rule": serde_json::from_str::<Value>(plan).unwrap()[0],
        "matched": 2,
        "struck": 1,
    }]});
    assert_eq!(parsed(&shown), want);
    let cleared = admin(&server, "DELETE", "/faults", "").await.expect(200);
    assert_eq!(parsed(&cleared), json!({ "seed": 0, "rules": [] }));
}

#[tokio::test]
async fn what_the_endpoint_does_not_take_it_explains() {
    let server = Server::start().await;
    admin(&server, "PUT", "/faults", r#"[{"fault":"full"}]"#).await.expect(200);
    for (method, path, body, status, says) in [
        ("PUT", "/faults", r#"[{"fault":"slow_down","operation":"x"}]"#, 400, "`operation`"),
        ("PUT", "/faults", r#"[{"fault":"delay"}]"#, 400, "rule 0 (`delay`): `seconds` is missing"),
        ("PUT", "/faults", "nonsense", 400, "line 1 column"),
        ("PUT", "/clock", r#"{"advance_seconds":-5}"#, 400, "-5"),
        ("POST", "/faults", "[]", 405, "POST"),
        ("GET", "/nowhere", "", 404, "/healthz"),
    ] {
        let reply = admin(&server, method, path, body).await.expect(status);
        let error = parsed(&reply)["error"].as_str().unwrap().to_owned();
        assert!(error.contains(says), "{method} {path}: {error}");
    }
    // The previous plan is still in force.
    assert_eq!(server.wasabi().faults().len(), 1);
    let health = admin(&server, "GET", "/healthz", "").await.expect(200);
    assert_eq!(parsed(&health), json!({ "status": "ok" }));
    let table = admin(&server, "GET", "/behaviour", "").await.expect(200);
    assert!(parsed(&table).as_array().unwrap().iter().any(|row| row["source"] == "assumed"));
}

#[tokio::test]
async fn storage_is_billed_as_wasabi_bills_it() {
    let server = Server::start().await;
    let client = server.client();
    client.put("/tier/small", "x").await.expect(200);
    client.put("/tier/large", noise(1, 10_000)).await.expect(200);
    client.put("/tier/empty", "").await.expect(200);
    client.get("/tier/large").await.expect(200);
    let reply = admin(&server, "GET", "/stats", "").await.expect(200);
    let stats: Stats = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!(stats, server.wasabi().stats());
    assert_eq!((stats.storage.objects, stats.storage.bytes), (3, 10_001));
    assert_eq!(stats.storage.billable_bytes, 4096 + 10_000 + 4096);
    assert_eq!(stats.storage.objects_below_minimum, 2);
    assert_eq!(
        (stats.requests["PutObject"].count, stats.requests["PutObject"].bytes_in),
        (3, 10_001)
    );
    assert_eq!(stats.requests["GetObject"].bytes_out, 10_000);
    assert_eq!((stats.total.count, stats.total.ok, stats.not_implemented), (4, 4, 0));
    assert_eq!(stats.deleted_early.objects, 0);

    // An overwrite after 30 days owes 60 more; a delete after 100 owes nothing.
    admin(&server, "PUT", "/clock", r#"{"advance_seconds":2592000}"#).await.expect(200);
    client.put("/tier/small", "y").await.expect(200);
    let stats = server.wasabi().stats();
    assert_eq!((stats.deleted_early.objects, stats.deleted_early.bytes), (1, 1));
    assert_eq!(stats.deleted_early.billable_bytes, 4096);
    assert_eq!(stats.deleted_early.billable_byte_days, 4096 * 60);
    server.wasabi().advance_clock(70 * DAY);
    client.delete("/tier/large").await.expect(204);
    assert_eq!(server.wasabi().stats().deleted_early.objects, 1);
    client.delete("/tier/small").await.expect(204);
    assert_eq!(server.wasabi().stats().deleted_early.billable_byte_days, 4096 * (60 + 20));
    assert_eq!(server.wasabi().stats().clock_offset_seconds, 100 * 24 * 3600);
}
