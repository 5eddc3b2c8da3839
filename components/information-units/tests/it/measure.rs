//! Measured, not judged: content against NATS's own client in the same run, and a rebuild of many events.
//!
//! `cargo test --release -p cim-information-units --test it measure -- --ignored --nocapture --test-threads 1`, after
//! `ci/setup --bench`.

use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use cim_core::archive::RawJson;
use cim_core::envelope::{Envelope, EventId, NewEvent};
use cim_core::names::ContentId;
use cim_core::subjects::Component;
use futures_util::future::try_join_all;
use serde_json::json;

use crate::support::{Nats, peak, report, run};

const ROUNDS: u64 = 30;
const MIB: usize = 1 << 20;

fn median(mut times: Vec<Duration>) -> Duration {
    times.sort();
    times[times.len() / 2]
}

/// Runs NATS's client, and returns how long it took.
fn peer(nats: &Nats, arguments: &[&str]) -> Duration {
    let program = cim_testing::required_tool("bin/nats");
    let mut command = Command::new(program);
    command.env_clear().env("HOME", nats.dir.path()).args(["--server", &nats.url]).args(arguments);
    let began = Instant::now();
    let output = command.stdin(Stdio::null()).output().unwrap();
    let took = began.elapsed();
    assert!(output.status.success(), "{arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    took
}

fn ours(nats: &Nats, arguments: &[&str]) -> Duration {
    let began = Instant::now();
    let (status, _, err) = run(nats, arguments);
    let took = began.elapsed();
    assert_eq!(status, Some(0), "{err}");
    took
}

fn noise(seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut word = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    (0..MIB / 8).flat_map(|_| word()).collect()
}

#[tokio::test]
#[ignore = "it measures, and needs natscli"]
async fn content_of_a_mebibyte_against_the_client_of_nats() {
    let nats = Nats::start().await;
    peer(&nats, &["object", "add", "peer"]);
    ours(&nats, &["put", "--create", "/dev/null"]);
    let path = |name: &str| nats.dir.path().join(name).to_str().unwrap().to_owned();
    let (file, out) = (path("in"), path("out"));
    let (mut put, mut put_peer, mut get, mut get_peer) = (vec![], vec![], vec![], vec![]);
    for round in 0..ROUNDS {
        let bytes = noise(round + 1);
        std::fs::write(&file, &bytes).unwrap();
        let id = ContentId::of(&bytes);
        put.push(ours(&nats, &["put", &file]));
        let name = format!("n{round}");
        put_peer
            .push(peer(&nats, &["object", "put", "peer", &file, "--name", &name, "--no-progress"]));
        get.push(ours(&nats, &["get", id.as_str(), "--output", &out]));
        assert!(std::fs::read(Path::new(&out)).unwrap() == bytes);
        let arguments =
            ["object", "get", "peer", &name, "--output", &out, "--force", "--no-progress"];
        get_peer.push(peer(&nats, &arguments));
        assert!(std::fs::read(Path::new(&out)).unwrap() == bytes);
    }
    for (what, ours, peer) in [("put", put, put_peer), ("get", get, get_peer)] {
        let (ours, peer) = (median(ours), median(peer));
        let ratio = peer.as_secs_f64() / ours.as_secs_f64();
        println!(
            "{what} of 1 MiB, median of {ROUNDS}: {ours:?}, natscli {peer:?}, ratio {ratio:.2}"
        );
    }
}

/// Publishes events of 1,000 units: a creation each, then updates.
async fn fill(nats: &Nats, from: u64, to: u64) {
    let js = nats.jetstream();
    let mut acks = Vec::new();
    let version = |unit: u64, number: u64| ContentId::of(format!("{unit}.{number}").as_bytes());
    for n in from..to {
        let (unit, number) = (n % 1000, n / 1000);
        let mut payload = json!({
            "unit": format!("u{unit}"), "version": version(unit, number),
            "metadata": {"title": format!("unit {unit}"), "number": number}, "tags": ["measured"],
        });
        if number > 0 {
            payload["previous"] = json!(version(unit, number - 1));
        }
        let event = NewEvent {
            event_type: if number > 0 { "unit.updated" } else { "unit.created" }.parse().unwrap(),
            source: Component::InformationUnits,
            aggregate_id: format!("u{unit}").parse().unwrap(),
            aggregate_version: number + 1,
            schema_version: std::num::NonZeroU32::MIN,
            content: None,
            payload: RawJson::new(payload.to_string()).unwrap(),
        };
        let event = Envelope::root(EventId::now(), "2026-01-01T00:00:00Z".parse().unwrap(), event);
        let payload = serde_json::to_vec(&event).unwrap();
        let sent = js.publish(event.subject().to_string(), payload.into()).await.unwrap();
        acks.push(sent.into_future());
        if acks.len() == 2000 {
            try_join_all(acks.drain(..)).await.unwrap();
        }
    }
    try_join_all(acks).await.unwrap();
}

#[tokio::test]
#[ignore = "it measures"]
async fn a_hundred_thousand_events_are_rebuilt() {
    let nats = Nats::start().await;
    report(&nats, &["digest", "--create"]);
    fill(&nats, 0, 10_000).await;
    let (_, tenth) = peak(&nats, &["digest", "--json"]).await;
    fill(&nats, 10_000, 100_000).await;
    let began = Instant::now();
    let (out, whole) = peak(&nats, &["rebuild", "--json"]).await;
    let took = began.elapsed();
    let rebuilt: serde_json::Value = serde_json::from_str(&out).unwrap();
    assert_eq!((&rebuilt["events"], &rebuilt["unknown"]), (&json!(100_000), &json!(0)));
    println!(
        "rebuild of 100,000 events: {took:?}; peak memory {tenth} KiB at 10,000, {whole} KiB at 100,000"
    );
    assert_eq!(report(&nats, &["digest"])["digest"], rebuilt["digest"]);
}
