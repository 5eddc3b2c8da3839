//! A stream that is deleted and made again while its messages wait for their entry: those that were read are
//! archived in the timeline that they belong to, and the log tells of no contradiction.

use std::time::Duration;

use cim_fake_wasabi::{FakeWasabi, Fault, Rule};
use serde_json::{Value, json};

use crate::support::{Daemon, Manager, Nats, Settings, fake_s3, wait_until};

/// A host and its NAS, and the manager between them.
struct Host {
    _dir: tempfile::TempDir,
    nas: FakeWasabi,
    nats: Nats,
    manager: Manager,
    daemon: Daemon,
}

impl Host {
    async fn start(flush_age: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let nas = fake_s3(dir.path(), "nas").await;
        let nats = Nats::start(&dir.path().join("host")).await;
        let mut settings = Settings::new(&nats.url, &nas.s3_url());
        settings.layout = "journal".into();
        settings.more = format!("[segment]\nflush_age = \"{flush_age}\"\n");
        let manager = Manager::new(dir.path(), "host", &settings);
        let daemon = manager.tier().await;
        Self { _dir: dir, nas, nats, manager, daemon }
    }
}

/// Waits until the manager's reader was sent everything up to a sequence.
async fn is_read(nats: &Nats, stream: &str, seq: u64) {
    wait_until("all is read", async || {
        let found = nats.api(&format!("CONSUMER.LIST.{stream}"), Value::Null).await;
        let sent = found["consumers"].as_array().into_iter().flatten();
        let sent = sent.filter_map(|consumer| consumer["delivered"]["stream_seq"].as_u64()).max();
        if sent >= Some(seq) { Ok(()) } else { Err(found.to_string()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_of_the_old_stream_is_archived_before_the_new_one_begins() {
    let Host { _dir, nas, nats, manager, daemon } = Host::start("300ms").await;
    for stream in ["OTHER", "S"] {
        nats.create(stream, json!({})).await;
        nats.publish(stream, 10).await;
        manager.reaches(stream, "nas", 10).await;
    }
    // An entry takes longer than it takes to begin a timeline.
    let slow = Rule::new(Fault::Delay).operation("PutObject").keys("*/entries/*").seconds(1.0);
    nas.set_faults(vec![slow]).unwrap();
    let (rounds, mut old) = (4, 10);
    let mut published = 0;
    for round in 1..=rounds {
        // There is always an entry on its way, and one that gathers.
        nats.publish("OTHER", 5).await;
        nats.publish("S", 20).await;
        old += 20;
        is_read(&nats, "S", old).await;
        nats.api("STREAM.DELETE.S", Value::Null).await;
        nats.create("S", json!({})).await;
        published += old;
        old = 10 + round;
        nats.publish("S", usize::try_from(old).unwrap()).await;
        wait_until("the next timeline is read", async || {
            let held = manager.json(&["streams"]);
            let timelines = held["streams"][1]["timelines"].as_array().unwrap();
            let last = timelines.last().unwrap();
            let there = last["timeline"] == round + 1 && last["last_seq"] == old;
            if there { Ok(()) } else { Err(format!("{held}\n{}", daemon.log())) }
        })
        .await;
    }
    published += old;
    nas.set_faults(Vec::new()).unwrap();
    let log = daemon.log();
    daemon.stop().await;
    let report = manager.json(&["verify"]);
    assert_eq!(report["streams"][1]["messages"], published, "{report}\n{log}");
    assert!(!log.contains("contradicts") && !log.contains("not archived"), "{log}");
}

/// The same while the NAS takes nothing: what was read waits in memory, and is not given up.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_while_the_nas_was_away_is_archived_too() {
    let Host { _dir, nas, nats, manager, daemon } = Host::start("20ms").await;
    nats.create("S", json!({})).await;
    nats.publish("S", 5).await;
    manager.reaches("S", "nas", 5).await;
    nas.set_faults(vec![Rule::new(Fault::Unavailable).operation("PutObject")]).unwrap();
    // Many small pieces: more than may be ready and on their way.
    for _ in 0..30 {
        nats.publish("S", 1).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
    nats.api("STREAM.DELETE.S", Value::Null).await;
    nats.create("S", json!({})).await;
    nats.publish("S", 3).await;
    // So long it is away.
    tokio::time::sleep(Duration::from_secs(4)).await;
    nas.set_faults(Vec::new()).unwrap();
    wait_until("both timelines are there", async || {
        let held = manager.json(&["streams"])["streams"][0]["timelines"].clone();
        let last = |n: usize| held[n]["last_seq"].as_u64();
        if (last(0), last(1)) == (Some(35), Some(3)) {
            Ok(())
        } else {
            Err(format!("{held}\n{}", daemon.log()))
        }
    })
    .await;
    daemon.stop().await;
    let report = manager.json(&["verify"]);
    assert_eq!(report["streams"][0]["messages"], 38, "{report}");
}
