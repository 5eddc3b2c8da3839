//! `restore --all` of two hundred streams, a tenth of which cannot come back for five reasons: one run restores all
//! others, and the next one what was mended.

use std::path::Path;

use bytes::Bytes;
use parquet::file::metadata::{ParquetMetaDataReader, RowGroupMetaData};
use serde_json::{Value, json};

use crate::bad_input::bucket;
use crate::in_part::account;
use crate::in_part::restore;
use crate::support::{Manager, Minio, Nats, Settings, fingerprint};

const STREAMS: usize = 200;
/// Streams with the same reason, of which the first ones have the first one.
const EACH: usize = 4;
/// What stands against them: the outcome, why, and the way out.
const REASONS: [(&str, &str, &str); 5] = [
    ("refused", "exists on the server", "nats stream rm S"),
    ("refused", "of stream `TAKES` on the server", "nats stream edit TAKES"),
    ("refused", "`max_payload`", "raise `max_payload`"),
    ("refused", "its `max_bytes` is 50000000, the account has", "raise `max_storage`"),
    ("damaged", "v2/journal/main/entries/", "put the object back"),
];
const REFUSED: usize = EACH * REASONS.len();
const READY: usize = STREAMS - REFUSED;

fn name(n: usize) -> String {
    format!("S{n:03}")
}

/// The streams with a reason.
fn with(reason: usize) -> std::ops::Range<usize> {
    reason * EACH..(reason + 1) * EACH
}

fn settings(nats: &Nats, nas: &str) -> Settings {
    let mut settings = Settings::new(&nats.url, nas);
    settings.layout = "journal".into();
    // No entry is merged: the damaged ones are read.
    settings.more = "[segment]\nflush_age = \"200ms\"\n".into();
    settings
}

/// What is archived of a host, and is to come back.
struct Archived {
    before: Vec<Value>,
    /// The objects that have the messages of the last reason's streams.
    entries: Vec<String>,
}

impl Archived {
    async fn make(dir: &Path, minio: &Minio) -> Self {
        let nats = Nats::start_with(&dir.join("host"), "max_payload: 2M").await;
        let names: Vec<_> = (0..STREAMS).map(name).collect();
        for (n, stream) in names.iter().enumerate() {
            let storage = if with(2).contains(&n) { "memory" } else { "file" };
            let max_bytes = if with(3).contains(&n) { 50_000_000 } else { -1 };
            nats.create(stream, json!({ "storage": storage, "max_bytes": max_bytes })).await;
        }
        let manager = Manager::new(dir, "host", &settings(&nats, &minio.url));
        let daemon = manager.tier().await;
        for (n, stream) in names.iter().enumerate().filter(|(n, _)| !with(4).contains(n)) {
            if with(2).contains(&n) {
                let large = vec![7; 1_500_000].into();
                let answer = nats.client.request(format!("s{n:03}.large"), large).await.unwrap();
                assert!(!answer.payload.starts_with(b"{\"error"), "{answer:?}");
            } else {
                nats.publish(stream, 2).await;
            }
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        manager.has_all(&nats, &names).await;
        let folder = "/v2/journal/main/entries/";
        let known = minio.files(folder);
        for n in with(4) {
            nats.publish(names[n], 2).await;
        }
        manager.has_all(&nats, &names).await;
        daemon.stop().await;
        let mut before = Vec::new();
        for stream in names {
            before.push(fingerprint(&nats, stream).await);
        }
        let fresh = minio.files(folder).into_iter().filter(|path| !known.contains(path));
        let objects =
            fresh.filter_map(|path| path.parent()?.file_name()?.to_str().map(str::to_owned));
        let mut entries: Vec<_> =
            objects.map(|object| format!("v2/journal/main/entries/{object}")).collect();
        entries.dedup();
        Self { before, entries }
    }

    async fn exact(&self, nats: &Nats, streams: std::ops::Range<usize>) {
        for n in streams {
            assert_eq!(fingerprint(nats, &name(n)).await, self.before[n], "{}", name(n));
        }
    }
}

/// An object in which the rows of all streams are damaged; `None` where it has none.
fn rotten(object: &Bytes) -> Option<Vec<u8>> {
    let metadata = ParquetMetaDataReader::new().parse_and_finish(object).unwrap();
    let mut bytes = object.to_vec();
    for column in metadata.row_groups().iter().flat_map(RowGroupMetaData::columns) {
        let (start, length) = column.byte_range();
        let range = usize::try_from(start).unwrap()..usize::try_from(start + length).unwrap();
        for byte in &mut bytes[range] {
            *byte ^= 1;
        }
    }
    (metadata.num_row_groups() > 0).then_some(bytes)
}

fn are(streams: &[Value], outcome: &str) -> bool {
    streams.iter().all(|stream| stream["outcome"] == outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenth_of_two_hundred_streams_is_refused_and_comes_back_when_it_was_mended() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let archived = Archived::make(dir.path(), &minio).await;
    let host = dir.path().join("new");
    let nats = Nats::start_with(&host, &account("max_file: 40M, max_mem: 64M")).await;
    let manager = Manager::new(dir.path(), "new", &settings(&nats, &minio.url));
    for n in with(0) {
        nats.create(&name(n), json!({})).await;
        nats.publish(&name(n), 1).await;
    }
    let taken: Vec<_> = with(1).map(|n| format!("s{n:03}.x")).collect();
    nats.create("TAKES", json!({ "subjects": taken })).await;
    let bucket = bucket(&minio.url);
    let mut whole = Vec::new();
    for key in &archived.entries {
        let bytes = bucket.get_object(key).await.unwrap().into_bytes();
        // Some say where consumers are, and have no message.
        if let Some(rotten) = rotten(&bytes) {
            bucket.put_object(key, &rotten).await.unwrap();
            whole.push((key, bytes));
        }
    }

    // What takes no reading is known before.
    let (status, last, streams) = restore(&manager, &["--dry-run"]);
    assert_eq!(status, 6, "{last}");
    assert_eq!(last, "error: 184 of 200 streams can be restored, 16 cannot: see the table");
    assert!(are(&streams[..16], "refused") && are(&streams[16..], "ready"), "{streams:?}");

    let (status, last, streams) = restore(&manager, &[]);
    assert_eq!(last, "error: 180 of 200 streams were restored, 20 were not: see the table");
    assert_eq!(status, 5, "damage says more than a refusal");
    assert!(are(&streams[REFUSED..], "restored"), "{streams:?}");
    let reasons = REASONS.iter().enumerate();
    for (n, (outcome, why, out)) in reasons.flat_map(|(at, said)| with(at).map(move |n| (n, said)))
    {
        let stream = &streams[n];
        assert_eq!((&stream["stream"], &stream["outcome"]), (&json!(name(n)), &json!(outcome)));
        assert!(stream["why"].as_str().unwrap().contains(why), "{stream}");
        assert!(stream["way_out"].as_str().unwrap().contains(out), "{stream}");
    }
    archived.exact(&nats, REFUSED..STREAMS).await;

    // All is mended.
    for stream in with(0).map(name).chain(["TAKES".to_owned()]) {
        nats.api(&format!("STREAM.DELETE.{stream}"), Value::Null).await;
    }
    for (key, bytes) in whole {
        bucket.put_object(key, &bytes).await.unwrap();
    }
    drop(nats);
    let larger = format!("max_payload: 2M\n{}", account("max_file: 400M, max_mem: 64M"));
    let nats = Nats::start_with(&host, &larger).await;
    let manager = Manager::new(dir.path(), "new", &settings(&nats, &minio.url));
    let (status, last, streams) = restore(&manager, &[]);
    assert_eq!(status, 0, "{last}");
    assert!(are(&streams[..REFUSED], "restored") && are(&streams[REFUSED..], "unchanged"));
    assert_eq!(streams.len() - REFUSED, READY);
    archived.exact(&nats, 0..STREAMS).await;
}
