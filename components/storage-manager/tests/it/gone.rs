//! What a stream's session has under way ends with it.

use std::time::{Duration, Instant};

use cim_fake_wasabi::{Fault, Rule};
use serde_json::{Value, json};

use crate::support::{Manager, Nats, Settings, fake_s3, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_not_tried_any_more_when_the_stream_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let nas = fake_s3(path, "nas").await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let mut settings = Settings::new(&nats.url, &nas.s3_url());
    // Its subject is a chain.
    settings.layout = "chains".into();
    settings.more = "[segment]\nflush_age = \"30ms\"\n".into();
    let manager = Manager::new(path, "host", &settings);
    let daemon = manager.tier().await;
    nats.publish("S", 10).await;
    manager.reaches("S", "nas", 10).await;
    let refused = Rule::new(Fault::Unavailable).operation("PutObject").keys("*/segments/*");
    nas.set_faults(vec![refused]).unwrap();
    nats.publish("S", 10).await;
    let tries = || nas.stats().faults.get("unavailable").copied().unwrap_or_default();
    wait_until(
        "an upload is tried",
        async || {
            if tries() > 0 { Ok(()) } else { Err("none".to_owned()) }
        },
    )
    .await;
    nats.api("STREAM.DELETE.S", Value::Null).await;
    wait_until("the session has ended", async || {
        let log = daemon.log();
        if log.contains("the stream was deleted") { Ok(()) } else { Err(log) }
    })
    .await;
    // Tries are five seconds apart at most.
    let (mut last, mut since) = (tries(), Instant::now());
    wait_until("nothing is tried any more", async || {
        if tries() != last {
            (last, since) = (tries(), Instant::now());
        }
        if since.elapsed() > Duration::from_secs(7) { Ok(()) } else { Err(format!("{last} tries")) }
    })
    .await;
    daemon.stop().await;
}
