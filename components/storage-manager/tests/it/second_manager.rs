//! A second manager that commits between two looks of the first: nobody has lost anything, and no timeline begins.

use cim_fake_wasabi::{Credentials, Fault, Rule};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Lab, SECRET, credentials_file, fake_s3_with, wait_until};

const OTHER: &str = "othermanager";

/// While one manager writes chains, another one begins, by `layout`, and is slow to see what is in the archive.
async fn begins_late(layout: &str) {
    let lab = Lab::with().faulty_nas().start().await;
    let fake = fake_s3_with(lab.dir(), "of-both", |config| {
        config.credentials.push(Credentials::new(OTHER, SECRET));
    })
    .await;
    lab.nats.create("S", json!({})).await;
    let manager = |name: &str, layout: &str| {
        lab.manager_with(name, |settings| {
            (settings.nas, settings.layout) = (fake.s3_url(), layout.into());
            settings.more = "[segment]\nflush_age = \"50ms\"\n".into();
        })
    };
    let first = manager("first", "chains");
    let daemon = first.tier().await;
    let done = CancellationToken::new();
    let publishing = {
        let (client, done) = (lab.nats.client.clone(), done.clone());
        tokio::spawn(async move {
            let jetstream = async_nats::jetstream::new(client);
            while !done.is_cancelled() {
                jetstream.publish("s.a", "news".into()).await.unwrap().await.unwrap();
                tokio::time::sleep(std::time::Duration::from_millis(10)).await;
            }
        })
    };
    first.reaches("S", "nas", 20).await;

    let second = manager("second", layout);
    credentials_file(lab.dir(), "second.env", OTHER, SECRET);
    let mut late = Rule::new(Fault::Delay).operation("ListObjects*").seconds(1.0);
    late.access_key = Some(OTHER.into());
    fake.set_faults(vec![late]).unwrap();
    let other = second.tier().await;
    let begun = lab.nats.last_seq("S").await;
    wait_until("the second one reads", async || {
        // The first one ends where a journal takes its streams over.
        let readers = if layout == "journal" { 1 } else { 2 };
        let log = other.log();
        let opened = layout == "chains" || log.contains("the journal takes over its chain");
        let names = lab.nats.api("CONSUMER.NAMES.S", Value::Null).await;
        let found = names["consumers"].as_array().map_or(0, Vec::len);
        if opened && found >= readers { Ok(()) } else { Err(log) }
    })
    .await;
    first.reaches("S", "nas", begun + 100).await;
    done.cancel();
    publishing.await.unwrap();
    fake.set_faults(Vec::new()).unwrap();
    first.reaches("S", "nas", lab.nats.last_seq("S").await).await;
    let log = other.log();
    assert!(!log.contains("opening timeline") && !log.contains("has lost"), "{log}");
    let held = first.json(&["streams"]);
    assert_eq!(held["streams"][0]["timelines"].as_array().unwrap().len(), 1, "{held}");
    other.stop().await;
    daemon.kill();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_one_that_writes_chains_finds_no_loss() {
    begins_late("chains").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_takes_over_finds_no_loss() {
    begins_late("journal").await;
}
