//! A storage manager that is ended in order again and again, before what it has archived is due for Wasabi.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::Lab;

#[tokio::test(flavor = "multi_thread")]
async fn what_is_due_goes_to_wasabi_however_short_a_process_lives() {
    const INTERVAL: Duration = Duration::from_secs(10);
    let lab = Lab::with()
        .faulty_nas()
        .wasabi()
        .settings(format!(
            "[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"{}s\"\n",
            INTERVAL.as_secs()
        ))
        .start()
        .await;
    lab.nats.create("S", json!({})).await;
    let (mut published, mut longest) = (0, Duration::ZERO);
    let begun = Instant::now();
    // Three intervals, in lives that are shorter than one.
    let reached = loop {
        let born = Instant::now();
        let daemon = lab.manager.tier().await;
        lab.nats.publish("S", 5).await;
        published += 5;
        lab.manager.reaches("S", "nas", published).await;
        daemon.stop().await;
        longest = longest.max(born.elapsed());
        let status = lab.manager.json(&["status"]);
        let reached = status["streams"][0]["wasabi"]["seq"].as_u64().unwrap_or_default();
        if reached > 0 || begun.elapsed() > 3 * INTERVAL {
            break reached;
        }
    };
    assert!(longest < INTERVAL, "a life of {longest:?}: this test proves nothing");
    assert!(reached > 0, "Wasabi has nothing of {published} messages after {:?}", begun.elapsed());
}
