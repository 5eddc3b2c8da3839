//! What a stream's session has under way ends with it.

use std::time::{Duration, Instant};

use cim_fake_wasabi::{Fault, Rule};
use serde_json::json;

use crate::support::{Lab, struck, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn an_upload_is_not_tried_any_more_when_the_stream_is_gone() {
    // Its subject is a chain.
    let lab = Lab::with()
        .faulty_nas()
        .layout("chains")
        .settings("[segment]\nflush_age = \"30ms\"\n")
        .start()
        .await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 10).await;
    lab.manager.reaches("S", "nas", 10).await;
    let refused = Rule::new(Fault::Unavailable).operation("PutObject").keys("*/segments/*");
    lab.nas.set_faults(vec![refused]).unwrap();
    lab.nats.publish("S", 10).await;
    let tries = || struck(&lab.nas, "unavailable");
    wait_until(
        "an upload is tried",
        async || {
            if tries() > 0 { Ok(()) } else { Err("none".to_owned()) }
        },
    )
    .await;
    lab.nats.delete_stream("S").await;
    daemon.says("the stream was deleted").await;
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
