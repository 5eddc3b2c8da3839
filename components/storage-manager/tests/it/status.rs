//! `status` of a damaged archive: what can be read is shown, the damage is named, the exit status is 5.

use cim_core::archive::key::Chain;
use cim_core::names::StreamName;
use serde_json::{Value, json};

use crate::bad_input::bucket;
use crate::support::{Manager, Minio, Nats, Settings, fake_s3};

/// The keys of a bucket below a prefix, ascending.
async fn keys(bucket: &s3::Bucket, prefix: &str) -> Vec<String> {
    let pages = bucket.list(prefix.into(), None).await.unwrap();
    let mut keys: Vec<String> =
        pages.into_iter().flat_map(|page| page.contents).map(|object| object.key).collect();
    keys.sort();
    keys
}

/// Returns what is shown, how far each tier is of `A`, and what is named.
fn damaged(manager: &Manager, named: &[&str]) -> (Value, [Option<u64>; 2]) {
    let output = manager.run(&["status", "--json"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(5), "{error}");
    for name in named {
        assert!(error.contains(name), "{name}: {error}");
    }
    let shown: Value = serde_json::from_slice(&output.stdout).unwrap();
    let of_a = shown["streams"].as_array().unwrap().iter().find(|s| s["stream"] == "A").unwrap();
    let seq = |tier: &str| of_a[tier]["seq"].as_u64();
    let reached = [seq("nas"), seq("wasabi")];
    (shown, reached)
}

#[tokio::test(flavor = "multi_thread")]
async fn of_damaged_tiers_what_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let fake = fake_s3(dir.path(), "wasabi").await;
    let nats = Nats::start(&dir.path().join("host")).await;
    let mut settings = Settings::new(&nats.url, &minio.url);
    settings.layout = "journal".into();
    settings.wasabi = Some(fake.s3_url());
    settings.more = "[seal]\ninterval = \"200ms\"\n".into();
    let manager = Manager::new(dir.path(), "host", &settings);
    let daemon = manager.tier().await;
    nats.create("A", json!({})).await;
    for round in 1..=3 {
        nats.publish("A", 10).await;
        manager.reaches("A", "wasabi", 10 * round).await;
    }
    daemon.stop().await;
    let (nas, wasabi) = (bucket(&minio.url), bucket(&fake.s3_url()));
    let on_nas = keys(&nas, "v2/journal/main/entries/").await;
    let at_wasabi = keys(&wasabi, "v2/tertiary/main/entries/").await;
    let whole = wasabi.get_object(&at_wasabi[0]).await.unwrap().into_bytes();

    let newest = at_wasabi.last().unwrap();
    wasabi.put_object(newest, b"?").await.unwrap();
    let (_, [at_nas, reached]) = damaged(&manager, &["wasabi: ", newest]);
    assert_eq!(at_nas, Some(30));
    assert!(reached.is_some_and(|seq| (10..=30).contains(&seq)), "{reached:?}");

    // Nothing is before the damage.
    wasabi.put_object(&at_wasabi[0], b"?").await.unwrap();
    assert_eq!(damaged(&manager, &["wasabi: ", &at_wasabi[0]]).1, [Some(30), None]);

    let later = on_nas.last().unwrap();
    nas.put_object(later, b"?").await.unwrap();
    let (_, [at_nas, reached]) = damaged(&manager, &["nas: ", later, "wasabi: ", &at_wasabi[0]]);
    assert!(at_nas.is_some_and(|seq| seq >= 20) && reached.is_none(), "{at_nas:?} {reached:?}");
    nas.put_object(&on_nas[0], b"?").await.unwrap();
    wasabi.put_object(&at_wasabi[0], &whole).await.unwrap();
    let (_, [at_nas, reached]) = damaged(&manager, &["nas: ", &on_nas[0], newest]);
    assert!(at_nas.is_none() && reached >= Some(10), "{at_nas:?} {reached:?}");
}

/// A chain is of one stream: the others are shown.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_damaged_chain_the_other_streams() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    let manager = Manager::new(dir.path(), "host", &Settings::new(&nats.url, &minio.url));
    let daemon = manager.tier().await;
    nats.create("A", json!({})).await;
    nats.publish("A", 10).await;
    manager.reaches("A", "nas", 10).await;
    daemon.stop().await;
    nats.create("B", json!({})).await;
    let key = Chain::Manifest.key(&StreamName::new("B").unwrap(), 0).to_string();
    bucket(&minio.url).put_object(&key, b"?").await.unwrap();
    let (shown, [at_nas, _]) = damaged(&manager, &["nas: ", &key]);
    assert_eq!(at_nas, Some(10));
    assert_eq!(shown["streams"][1]["nas"], Value::Null, "{shown}");
}
