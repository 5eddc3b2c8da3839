//! Wasabi's bucket, while the configuration has another one, none, or a new NAS.

use std::path::Path;

use cim_fake_wasabi::FakeWasabi;
use serde_json::json;

use crate::chain::store;
use crate::support::{Manager, Nats, Settings, fake_s3, fingerprint, wait_until};

const QUICK: &str = "[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"200ms\"\n[collect]\ngrace = \"1s\"\ntertiary_age = \"0s\"\n";

fn manager(dir: &Path, nats: &Nats, nas: &FakeWasabi, wasabi: Option<&FakeWasabi>) -> Manager {
    let mut settings = Settings::new(&nats.url, &nas.s3_url());
    settings.layout = "journal".into();
    settings.wasabi = wasabi.map(FakeWasabi::s3_url);
    settings.more = QUICK.into();
    Manager::new(dir, "host", &settings)
}

/// Publishes so often that entries are merged, and waits until a tier has all of it.
async fn works(manager: &Manager, nats: &Nats, tier: &str) {
    let daemon = manager.tier().await;
    for _ in 0..8 {
        for stream in ["S", "T"] {
            nats.publish(stream, 5).await;
            manager.reaches(stream, "nas", nats.last_seq(stream).await).await;
        }
    }
    for stream in ["S", "T"] {
        manager.reaches(stream, tier, nats.last_seq(stream).await).await;
    }
    daemon.stop().await;
}

/// Everything comes back from Wasabi alone.
async fn is_whole(dir: &Path, nats: &Nats, wasabi: &FakeWasabi, name: &str) {
    let mut before = Vec::new();
    for stream in ["S", "T"] {
        before.push(fingerprint(nats, stream).await);
    }
    let new = Nats::start(&dir.join(name)).await;
    let mut settings = Settings::new(&new.url, "http://127.0.0.1:1");
    settings.wasabi = Some(wasabi.s3_url());
    let manager = Manager::new(dir, name, &settings);
    let report = manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(report["streams"].as_array().unwrap().len(), 2, "{report}");
    manager.json(&["restore", "--all", "--from", "wasabi"]);
    for (stream, before) in ["S", "T"].into_iter().zip(before) {
        assert_eq!(fingerprint(&new, stream).await, before, "{stream}");
    }
}

async fn host(dir: &Path) -> Nats {
    let nats = Nats::start(&dir.join("host")).await;
    for stream in ["S", "T"] {
        nats.create(stream, json!({})).await;
    }
    nats
}

/// Without the tier, or with another bucket as it, for a while.
async fn misconfigured(with_another: bool) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let nas = fake_s3(path, "nas").await;
    let wasabi = fake_s3(path, "wasabi").await;
    let another = fake_s3(path, "another").await;
    let nats = host(path).await;
    works(&manager(path, &nats, &nas, Some(&wasabi)), &nats, "wasabi").await;
    let other = with_another.then_some(&another);
    let tier = if with_another { "wasabi" } else { "nas" };
    works(&manager(path, &nats, &nas, other), &nats, tier).await;
    works(&manager(path, &nats, &nas, Some(&wasabi)), &nats, "wasabi").await;
    is_whole(path, &nats, &wasabi, "new").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hole_is_left_where_it_was_not_configured() {
    misconfigured(false).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hole_is_left_where_it_was_another_bucket() {
    misconfigured(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_filled_again_that_was_emptied_after_the_nas_was_replaced() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let wasabi = fake_s3(path, "wasabi").await;
    let nats = host(path).await;
    {
        let nas = fake_s3(path, "first").await;
        works(&manager(path, &nats, &nas, Some(&wasabi)), &nats, "wasabi").await;
        nas.shutdown().await;
    }
    let nas = fake_s3(path, "second").await;
    let second = manager(path, &nats, &nas, Some(&wasabi));
    works(&second, &nats, "wasabi").await;
    let bucket = store(path, &wasabi.s3_url());
    for object in bucket.list("", false).await.unwrap() {
        bucket.delete(&object.key).await.unwrap();
    }
    // What the first NAS had the second one has got back from Wasabi.
    works(&second, &nats, "wasabi").await;
    wait_until("it has a journal again", async || {
        match bucket.list("v2/tertiary/", false).await.unwrap() {
            objects if objects.is_empty() => Err("it is empty".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    is_whole(path, &nats, &wasabi, "new").await;
}
