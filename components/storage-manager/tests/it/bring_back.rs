//! A NAS that was lost gets its objects back from Wasabi: those that are what they were.

use cim_storage_manager::journal::read_entry;
use serde_json::json;

use crate::support::{Lab, keys, rotten, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn an_object_with_damaged_messages_is_not_brought_back() {
    let mut lab = Lab::with()
        .layout("journal")
        .settings("[seal]\ninterval = \"200ms\"\n")
        .wasabi()
        .start()
        .await;
    let daemon = lab.manager.tier().await;
    for stream in ["A", "B"] {
        lab.nats.create(stream, json!({})).await;
    }
    for round in 1..=3 {
        for stream in ["A", "B"] {
            lab.nats.publish(stream, 10).await;
        }
        for stream in ["A", "B"] {
            lab.manager.reaches(stream, "wasabi", 10 * round).await;
        }
    }
    daemon.stop().await;
    lab.lose_nas().await;

    // Of two entries with messages one rots.
    let wasabi = lab.wasabi_bucket();
    let mut with_messages = Vec::new();
    for key in keys(&wasabi, "v2/tertiary/main/entries/").await {
        let object = wasabi.get_object(&key).await.unwrap().into_bytes();
        let (entry, _) = read_entry(&object).unwrap();
        if entry.streams.values().any(|change| !change.add.is_empty()) {
            with_messages.push((key, object));
        }
    }
    let (damaged, whole) = &with_messages[0];
    assert!(with_messages.len() >= 2);
    wasabi.put_object(damaged, &rotten(whole)).await.unwrap();

    let there = |key: &str| !lab.nas.files(&format!("/{key}/")).is_empty();
    let daemon = lab.manager.tier().await;
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
    let daemon = lab.manager.tier().await;
    lab.manager.becomes_whole("nas").await;
    daemon.stop().await;
}
