//! A journal's objects that rotted, were cut or are gone: the object is named, what is whole comes back, and
//! nothing is half done.

use cim_core::archive::journal::JournalEntry;
use cim_core::names::{JournalName, StreamName};
use cim_storage_manager::journal::read_entry;
use cim_storage_manager::segment::SharedWriter;
use serde_json::json;

use crate::support::{
    ArchivedJournal, ENTRIES, Lab, fingerprint, flipped, noise, rotten, wait_until,
};

const WHOLE: &[(&str, u64)] = &[("A", 60), ("B", 60), ("D", 20)];

/// An entry that is not what was written is no entry: nothing of the journal is believed from there on.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_read() {
    let lab = ArchivedJournal::start().await;
    let entries = lab.keys(ENTRIES).await;
    let at = lab.entry_with(&entries, 21).await;
    let key = entries[at].clone();
    let state = lab.fold(&entries[..at]).await;
    let earlier: Vec<(&str, u64)> = ["A", "B", "D"]
        .into_iter()
        .filter_map(|name| {
            let held = state.streams.get(&StreamName::new(name).unwrap())?;
            Some((name, held.watermark().seq))
        })
        .collect();
    assert!(earlier.contains(&("D", 20)) && !earlier.contains(&("A", 60)), "{earlier:?}");
    let whole = lab.get(&key).await;
    let foreign = {
        let (entry, _) = read_entry(&whole).unwrap();
        let entry = JournalEntry { journal: JournalName::new("other").unwrap(), ..entry };
        SharedWriter::new(1).finish(Some(entry.to_text().0)).unwrap().to_vec()
    };
    for kind in ["flipped", "cut", "empty", "gone", "of another journal", "of another number"] {
        let mut bytes = whole.to_vec();
        let mut named = key.clone();
        match kind {
            "flipped" => bytes = flipped(&whole),
            "cut" => bytes.truncate(whole.len() / 2),
            "empty" => bytes.clear(),
            "of another journal" => bytes.clone_from(&foreign),
            "of another number" => bytes = lab.get(&entries[at + 1]).await.to_vec(),
            _ => named.clone_from(&entries[at + 1]),
        }
        if kind == "gone" {
            lab.bucket.delete_object(&key).await.unwrap();
        } else {
            lab.put(&key, &bytes).await;
        }
        for command in [&["verify"][..], &["streams"], &["tier"]] {
            lab.refuses(command, &named);
        }
        let (_, error) = lab.manager.error(&["tier"]);
        assert!(
            error.contains("put it back from a copy of the NAS")
                && error.contains("a new, empty bucket")
                && error.contains("`restore --all --before-damage`")
                && error.contains("docs/recovery.md#an-object-on-the-nas-is-damaged"),
            "{error}"
        );
        for command in
            [&["restore", "--all"][..], &["restore", "D"], &["restore", "A", "--dry-run"]]
        {
            lab.refuses(command, &named);
            let (_, error) = lab.manager.error(command);
            assert!(
                error.contains("`--from wasabi`") && error.contains("`--before-damage`"),
                "{error}"
            );
            lab.has(&[]).await;
        }
        lab.refuses(&["restore", "--all", "--before-damage"], &named);
        lab.has(&earlier).await;
        if kind == "flipped" {
            lab.goes_on_in_a_new_bucket(&earlier).await;
        }
        lab.clear().await;
        lab.put(&key, &whole).await;
    }
    // The other way out: it is back, and the daemon starts.
    lab.manager.tier().await.stop().await;
    // The newest one that is missing is an archive that is one commit younger, and whole.
    let newest = entries.last().unwrap();
    let bytes = lab.get(newest).await;
    lab.bucket.delete_object(newest).await.unwrap();
    lab.manager.json(&["verify"]);
    lab.put(newest, &bytes).await;
    lab.manager.json(&["verify"]);
    lab.manager.json(&["restore", "--all"]);
    lab.has(WHOLE).await;
}

/// The decision of an entry is whole, some of its rows are not: only who has those is harmed.
#[tokio::test(flavor = "multi_thread")]
async fn rows_of_an_entry_that_rotted() {
    let lab = ArchivedJournal::start().await;
    let entries = lab.keys(ENTRIES).await;
    let key = entries[lab.entry_with(&entries, 21).await].clone();
    let bytes = rotten(&lab.get(&key).await);
    lab.put(&key, &bytes).await;
    let output = lab.manager.run(&["verify"]);
    assert_eq!(output.status.code(), Some(5));
    let said = String::from_utf8(output.stdout).unwrap();
    assert!(said.lines().any(|line| line.starts_with("A: ") && line.contains(&key)), "{said}");
    assert!(!said.lines().any(|line| line.starts_with("D: ")), "{said}");
    lab.manager.json(&["streams"]);
    lab.refuses(&["restore", "A"], &key);
    lab.has(&[]).await;
    lab.refuses(&["restore", "--all"], &key);
    assert!(!lab.there().await.contains(&"A".to_owned()), "it is there in part");
    assert!(lab.there().await.contains(&"D".to_owned()), "it comes after what is damaged");
    // What is before it comes back.
    lab.manager.json(&["restore", "A", "--until-seq", "20"]);
    lab.clear().await;
    // And tiering goes on.
    lab.manager.json(&["restore", "D"]);
    let daemon = lab.manager.tier().await;
    lab.nats.publish("D", 5).await;
    lab.manager.reaches("D", "nas", 25).await;
    daemon.stop().await;
}

/// A checkpoint that cannot be believed is gone on without: an earlier one, or the first entry, says the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_that_rotted() {
    let lab = ArchivedJournal::start().await;
    let entries = lab.keys(ENTRIES).await;
    let middle = lab.entry_with(&entries, 21).await;
    let mut checkpoints = Vec::new();
    for end in [middle, entries.len()] {
        checkpoints.push(lab.checkpoint(&entries[..end]).await);
    }
    lab.manager.json(&["verify"]);
    let [(earlier, earlier_bytes), (newest, newest_bytes)] = &checkpoints[..] else {
        unreachable!()
    };
    let mut flipped = newest_bytes.clone();
    flipped[newest_bytes.len() / 2] ^= 1;
    for bytes in [&flipped[..], &newest_bytes[..20], b"", earlier_bytes] {
        lab.put(newest, bytes).await;
        let output = lab.manager.run(&["streams"]);
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(
            output.status.success() && said.contains(&format!("checkpoint `{newest}`")),
            "{said}"
        );
    }
    // The only other one is damaged as well, and entry 0 is still there.
    lab.put(earlier, b"?").await;
    lab.manager.json(&["restore", "--all"]);
    lab.has(WHOLE).await;
    lab.clear().await;
    lab.bucket.delete_object(&entries[0]).await.unwrap();
    for command in [
        &["verify"][..],
        &["streams"],
        &["restore", "--all"],
        &["restore", "--all", "--before-damage"],
        &["tier"],
    ] {
        lab.refuses(command, newest);
        lab.has(&[]).await;
    }
}

/// Objects that hold what was merged, of several streams and of one.
#[tokio::test(flavor = "multi_thread")]
async fn a_merged_object_that_rotted_or_is_gone() {
    let lab =
        Lab::with().layout("journal").settings("[segment]\nflush_age = \"20ms\"\n").start().await;
    let daemon = lab.manager.tier().await;
    for stream in ["A", "B", "LARGE"] {
        lab.nats.create(stream, json!({})).await;
    }
    let mut seed = 0;
    wait_until("entries are merged", async || {
        lab.nats.publish("A", 2).await;
        lab.nats.publish("B", 2).await;
        seed += 1;
        lab.nats.put("large.x", noise(seed, 32 << 10)).await;
        let (shared, own) =
            (lab.nas.files("/shared/1/").len(), lab.nas.files("/LARGE/segments/").len());
        if shared > 0 && own > 0 { Ok(()) } else { Err(format!("{shared} shared, {own} own")) }
    })
    .await;
    // One that nothing merged has: it is archived last.
    lab.nats.create("Z", json!({})).await;
    lab.nats.publish("Z", 5).await;
    lab.manager.has_all(&lab.nats, &["A", "B", "LARGE", "Z"]).await;
    daemon.stop().await;
    let lab = ArchivedJournal::lose(lab, &["A", "B", "LARGE", "Z"]).await;
    let shared = lab.keys("v2/journal/main/shared/").await[0].clone();
    let own = lab.keys("v1/streams/LARGE/segments/").await[0].clone();
    for (key, harmed) in [(&shared, "A"), (&own, "LARGE")] {
        let whole = lab.get(key).await;
        for kind in ["flipped", "cut", "gone"] {
            match kind {
                "flipped" => lab.put(key, &rotten(&whole)).await,
                "cut" => lab.put(key, &whole[..whole.len() / 2]).await,
                _ => drop(lab.bucket.delete_object(key).await.unwrap()),
            }
            let output = lab.manager.run(&["verify"]);
            let said = String::from_utf8(output.stdout).unwrap();
            assert_eq!(output.status.code(), Some(5), "{key} {kind}: {said}");
            let found = format!("{harmed}: ");
            assert!(
                said.lines().any(|l| l.starts_with(&found) && l.contains(key)),
                "{kind}: {said}"
            );
            assert!(!said.lines().any(|l| l.starts_with("Z: ")), "{key} {kind}: {said}");
            lab.refuses(&["restore", harmed], key);
            lab.has(&[]).await;
            lab.refuses(&["restore", "--all"], key);
            assert!(!lab.there().await.contains(&harmed.to_owned()), "{key} {kind}");
            assert!(lab.there().await.contains(&"Z".to_owned()), "{key} {kind}");
            lab.clear().await;
        }
        lab.put(key, &whole).await;
    }
    lab.manager.json(&["verify"]);
    lab.manager.json(&["restore", "--all"]);
    for (stream, before) in &lab.before {
        assert_eq!(&fingerprint(&lab.nats, stream).await, before, "{stream}");
    }
}

/// Consoles make folders, file managers leave their files: none of it is the archive's, and nothing is damaged by it.
#[tokio::test(flavor = "multi_thread")]
async fn what_people_put_into_the_bucket_is_left_alone() {
    let lab = ArchivedJournal::start().await;
    let entries = lab.keys(ENTRIES).await;
    lab.checkpoint(&entries[..entries.len() - 1]).await;
    for key in [
        "notes.txt",
        "v2/",
        "v2/journal/",
        "v2/journal/main/entries/",
        "v2/journal/main/entries/DS_Store",
        "v2/journal/main/entries/README.md",
        "v2/journal/main/entries/copy of 000000000001.parquet",
        "v2/journal/main/checkpoints/Thumbs.db",
        "v2/journal/lost+found/x",
        "v1/streams/A/segments/",
    ] {
        lab.put(key, b"").await;
    }
    let output = lab.manager.run(&["verify"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "{said}");
    for foreign in ["entries/README.md", "checkpoints/Thumbs.db"] {
        assert!(said.contains(&format!("{foreign}` is not an object of this program")), "{said}");
    }
    lab.manager.json(&["streams"]);
    lab.manager.json(&["restore", "--all"]);
    lab.has(WHOLE).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("D", 5).await;
    lab.manager.reaches("D", "nas", 25).await;
    daemon.stop().await;
}
