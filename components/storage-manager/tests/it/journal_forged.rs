//! Entries of a journal that somebody forged, hashes and all: what they say cannot be, so they are refused.

use cim_core::archive::journal::{Change, JournalEntry, SegmentRecord};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveKey, Sha256};
use cim_core::names::{JournalName, StreamName};
use cim_storage_manager::journal::read_entry;
use cim_storage_manager::segment::SharedWriter;

use crate::support::{ArchivedJournal, ENTRIES};

/// Every command in question, with an entry behind the newest one in which one segment of `A` is added.
async fn refused(lab: &ArchivedJournal, what: &str, change: Change) {
    let newest = lab.keys(ENTRIES).await.pop().unwrap();
    let (before, hash) = read_entry(&lab.get(&newest).await).unwrap();
    let entry = JournalEntry {
        number: before.number + 1,
        previous: Some(hash),
        streams: [(StreamName::new("A").unwrap(), change)].into(),
        collected: Vec::new(),
        ..before
    };
    let journal = JournalName::new("main").unwrap();
    let key = ArchiveKey::Journal { of: JournalOf::Secondary, journal, number: entry.number };
    let key = key.to_string();
    let object = SharedWriter::new(1).finish(Some(entry.to_text().0)).unwrap();
    lab.put(&key, &object).await;
    for command in [
        &["verify"][..],
        &["verify", "--chain-only"],
        &["streams"],
        &["restore", "A"],
        &["restore", "--all"],
    ] {
        let output = lab.manager.run(command);
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(!said.contains("panicked"), "{what}, {command:?}: {said}");
        // Only who reads the messages finds out about those.
        let reads = !matches!(command, ["streams"] | ["verify", "--chain-only"]);
        let status = output.status.code();
        assert!(status == Some(5) || !reads && status == Some(0), "{what}, {command:?}: {said}");
        assert!(!lab.there().await.contains(&"A".to_owned()), "{what}, {command:?} left it there");
        lab.clear().await;
    }
    // Whatever the newest entry says, what was there before it can be had.
    lab.bucket.delete_object(&key).await.unwrap();
    lab.manager.json(&["verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn entries_that_say_what_cannot_be() {
    let lab = ArchivedJournal::start().await;
    let entries = lab.keys(ENTRIES).await;
    let mut part = None;
    for key in &entries {
        let (entry, _) = read_entry(&lab.get(key).await).unwrap();
        let change = entry.streams.get(&StreamName::new("A").unwrap());
        if let Some(last) = change.and_then(|change| change.add.last()) {
            part = Some((key.clone(), last.clone()));
        }
    }
    let (key, part) = part.unwrap();
    assert_eq!(part.last_seq, 60);
    let next = SegmentRecord { key: Some(key), first_seq: 61, last_seq: 80, ..part };
    let foreign = ArchiveKey::segment(&StreamName::new("D").unwrap(), 1, 61, 80, &next.sha256);
    let own = SegmentRecord { groups: None, size: 1000, ..next.clone() };
    for (what, segment) in [
        ("an overlap", SegmentRecord { first_seq: 41, ..next.clone() }),
        ("a wrong hash", SegmentRecord { sha256: Sha256::of(b"?"), ..next.clone() }),
        ("messages that are not there", next.clone()),
        ("row groups beyond the file", SegmentRecord { groups: Some((7, 3)), ..next.clone() }),
        (
            "row groups beyond all",
            SegmentRecord { groups: Some((u32::MAX, u32::MAX)), ..next.clone() },
        ),
        (
            "more messages than sequences",
            SegmentRecord { messages: u64::MAX, bytes: u64::MAX, ..next.clone() },
        ),
        ("the last sequence of all", SegmentRecord { last_seq: u64::MAX, ..next.clone() }),
        (
            "a segment of another stream",
            SegmentRecord { key: Some(foreign.to_string()), ..own.clone() },
        ),
        (
            "a key that climbs",
            SegmentRecord { key: Some("v1/streams/A/segments/../../../x".into()), ..own.clone() },
        ),
        ("a key that is none", SegmentRecord { key: Some(String::new()), ..own.clone() }),
        ("a file of all bytes", SegmentRecord { size: u64::MAX, ..own }),
    ] {
        refused(&lab, what, Change { add: vec![segment], ..Change::default() }).await;
    }
}
