//! A NAS that takes longer to write a segment than the next one takes to become due.

use std::time::Duration;

use cim_fake_wasabi::{Fault, Rule};
use serde_json::json;

use crate::support::{Host, Lab, fingerprint, wait_until};

/// Bytes of a message where a flood of them is meant, and how many there are.
const LARGE: usize = 8 << 10;
const FLOOD: u64 = 30_000;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_starves() {
    let lab = Lab::with()
        .faulty_nas()
        .wasabi()
        .settings("[segment]\nflush_age = \"500ms\"\n[seal]\ninterval = \"3s\"\n")
        .start()
        .await;
    lab.nats.create("S", json!({})).await;
    lab.nas.set_faults(vec![Rule::new(Fault::Delay).operation("PutObject").seconds(0.6)]).unwrap();
    let daemon = lab.manager.tier().await;
    let client = lab.nats.client.clone();
    let load = tokio::spawn(async move {
        let mut ticks = tokio::time::interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            client.publish("s.x", "".into()).await.unwrap();
        }
    });
    lab.manager.reaches("S", "nas", 10).await;
    lab.nats.create_consumer("S", "D", json!({})).await;
    // Wasabi follows, however much comes; and so does the consumer, which no segment brings along.
    lab.manager.reaches("S", "wasabi", 10).await;
    let here = lab.nats.last_seq("S").await;
    lab.manager.reaches("S", "wasabi", here).await;
    let Host { nats: other, manager: reader } = lab.host("other").await;
    reader.json(&["restore", "S"]);
    let restored = fingerprint(&other, "S").await;
    assert_eq!(
        restored["consumers"][0]["config"]["durable_name"], "D",
        "{}",
        restored["consumers"]
    );
    load.abort();
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_it_is_in_memory_once() {
    let lab = Lab::with()
        .faulty_nas()
        .wasabi()
        .layout("journal")
        .settings("[seal]\ninterval = \"1s\"\n")
        .start()
        .await;
    lab.nats.create("S", json!({})).await;
    let slow = ["PutObject", "GetObject"];
    let slow = slow.map(|operation| Rule::new(Fault::Delay).operation(operation).seconds(0.7));
    lab.nas.set_faults(slow.into()).unwrap();
    let daemon = lab.manager.tier().await;
    let flood = flood(lab.nats.client.clone());
    let status = format!("/proc/{}/status", daemon.pid());
    let mut peak = 0;
    let flooded = tokio::spawn(flood);
    wait_until("all is on the NAS", async || {
        peak = std::fs::read_to_string(&status).unwrap().lines().find_map(peak_kib).unwrap();
        let there = lab.manager.json(&["status"])["streams"][0]["nas"]["seq"].as_u64();
        if there == Some(FLOOD) { Ok(()) } else { Err(format!("{there:?}")) }
    })
    .await;
    flooded.await.unwrap();
    lab.manager.reaches("S", "wasabi", FLOOD).await;
    daemon.stop().await;
    assert!((40 << 10..160 << 10).contains(&peak), "{peak} KiB");
}

fn peak_kib(line: &str) -> Option<u64> {
    line.strip_prefix("VmHWM:")?.split_whitespace().next()?.parse().ok()
}

/// Publishes noise, which does not get smaller, as fast as the server takes it.
async fn flood(client: async_nats::Client) {
    let jetstream = async_nats::jetstream::new(client);
    let mut noise = 1_u64;
    let mut acks = std::collections::VecDeque::new();
    for _ in 0..FLOOD {
        let payload = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.to_be_bytes()[0]
        });
        let payload: Vec<u8> = payload.take(LARGE).collect();
        acks.push_back(jetstream.publish("s.x", payload.into()).await.unwrap());
        if acks.len() > 256 {
            acks.pop_front().expect("there are some").await.unwrap();
        }
    }
    for ack in acks {
        ack.await.unwrap();
    }
}
