//! A second manager that commits between two looks of the first: nobody has lost anything, and no timeline begins.

use cim_fake_wasabi::{Config, Credentials, FakeWasabi, Fault, Rule};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::support::{Manager, Nats, SECRET, Settings, USER, credentials_file, wait_until};

const OTHER: &str = "othermanager";

/// While one manager writes chains, another one begins, by `layout`, and is slow to see what is in the archive.
async fn begins_late(layout: &str) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let config = Config {
        buckets: vec!["archive".into()],
        credentials: vec![Credentials::new(USER, SECRET), Credentials::new(OTHER, SECRET)],
        ..Config::new(path.join("nas"))
    };
    let fake = FakeWasabi::start(config).await.unwrap();
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let manager = |name: &str, layout: &str| {
        let mut settings = Settings::new(&nats.url, &fake.s3_url());
        settings.layout = layout.into();
        settings.more = "[segment]\nflush_age = \"50ms\"\n".into();
        Manager::new(path, name, &settings)
    };
    let first = manager("first", "chains");
    let daemon = first.tier().await;
    let done = CancellationToken::new();
    let publishing = {
        let (client, done) = (nats.client.clone(), done.clone());
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
    credentials_file(path, "second.env", OTHER, SECRET);
    let mut late = Rule::new(Fault::Delay).operation("ListObjects*").seconds(1.0);
    late.access_key = Some(OTHER.into());
    fake.set_faults(vec![late]).unwrap();
    let other = second.tier().await;
    let begun = nats.last_seq("S").await;
    wait_until("the second one reads", async || {
        // The first one ends where a journal takes its streams over.
        let readers = if layout == "journal" { 1 } else { 2 };
        let log = other.log();
        let opened = layout == "chains" || log.contains("the journal takes over its chain");
        let names = nats.api("CONSUMER.NAMES.S", Value::Null).await;
        let found = names["consumers"].as_array().map_or(0, Vec::len);
        if opened && found >= readers { Ok(()) } else { Err(log) }
    })
    .await;
    first.reaches("S", "nas", begun + 100).await;
    done.cancel();
    publishing.await.unwrap();
    fake.set_faults(Vec::new()).unwrap();
    first.reaches("S", "nas", nats.last_seq("S").await).await;
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
