//! A stream that is deleted and made again while its messages wait for their entry: those that were read are
//! archived in the timeline that they belong to, and the log tells of no contradiction.

use std::time::Duration;

use cim_fake_wasabi::{FakeWasabi, Fault, Rule};
use serde_json::{Value, json};

use crate::support::{Lab, Nats, struck, wait_until};

/// The shorter one of the two below.
const FLUSH_AGE: Duration = Duration::from_millis(20);

/// A lab that makes an entry of what is as old as this.
async fn lab(flush_age: &str) -> Lab<FakeWasabi> {
    let flush = format!("[segment]\nflush_age = \"{flush_age}\"\n");
    Lab::with().faulty_nas().layout("journal").settings(flush).start().await
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

/// Waits until a message was read and is older than `flush_age`, by the time that the server gave it: what gathers with it
/// is one piece then, and the next message begins another.
async fn is_due(nats: &Nats, stream: &str, seq: u64, flush_age: Duration) {
    is_read(nats, stream, seq).await;
    nats.becomes_older(stream, seq, flush_age).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_of_the_old_stream_is_archived_before_the_new_one_begins() {
    let lab = lab("300ms").await;
    let daemon = lab.manager.tier().await;
    for stream in ["OTHER", "S"] {
        lab.nats.create(stream, json!({})).await;
        lab.nats.publish(stream, 10).await;
        lab.manager.reaches(stream, "nas", 10).await;
    }
    // An entry takes longer than it takes to begin a timeline.
    let slow = Rule::new(Fault::Delay).operation("PutObject").keys("*/entries/*").seconds(1.0);
    lab.nas.set_faults(vec![slow]).unwrap();
    let (rounds, mut old) = (4, 10);
    let mut published = 0;
    for round in 1..=rounds {
        // There is always an entry on its way, and one that gathers.
        lab.nats.publish("OTHER", 5).await;
        lab.nats.publish("S", 20).await;
        old += 20;
        is_read(&lab.nats, "S", old).await;
        lab.nats.delete_stream("S").await;
        lab.nats.create("S", json!({})).await;
        published += old;
        old = 10 + round;
        lab.nats.publish("S", usize::try_from(old).unwrap()).await;
        wait_until("the next timeline is read", async || {
            let held = lab.manager.json(&["streams"]);
            let timelines = held["streams"][1]["timelines"].as_array().unwrap();
            let last = timelines.last().unwrap();
            let there = last["timeline"] == round + 1 && last["last_seq"] == old;
            if there { Ok(()) } else { Err(format!("{held}\n{}", daemon.log())) }
        })
        .await;
    }
    published += old;
    lab.nas.set_faults(Vec::new()).unwrap();
    let log = daemon.log();
    daemon.stop().await;
    let report = lab.manager.json(&["verify"]);
    assert_eq!(report["streams"][1]["messages"], published, "{report}\n{log}");
    assert!(!log.contains("contradicts") && !log.contains("not archived"), "{log}");
}

/// The same while the NAS takes nothing: what was read waits in memory, and is not given up.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_read_while_the_nas_was_away_is_archived_too() {
    let lab = lab("20ms").await;
    let daemon = lab.manager.tier().await;
    lab.nats.create("S", json!({})).await;
    lab.nats.publish("S", 5).await;
    lab.manager.reaches("S", "nas", 5).await;
    lab.nas.set_faults(vec![Rule::new(Fault::Unavailable).operation("PutObject")]).unwrap();
    // Many small pieces: more than may be ready and on their way.
    for seq in 6..=35 {
        lab.nats.publish("S", 1).await;
        is_due(&lab.nats, "S", seq, FLUSH_AGE).await;
    }
    lab.nats.delete_stream("S").await;
    lab.nats.create("S", json!({})).await;
    lab.nats.publish("S", 3).await;
    // It is away until what the old one had was tried some times more.
    let tries = struck(&lab.nas, "unavailable");
    wait_until("it is tried again", async || {
        let more = struck(&lab.nas, "unavailable") - tries;
        if more >= 3 { Ok(()) } else { Err(format!("{more} times")) }
    })
    .await;
    lab.nas.set_faults(Vec::new()).unwrap();
    wait_until("both timelines are there", async || {
        let held = lab.manager.json(&["streams"])["streams"][0]["timelines"].clone();
        let last = |n: usize| held[n]["last_seq"].as_u64();
        if (last(0), last(1)) == (Some(35), Some(3)) {
            Ok(())
        } else {
            Err(format!("{held}\n{}", daemon.log()))
        }
    })
    .await;
    daemon.stop().await;
    let report = lab.manager.json(&["verify"]);
    assert_eq!(report["streams"][0]["messages"], 38, "{report}");
}
