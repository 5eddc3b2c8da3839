//! A restored stream that goes on before the server has answered.

use serde_json::json;

use crate::support::{Host, Lab};

/// The server puts them in place between the stream and its answer.
const CONSUMERS: usize = 100;

#[tokio::test(flavor = "multi_thread")]
async fn what_comes_before_the_answer_is_no_failed_restore() {
    let mut lab = Lab::start().await;
    for stream in ["S", "T"] {
        lab.nats.create(stream, json!({})).await;
        lab.nats.publish(stream, 20).await;
    }
    for n in 0..CONSUMERS {
        let config = json!({ "durable_name": format!("c{n}"), "ack_policy": "explicit" });
        let consumer = json!({ "stream_name": "S", "config": config });
        lab.nats.api(&format!("CONSUMER.CREATE.S.c{n}"), consumer).await;
    }
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", 20).await;
    lab.manager.reaches("T", "nas", 20).await;
    daemon.stop().await;
    lab.nats.kill();

    let Host { nats, manager } = lab.host("new").await;
    // A client that does not wait until all is back.
    let client = nats.client.clone();
    let impatient = tokio::spawn(async move {
        loop {
            client.publish("s.more", "".into()).await.unwrap();
            client.flush().await.unwrap();
        }
    });
    let restored = manager.json(&["restore", "--all"]);
    impatient.abort();
    let of = |stream: &str| {
        let mut all = restored["streams"].as_array().unwrap().iter();
        all.find(|restored| restored["stream"] == stream).unwrap().clone()
    };
    let (s, t) = (of("S"), of("T"));
    assert!(s["added"].as_u64().unwrap() > 0, "nothing came before the answer: {s}");
    for restored in [&s, &t] {
        assert_eq!(restored["outcome"], "restored", "{restored}");
        assert_eq!((&restored["messages"], &restored["last_seq"]), (&json!(20), &json!(20)));
    }
    assert_eq!((&t["added"], &s["dropped"]), (&json!(0), &json!(0)));
    let again = manager.json(&["restore", "--all"]);
    let outcomes = again["streams"].as_array().unwrap().iter().map(|s| &s["outcome"]);
    assert!(outcomes.eq(["unchanged", "unchanged"]), "{again}");
}
