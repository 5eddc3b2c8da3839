//! What the archive costs a month: as the configuration has the price, and not at all without one.

use serde_json::{Value, json};

use crate::support::Lab;

#[tokio::test(flavor = "multi_thread")]
async fn a_month_is_reckoned_from_what_lies_there_and_what_is_billed_at_least() {
    let lab = Lab::start().await;
    for stream in ["A", "B"] {
        lab.nats.create(stream, json!({})).await;
        lab.nats.publish(stream, 40).await;
    }
    let daemon = lab.manager.tier().await;
    lab.manager.has_all(&lab.nats, &["A", "B"]).await;
    daemon.stop().await;
    let cost = lab.manager.json(&["cost"]);
    let nas = &cost["tiers"][0];
    assert_eq!((&nas["month"], &nas["price_per_tb_month"]), (&Value::Null, &Value::Null));
    assert!(nas["bytes"].as_u64() > Some(0) && nas["objects"].as_u64() > Some(0), "{cost}");
    assert_eq!(nas["streams"].as_array().unwrap().len(), 2);

    let prices = "price_per_tb_month = 7\nbilled_at_least = \"1TB\"\n";
    let priced = lab.manager_with("priced", |settings| settings.s3 = prices.into());
    let cost = priced.json(&["cost"]);
    let nas = &cost["tiers"][0];
    assert_eq!((&nas["month"], &nas["billed"]), (&json!(7.0), &json!(1_000_000_000_000_u64)));
    let streams = nas["streams"].as_array().unwrap().iter();
    let shares: f64 = streams.map(|stream| stream["month"].as_f64().unwrap()).sum();
    assert!(shares > 0.0 && shares <= 7.0, "{cost}");
    let table = priced.run(&["cost"]);
    let said = String::from_utf8_lossy(&table.stderr).into_owned();
    assert!(said.contains("7.00 a month at 7 a TB"), "{said}");
}
