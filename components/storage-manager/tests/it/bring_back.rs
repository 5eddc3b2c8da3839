//! A NAS that was lost gets its objects back from Wasabi: those that are what they were.

use cim_storage_manager::journal::read_entry;
use serde_json::json;

use crate::bad_input::bucket;
use crate::journal_damage::rotten;
use crate::support::{Manager, Minio, Nats, Settings, fake_s3, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn an_object_with_damaged_messages_is_not_brought_back() {
    let dir = tempfile::tempdir().unwrap();
    let first = Minio::start(dir.path()).await;
    let fake = fake_s3(dir.path(), "wasabi").await;
    let nats = Nats::start(&dir.path().join("host")).await;
    let manager = |name: &str, nas: &str| {
        let mut settings = Settings::new(&nats.url, nas);
        settings.layout = "journal".into();
        settings.wasabi = Some(fake.s3_url());
        settings.more = "[seal]\ninterval = \"200ms\"\n".into();
        Manager::new(dir.path(), name, &settings)
    };
    let old = manager("old", &first.url);
    let daemon = old.tier().await;
    for stream in ["A", "B"] {
        nats.create(stream, json!({})).await;
    }
    for round in 1..=3 {
        for stream in ["A", "B"] {
            nats.publish(stream, 10).await;
        }
        for stream in ["A", "B"] {
            old.reaches(stream, "wasabi", 10 * round).await;
        }
    }
    daemon.stop().await;
    drop(first);

    // Of two entries with messages one rots.
    let wasabi = bucket(&fake.s3_url());
    let pages = wasabi.list("v2/tertiary/main/entries/".into(), None).await.unwrap();
    let mut with_messages = Vec::new();
    for key in pages.into_iter().flat_map(|page| page.contents).map(|object| object.key) {
        let object = wasabi.get_object(&key).await.unwrap().into_bytes();
        let (entry, _) = read_entry(&object).unwrap();
        if entry.streams.values().any(|change| !change.add.is_empty()) {
            with_messages.push((key, object));
        }
    }
    with_messages.sort();
    let (damaged, whole) = &with_messages[0];
    assert!(with_messages.len() >= 2);
    wasabi.put_object(damaged, &rotten(whole)).await.unwrap();

    let second = Minio::start(&dir.path().join("second")).await;
    let new = manager("new", &second.url);
    let there = |key: &str| !second.files(&format!("/{key}/")).is_empty();
    let daemon = new.tier().await;
    wait_until("the others are back, and the damaged one is named", async || {
        let others = with_messages[1..].iter().all(|(key, _)| there(key));
        let log = daemon.log();
        let named = format!("the copy at Wasabi is damaged: `{damaged}`: stream `");
        if others && log.contains(&named) { Ok(()) } else { Err(log) }
    })
    .await;
    assert!(!there(damaged), "{}", daemon.log());
    daemon.stop().await;

    // It is whole again.
    wasabi.put_object(damaged, whole).await.unwrap();
    let daemon = new.tier().await;
    wait_until("all of it is back", async || {
        let verified = new.run(&["verify"]);
        if verified.status.success() { Ok(()) } else { Err(format!("{verified:?}")) }
    })
    .await;
    daemon.stop().await;
}
