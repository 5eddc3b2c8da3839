//! A journal's objects that rotted, were cut or are gone: the object is named, what is whole comes back, and
//! nothing is half done.

use bytes::Bytes;
use cim_core::archive::ArchiveKey;
use cim_core::archive::journal::{JournalEntry, JournalState};
use cim_core::archive::key::JournalOf;
use cim_core::names::{JournalName, StreamName};
use cim_storage_manager::journal::read_entry;
use cim_storage_manager::segment::SharedWriter;
use parquet::file::metadata::ParquetMetaDataReader;
use serde_json::{Value, json};

use crate::bad_input::{bucket, keys};
use crate::support::{Manager, Minio, Nats, Settings, fingerprint, wait_until};

pub(crate) const ENTRIES: &str = "v2/journal/main/entries/";

/// The journal of some streams, which NATS has no more.
pub(crate) struct Lab {
    dir: tempfile::TempDir,
    minio: Minio,
    pub(crate) nats: Nats,
    pub(crate) manager: Manager,
    pub(crate) bucket: Box<s3::Bucket>,
    /// The streams as they were.
    before: Vec<(&'static str, Value)>,
}

impl Lab {
    /// `D` is archived in entries of its own, before `A` and `B`, which share three later ones.
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// The same with more settings.
    pub(crate) async fn start_with(more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let minio = Minio::start(dir.path()).await;
        let nats = Nats::start(&dir.path().join("host")).await;
        let mut settings = Settings::new(&nats.url, &minio.url);
        settings.layout = "journal".into();
        settings.more = more.into();
        let manager = Manager::new(dir.path(), "host", &settings);
        let daemon = manager.tier().await;
        nats.create("D", json!({})).await;
        nats.publish("D", 20).await;
        manager.reaches("D", "nas", 20).await;
        for stream in ["A", "B"] {
            nats.create(stream, json!({})).await;
        }
        for round in 1..=3 {
            for stream in ["A", "B"] {
                nats.publish(stream, 20).await;
            }
            for stream in ["A", "B"] {
                manager.reaches(stream, "nas", 20 * round).await;
            }
        }
        daemon.stop().await;
        let bucket = bucket(&minio.url);
        let mut lab = Self { dir, minio, nats, manager, bucket, before: Vec::new() };
        for stream in ["A", "B", "D"] {
            lab.before.push((stream, fingerprint(&lab.nats, stream).await));
        }
        lab.clear().await;
        lab
    }

    /// Deletes every stream of the server.
    pub(crate) async fn clear(&self) {
        for stream in self.there().await {
            self.nats.api(&format!("STREAM.DELETE.{stream}"), Value::Null).await;
        }
    }

    pub(crate) async fn there(&self) -> Vec<String> {
        let names = self.nats.api("STREAM.NAMES", Value::Null).await;
        let mut names: Vec<String> =
            serde_json::from_value(names["streams"].clone()).unwrap_or_default();
        names.sort();
        names
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

    /// Writes the checkpoint of what these entries add up to; its key and its bytes.
    pub(crate) async fn checkpoint(&self, entries: &[String]) -> (String, Vec<u8>) {
        let state = self.fold(entries).await;
        let (journal, number) = (state.journal.clone(), state.last.unwrap().0);
        let key = ArchiveKey::Checkpoint { of: JournalOf::Secondary, journal, number }.to_string();
        let text = state.checkpoint().unwrap().to_bytes();
        let bytes = zstd::stream::encode_all(&text[..], 3).unwrap();
        self.put(&key, &bytes).await;
        (key, bytes)
    }

    /// What these entries add up to.
    async fn fold(&self, entries: &[String]) -> JournalState {
        let mut state =
            JournalState::empty(JournalOf::Secondary, JournalName::new("main").unwrap());
        for key in entries {
            let (entry, hash) = read_entry(&self.get(key).await).unwrap();
            state.apply(&entry, hash).unwrap();
        }
        state
    }

    /// The first entry that has messages of `A` from this sequence on.
    async fn entry_with(&self, entries: &[String], first_seq: u64) -> usize {
        for (index, key) in entries.iter().enumerate() {
            let (entry, _) = read_entry(&self.get(key).await).unwrap();
            let change = entry.streams.get(&StreamName::new("A").unwrap());
            if change.is_some_and(|change| change.add.iter().any(|s| s.last_seq >= first_seq)) {
                return index;
            }
        }
        panic!("no entry has sequence {first_seq}");
    }

    /// Archiving goes on with what JetStream has, in a bucket that is empty.
    async fn goes_on_in_a_new_bucket(&self, streams: &[(&str, u64)]) {
        // On a single drive MinIO's buckets are folders.
        std::fs::create_dir(self.minio.data.join("fresh")).unwrap();
        let mut settings = Settings::new(&self.nats.url, &self.minio.url);
        settings.layout = "journal".into();
        settings.bucket = "fresh".into();
        let manager = Manager::new(self.dir.path(), "fresh", &settings);
        let daemon = manager.tier().await;
        for (stream, last) in streams {
            manager.reaches(stream, "nas", *last).await;
        }
        daemon.stop().await;
        manager.json(&["verify"]);
    }

    /// The command ends with status 5 and one line that names the object.
    pub(crate) fn refuses(&self, command: &[&str], named: &str) {
        let output = self.manager.run(command);
        // Of several streams the table says what is wrong with each.
        let said = String::from_utf8([output.stderr, output.stdout].concat()).unwrap();
        assert_eq!(output.status.code(), Some(5), "{command:?}, {named}: {said}");
        assert!(said.contains("error: ") && said.contains(named), "{command:?}, {named}: {said}");
    }

    /// What was restored is the first messages of what was there, so many of each stream, and nothing else.
    async fn has(&self, expected: &[(&str, u64)]) {
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

/// A Parquet object in which a bit of the first payloads has flipped.
pub(crate) fn rotten(object: &Bytes) -> Vec<u8> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(object).unwrap();
    let (start, length) = metadata.row_group(0).columns().last().unwrap().byte_range();
    let mut bytes = object.to_vec();
    bytes[usize::try_from(start + length).unwrap() - 4] ^= 1;
    bytes
}

/// An entry of which a bit of what it decides has flipped; its messages are whole.
pub(crate) fn flipped(object: &Bytes) -> Vec<u8> {
    let mut bytes = object.to_vec();
    let text = bytes.windows(9).rposition(|w| w == b"cim.entry").unwrap();
    bytes[text + 200] ^= 1;
    bytes
}

const WHOLE: &[(&str, u64)] = &[("A", 60), ("B", 60), ("D", 20)];

/// An entry that is not what was written is no entry: nothing of the journal is believed from there on.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_read() {
    let lab = Lab::start().await;
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
    let lab = Lab::start().await;
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
    let lab = Lab::start().await;
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
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    let mut settings = Settings::new(&nats.url, &minio.url);
    settings.layout = "journal".into();
    settings.more = "[segment]\nflush_age = \"20ms\"\n".into();
    let manager = Manager::new(dir.path(), "host", &settings);
    let daemon = manager.tier().await;
    for stream in ["A", "B", "LARGE"] {
        nats.create(stream, json!({})).await;
    }
    let mut noise = 1_u64;
    wait_until("entries are merged", async || {
        nats.publish("A", 2).await;
        nats.publish("B", 2).await;
        let payload: Vec<u8> = std::iter::repeat_with(|| {
            noise = noise.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            noise.to_be_bytes()[0]
        })
        .take(32 << 10)
        .collect();
        nats.client.request("large.x", payload.into()).await.unwrap();
        let (shared, own) =
            (minio.files("/shared/1/").len(), minio.files("/LARGE/segments/").len());
        if shared > 0 && own > 0 { Ok(()) } else { Err(format!("{shared} shared, {own} own")) }
    })
    .await;
    // One that nothing merged has: it is archived last.
    nats.create("Z", json!({})).await;
    nats.publish("Z", 5).await;
    for stream in ["A", "B", "LARGE", "Z"] {
        manager.reaches(stream, "nas", nats.last_seq(stream).await).await;
    }
    daemon.stop().await;
    let mut before = Vec::new();
    for stream in ["A", "B", "LARGE", "Z"] {
        before.push((stream, fingerprint(&nats, stream).await));
    }
    let bucket = bucket(&minio.url);
    let lab = Lab { dir, minio, nats, manager, bucket, before };
    lab.clear().await;
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
    let lab = Lab::start().await;
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
        assert!(
            said.contains(&format!("{foreign}` is nothing that this program writes")),
            "{said}"
        );
    }
    lab.manager.json(&["streams"]);
    lab.manager.json(&["restore", "--all"]);
    lab.has(WHOLE).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("D", 5).await;
    lab.manager.reaches("D", "nas", 25).await;
    daemon.stop().await;
}
