//! A journal to damage: the archive of some streams that NATS has no more.

use std::ops::Deref;

use bytes::Bytes;
use cim_core::archive::ArchiveKey;
use cim_core::archive::journal::JournalState;
use cim_core::archive::key::JournalOf;
use cim_core::names::{JournalName, StreamName};
use cim_storage_manager::journal::read_entry;
use serde_json::{Value, json};

use super::{Lab, fingerprint, keys};

/// Where the entries of a journal lie.
pub(crate) const ENTRIES: &str = "v2/journal/main/entries/";

/// The journal of some streams, which NATS has no more.
pub(crate) struct ArchivedJournal {
    lab: Lab,
    pub(crate) bucket: Box<s3::Bucket>,
    /// The streams as they were.
    pub(crate) before: Vec<(&'static str, Value)>,
}

impl Deref for ArchivedJournal {
    type Target = Lab;

    fn deref(&self) -> &Lab {
        &self.lab
    }
}

impl ArchivedJournal {
    /// Archives `D` in entries of its own, then `A` and `B`, which share three later ones.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same with more settings.
    pub(crate) async fn start_with(more: &str) -> Self {
        let lab = Lab::with().layout("journal").settings(more).start().await;
        let daemon = lab.manager.tier().await;
        lab.nats.create("D", json!({})).await;
        lab.nats.publish("D", 20).await;
        lab.manager.reaches("D", "nas", 20).await;
        for stream in ["A", "B"] {
            lab.nats.create(stream, json!({})).await;
        }
        for round in 1..=3 {
            for stream in ["A", "B"] {
                lab.nats.publish(stream, 20).await;
            }
            for stream in ["A", "B"] {
                lab.manager.reaches(stream, "nas", 20 * round).await;
            }
        }
        daemon.stop().await;
        Self::lose(lab, &["A", "B", "D"]).await
    }

    /// Notes what these streams are, and deletes all.
    pub(crate) async fn lose(lab: Lab, streams: &[&'static str]) -> Self {
        let bucket = lab.bucket();
        let mut archived = Self { lab, bucket, before: Vec::new() };
        for stream in streams {
            archived.before.push((stream, fingerprint(&archived.nats, stream).await));
        }
        archived.clear().await;
        archived
    }

    /// Deletes every stream of the server.
    pub(crate) async fn clear(&self) {
        for stream in self.there().await {
            self.nats.delete_stream(&stream).await;
        }
    }

    /// Returns the streams that NATS has.
    pub(crate) async fn there(&self) -> Vec<String> {
        self.nats.stream_names().await
    }

    pub(crate) async fn keys(&self, prefix: &str) -> Vec<String> {
        keys(&self.bucket, prefix).await
    }

    pub(crate) async fn get(&self, key: &str) -> Bytes {
        self.bucket.get_object(key).await.unwrap().into_bytes()
    }

    pub(crate) async fn put(&self, key: &str, bytes: &[u8]) {
        self.bucket.put_object(key, bytes).await.unwrap();
    }

    /// Writes the checkpoint of what these entries add up to; returns its key and its bytes.
    pub(crate) async fn checkpoint(&self, entries: &[String]) -> (String, Vec<u8>) {
        let state = self.fold(entries).await;
        let (journal, number) = (state.journal.clone(), state.last.unwrap().0);
        let key = ArchiveKey::Checkpoint { of: JournalOf::Secondary, journal, number }.to_string();
        let text = state.checkpoint().unwrap().to_bytes();
        let bytes = zstd::stream::encode_all(&text[..], 3).unwrap();
        self.put(&key, &bytes).await;
        (key, bytes)
    }

    /// Returns what these entries add up to.
    pub(crate) async fn fold(&self, entries: &[String]) -> JournalState {
        let mut state =
            JournalState::empty(JournalOf::Secondary, JournalName::new("main").unwrap());
        for key in entries {
            let (entry, hash) = read_entry(&self.get(key).await).unwrap();
            state.apply(&entry, hash).unwrap();
        }
        state
    }

    /// Returns the first entry that has messages of `A` from this sequence on.
    pub(crate) async fn entry_with(&self, entries: &[String], first_seq: u64) -> usize {
        for (index, key) in entries.iter().enumerate() {
            let (entry, _) = read_entry(&self.get(key).await).unwrap();
            let change = entry.streams.get(&StreamName::new("A").unwrap());
            if change.is_some_and(|change| change.add.iter().any(|s| s.last_seq >= first_seq)) {
                return index;
            }
        }
        panic!("no entry has sequence {first_seq}");
    }

    /// Asserts that archiving goes on with what JetStream has, in a bucket that is empty.
    pub(crate) async fn goes_on_in_a_new_bucket(&self, streams: &[(&str, u64)]) {
        let bucket = self.nas.another_bucket("fresh");
        let manager = self.manager_with("fresh", |settings| {
            (settings.bucket, settings.more) = (bucket, String::new());
        });
        let daemon = manager.tier().await;
        for (stream, last) in streams {
            manager.reaches(stream, "nas", *last).await;
        }
        daemon.stop().await;
        manager.json(&["verify"]);
    }

    /// Asserts that the command ends with status 5 and one line that names the object.
    pub(crate) fn refuses(&self, command: &[&str], named: &str) {
        let output = self.manager.run(command);
        // Of several streams the table says what is wrong with each.
        let said = String::from_utf8([output.stderr, output.stdout].concat()).unwrap();
        assert_eq!(output.status.code(), Some(5), "{command:?}, {named}: {said}");
        assert!(said.contains("error: ") && said.contains(named), "{command:?}, {named}: {said}");
    }

    /// Asserts that what was restored is the first messages of what was there, so many of each stream, and nothing else.
    pub(crate) async fn has(&self, expected: &[(&str, u64)]) {
        let names: Vec<String> = expected.iter().map(|(stream, _)| (*stream).to_owned()).collect();
        assert_eq!(self.there().await, names);
        for (stream, messages) in expected {
            let before = &self.before.iter().find(|(name, _)| name == stream).unwrap().1["all"];
            let before = before.as_array().unwrap();
            let found = fingerprint(&self.nats, stream).await;
            let found = found["all"].as_array().unwrap();
            let count = usize::try_from(*messages).unwrap();
            assert_eq!(found[..], before[..count], "{stream}");
        }
    }
}
