//! What no stream needs today and `verify` looks at all the same: the checkpoint before the newest one and the entries
//! between them say the same as that one. What is older is of no use any more; it may be gone, and is named where it
//! rotted.

use std::process::Output;

use serde_json::{Value, json};

use crate::support::{ArchivedJournal, ENTRIES, Lab, Manager, flipped, wait_until};

const CHECKPOINTS: &str = "v2/journal/main/checkpoints/";

fn run(manager: &Manager, arguments: &[&str]) -> (Output, String) {
    let output = manager.run(&[&["verify"], arguments].concat());
    let said = String::from_utf8(output.stderr.clone()).unwrap();
    (output, said)
}

/// What the JSON has of the journal: problems, or warnings.
fn found(manager: &Manager, arguments: &[&str], what: &str) -> Vec<String> {
    let (output, _) = run(manager, &[arguments, &["--json"]].concat());
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let found = report["journals"][0][what].as_array().unwrap().iter();
    found.map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// It names one thing that is wrong with the journal, everywhere, and the way out; the streams are whole.
fn names(manager: &Manager, from: &str, named: &str, way_out: &str) {
    for more in [&["--from", from][..], &["--from", from, "--chain-only"]] {
        let (output, said) = run(manager, more);
        assert_eq!(output.status.code(), Some(5), "{said}");
        let last = said.lines().last().unwrap();
        assert!(last.starts_with("error: journal `main`: ") && last.contains(named), "{said}");
        assert!(last.contains(way_out) && last.ends_with("can be read nevertheless"), "{said}");
        let table = String::from_utf8(output.stdout).unwrap();
        let lines = table.lines().filter(|line| line.starts_with("journal `main`: "));
        assert_eq!(lines.filter(|line| line.contains(named)).count(), 1, "{table}");
        let problems = found(manager, more, "problems");
        assert!(problems.len() == 1 && problems[0].contains(named), "{problems:?}");
    }
}

/// It ends well; the warnings of the whole check, and of the quick one.
fn warns(manager: &Manager) -> [Vec<String>; 2] {
    [&[][..], &["--chain-only"]].map(|more| {
        let (output, said) = run(manager, more);
        assert!(output.status.success() && !said.contains("ERROR"), "{said}");
        assert_eq!(found(manager, more, "problems"), Vec::<String>::new());
        let warnings = found(manager, more, "warnings");
        for warning in &warnings {
            assert!(said.contains(&format!("WARN journal `main`: {warning}")), "{said}");
        }
        warnings
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn to_what_the_newest_checkpoint_says() {
    let lab = ArchivedJournal::start().await;
    let manager = &lab.manager;
    let entries = lab.keys(ENTRIES).await;
    let count = entries.len();
    assert!(count >= 6, "{entries:?}");
    // The last entry is behind both.
    let (earlier, earlier_bytes) = lab.checkpoint(&entries[..3]).await;
    let (newest, newest_bytes) = lab.checkpoint(&entries[..count - 1]).await;
    let none: [Vec<String>; 2] = [Vec::new(), Vec::new()];
    assert_eq!(warns(manager), none);

    let mut rotten = newest_bytes.clone();
    rotten[newest_bytes.len() / 2] ^= 1;
    for bytes in [&rotten[..], &newest_bytes[..20], b"", &earlier_bytes] {
        lab.put(&newest, bytes).await;
        names(manager, "nas", &newest, &format!("delete `{newest}`: "));
    }
    lab.bucket.delete_object(&newest).await.unwrap();
    assert_eq!(warns(manager), none, "the way out is one");
    lab.put(&newest, &newest_bytes).await;

    lab.put(&earlier, &rotten).await;
    names(manager, "nas", &earlier, "its next checkpoint makes up for it");
    lab.put(&earlier, &earlier_bytes).await;

    // What is between them, and the last one that the newest has.
    for key in [&entries[3], &entries[count - 2]] {
        let whole = lab.get(key).await;
        lab.put(key, &flipped(&whole)).await;
        names(manager, "nas", key, "its next checkpoint makes up for it");
        lab.bucket.delete_object(key).await.unwrap();
        let (output, said) = run(manager, &["--chain-only"]);
        assert_eq!(output.status.code(), Some(5), "{said}");
        let missing = format!("journal entry `{key}` is missing");
        assert!(found(manager, &[], "problems").contains(&missing), "{said}");
        // Where messages were in it, those are missing too.
        assert!(said.contains("journal `main`: ") && said.contains("can be read nevertheless"));
        let table = String::from_utf8(output.stdout).unwrap();
        let harmed = table.contains(&format!(": segment `{key}` is missing"));
        let streams = "streams on NAS are damaged: where the host lives the storage manager heals them (docs/recovery.md#an-object-on-the-nas-is-damaged), else restore them from another tier; journal `main`";
        assert_eq!(said.contains(streams), harmed, "{said}{table}");
        lab.put(key, &whole).await;
    }

    let two = [lab.get(&entries[3]).await, lab.get(&entries[4]).await];
    for key in &entries[3..5] {
        lab.bucket.delete_object(key).await.unwrap();
    }
    let missing = format!("journal entry `{}`, with the 1 behind it, is missing", entries[3]);
    assert_eq!(found(manager, &[], "problems"), [missing]);
    for (key, whole) in entries[3..5].iter().zip(&two) {
        lab.put(key, whole).await;
    }

    // What is behind them is of no use any more.
    for key in &entries[..3] {
        let whole = lab.get(key).await;
        lab.put(key, &flipped(&whole)).await;
        let [all, needed] = warns(manager);
        assert!(all.len() == 1 && all[0].contains(key) && needed.is_empty(), "{all:?}");
        lab.put(key, &whole).await;
    }
    let oldest = lab.checkpoint(&entries[..1]).await.0;
    lab.put(&oldest, b"?").await;
    let [all, needed] = warns(manager);
    assert!(all.len() == 1 && all[0].contains(&oldest) && needed.is_empty(), "{all:?}");
    lab.bucket.delete_object(&oldest).await.unwrap();

    // Of one checkpoint all entries are the second way, as long as they are there.
    lab.bucket.delete_object(&earlier).await.unwrap();
    assert_eq!(warns(manager), none);
    let whole = lab.get(&entries[1]).await;
    lab.put(&entries[1], &flipped(&whole)).await;
    for warnings in warns(manager) {
        assert!(warnings.len() == 1 && warnings[0].contains(&entries[1]), "{warnings:?}");
    }
    lab.put(&entries[1], &whole).await;
}

/// What was collected is no damage; one checkpoint with nothing before it is worth a word.
#[tokio::test(flavor = "multi_thread")]
async fn need_not_go_back_to_what_was_collected() {
    let lab = ArchivedJournal::start().await;
    let entries = lab.keys(ENTRIES).await;
    // `D` begins in the first entry, which holds no messages.
    let earlier = lab.checkpoint(&entries[..2]).await.0;
    let newest = lab.checkpoint(&entries).await.0;
    lab.bucket.delete_object(&entries[0]).await.unwrap();
    assert_eq!(warns(&lab.manager), [Vec::<String>::new(), Vec::new()]);
    lab.bucket.delete_object(&earlier).await.unwrap();
    for warnings in warns(&lab.manager) {
        assert!(warnings.len() == 1 && warnings[0].contains(&newest), "{warnings:?}");
    }
}

/// What `verify` says is the way out is one: with the manager's next checkpoint it is content.
#[tokio::test(flavor = "multi_thread")]
async fn comes_back_with_the_next_checkpoint() {
    let lab = ArchivedJournal::start_with("[segment]\nflush_age = \"20ms\"\n").await;
    lab.manager.json(&["restore", "--all"]);
    let entries = lab.keys(ENTRIES).await;
    lab.checkpoint(&entries[..3]).await;
    lab.checkpoint(&entries[..entries.len() - 1]).await;
    let key = &entries[3];
    let whole = lab.get(key).await;
    lab.put(key, &flipped(&whole)).await;
    names(&lab.manager, "nas", key, "its next checkpoint makes up for it");
    next_checkpoint(&lab).await;
    let [all, needed] = warns(&lab.manager);
    assert!(all.len() == 1 && all[0].contains(key) && needed.is_empty(), "{all:?}");
    lab.put(key, &whole).await;

    let newest = lab.keys(CHECKPOINTS).await.pop().unwrap();
    lab.put(&newest, b"?").await;
    names(&lab.manager, "nas", &newest, &format!("delete `{newest}`: "));
    lab.bucket.delete_object(&newest).await.unwrap();
    next_checkpoint(&lab).await;
    assert_eq!(warns(&lab.manager), [Vec::<String>::new(), Vec::new()]);
}

/// Lets the manager run until it has written a checkpoint.
async fn next_checkpoint(lab: &ArchivedJournal) {
    let before = lab.keys(CHECKPOINTS).await;
    let daemon = lab.manager.tier().await;
    wait_until("a checkpoint is written", async || {
        lab.nats.publish("A", 1).await;
        let there = lab.keys(CHECKPOINTS).await;
        if there.len() > before.len() { Ok(()) } else { Err(format!("{there:?}")) }
    })
    .await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn is_looked_at_on_wasabi_too() {
    let lab = Lab::with()
        .wasabi()
        .layout("journal")
        .settings("[seal]\ninterval = \"100ms\"\n")
        .start()
        .await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 10).await;
    lab.manager.reaches("S", "wasabi", 10).await;
    daemon.stop().await;
    let key = "v2/tertiary/main/checkpoints/000000000000.json.zst";
    let store = lab.wasabi_bucket();
    store.put_object(key, b"?").await.unwrap();
    names(&lab.manager, "wasabi", key, &format!("delete `{key}`: "));
    lab.manager.json(&["verify"]);
    store.delete_object(key).await.unwrap();
    lab.manager.json(&["verify", "--from", "wasabi"]);
}
