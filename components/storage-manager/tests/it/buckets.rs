//! Key-value and object-store buckets come back as their users see them: through NATS's own APIs.

use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::jetstream::kv::{self, Entry, Operation};
use async_nats::jetstream::object_store::{self, ObjectInfo, ObjectMetadata, ObjectStore};
use async_nats::jetstream::stream::StorageType;
use async_nats::jetstream::{self, Context};
use bytes::Bytes;
use futures_util::{StreamExt as _, TryStreamExt as _};
use tokio::io::AsyncReadExt as _;

use crate::support::{Host, Lab, Manager, Nats, Version, fingerprint, noise, wait_until};

fn context(nats: &Nats) -> Context {
    jetstream::new(nats.client.clone())
}

/// Every character that a key may have, in every place in which it may be.
const ODD: [&str; 6] = ["-", "=", "/", "_", "a/b=c_d-E.f", "//.==.0"];

/// What the API says of a key-value bucket.
#[derive(Debug, PartialEq)]
struct Values {
    keys: Vec<String>,
    now: Vec<Option<Entry>>,
    revisions: Vec<Vec<Entry>>,
    all: Vec<Entry>,
    description: Option<String>,
    history: i64,
    kept: u64,
}

async fn values(nats: &Nats, bucket: &str) -> Values {
    let store = context(nats).get_key_value(bucket).await.unwrap();
    let mut keys: Vec<String> = store.keys().await.unwrap().try_collect().await.unwrap();
    keys.sort();
    let mut watch = store.watch_all_from_revision(1).await.unwrap();
    let mut all = vec![next(&mut watch).await];
    while all.last().is_some_and(|entry| entry.delta > 0) {
        all.push(next(&mut watch).await);
    }
    let mut known: Vec<String> = all.iter().map(|entry| entry.key.clone()).collect();
    known.sort();
    known.dedup();
    let (mut now, mut revisions) = (Vec::new(), Vec::new());
    for key in &known {
        now.push(store.entry(key.as_str()).await.unwrap());
        revisions.push(store.history(key).await.unwrap().try_collect().await.unwrap());
    }
    for entry in &all {
        let again = store.entry_for_revision(entry.key.as_str(), entry.revision).await.unwrap();
        let again = again.expect("a revision of the history is there by itself");
        assert_eq!((&again.value, again.created), (&entry.value, entry.created));
    }
    let status = store.status().await.unwrap();
    let (history, kept) = (status.history(), status.values());
    Values { keys, now, revisions, all, description: status.info.config.description, history, kept }
}

/// A bucket to which everything was done that can be done to one, some of it after it was archived.
async fn fill(nats: &Nats, manager: &Manager, bucket: &str, storage: StorageType) {
    let config = kv::Config {
        bucket: bucket.into(),
        description: "kept to the letter".into(),
        history: 5,
        storage,
        num_replicas: 1,
        ..kv::Config::default()
    };
    let store = context(nats).create_key_value(config).await.unwrap();
    let bytes = |text: &str| Bytes::from(text.to_owned());
    for n in 0..4 {
        store.put("often", bytes(&format!("{n}"))).await.unwrap();
        store.put("purged", bytes(&format!("{n}"))).await.unwrap();
    }
    for key in ODD {
        store.put(key, bytes(key)).await.unwrap();
    }
    store.put("empty", Bytes::new()).await.unwrap();
    store.put("binary", Bytes::from(noise(7, 200_000))).await.unwrap();
    store.put(&"long.".repeat(40)[..199], bytes("its key is long")).await.unwrap();
    let revision = store.create("counter", bytes("1")).await.unwrap();
    store.update("counter", bytes("2"), revision).await.unwrap();
    store.update("counter", bytes("stale"), revision).await.unwrap_err();
    store.put("deleted", bytes("x")).await.unwrap();
    store.put("again", bytes("x")).await.unwrap();
    manager.reaches(&format!("KV_{bucket}"), "nas", last_seq(nats, bucket).await).await;
    // What was archived and is gone now must not come back: more revisions than are kept, a purge.
    for n in 4..9 {
        store.put("often", bytes(&format!("{n}"))).await.unwrap();
    }
    store.purge("purged").await.unwrap();
    store.delete("deleted").await.unwrap();
    store.delete("again").await.unwrap();
    store.create("again", bytes("made again")).await.unwrap();
    store.create("again", bytes("a third time")).await.unwrap_err();
}

async fn last_seq(nats: &Nats, bucket: &str) -> u64 {
    nats.last_seq(&format!("KV_{bucket}")).await
}

/// With the current server alone: the client makes no such bucket on Debian's old one, whose answer to
/// `$JS.API.INFO` it does not understand.
#[tokio::test(flavor = "multi_thread")]
async fn key_value_buckets_come_back_exactly() {
    let mut lab = Lab::start().await;
    let daemon = lab.manager.tier().await;
    let buckets = [StorageType::File, StorageType::Memory]
        .map(|storage| (format!("settings-{storage:?}"), storage));
    let mut before = Vec::new();
    for (bucket, storage) in &buckets {
        fill(&lab.nats, &lab.manager, bucket, *storage).await;
        lab.manager
            .reaches(&format!("KV_{bucket}"), "nas", last_seq(&lab.nats, bucket).await)
            .await;
        let seen = values(&lab.nats, bucket).await;
        assert_eq!(seen.history, 5);
        assert!(
            !seen.keys.contains(&"deleted".to_owned()) && seen.keys.contains(&"again".to_owned())
        );
        let operations: Vec<_> = seen.all.iter().map(|entry| entry.operation).collect();
        assert!(
            [Operation::Put, Operation::Delete, Operation::Purge]
                .iter()
                .all(|o| operations.contains(o))
        );
        before.push((seen, fingerprint(&lab.nats, &format!("KV_{bucket}")).await));
    }
    daemon.stop().await;
    lab.nats.kill();

    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "--all"]);
    for ((bucket, _), (seen, stored)) in buckets.iter().zip(&before) {
        assert_eq!(&values(&nats, bucket).await, seen, "{bucket}");
        assert_eq!(&fingerprint(&nats, &format!("KV_{bucket}")).await, stored, "{bucket}");
        goes_on(&nats, bucket, seen).await;
    }
    let daemon = manager.tier().await;
    for (bucket, _) in &buckets {
        manager.reaches(&format!("KV_{bucket}"), "nas", last_seq(&nats, bucket).await).await;
    }
    manager.json(&["verify"]);
    daemon.stop().await;
}

/// Whoever had the bucket in hand before the loss goes on with what they knew.
async fn goes_on(nats: &Nats, bucket: &str, seen: &Values) {
    let store = context(nats).get_key_value(bucket).await.unwrap();
    let last = last_seq(nats, bucket).await;
    // A watch goes on where it was: what it had not seen, then what is new.
    let half = seen.all[seen.all.len() / 2].revision;
    let mut watch = store.watch_all_from_revision(half + 1).await.unwrap();
    let missed = seen.all.iter().filter(|entry| entry.revision > half).map(|entry| entry.revision);
    for revision in missed {
        assert_eq!(next(&mut watch).await.revision, revision);
    }
    // A conditional update knows the revisions of before.
    let revisions = store.history("counter").await.unwrap();
    let revisions: Vec<Entry> = revisions.try_collect().await.unwrap();
    let [first, second] = &revisions[..] else { panic!("{revisions:?}") };
    store.update("counter", "stale".into(), first.revision).await.unwrap_err();
    let third = store.update("counter", "3".into(), second.revision).await.unwrap();
    assert_eq!(third, last + 1, "a revision that was refused takes no number");
    let told = next(&mut watch).await;
    assert_eq!((told.key.as_str(), &told.value[..], told.revision), ("counter", &b"3"[..], third));
    // What is there is there, what was deleted is not.
    store.create("often", "x".into()).await.unwrap_err();
    store.create("purged", "new".into()).await.unwrap();
    assert_eq!(store.get("purged").await.unwrap().unwrap(), "new");
    // The limit of revisions counts those of before.
    store.put("often", "9".into()).await.unwrap();
    let often: Vec<Entry> = store.history("often").await.unwrap().try_collect().await.unwrap();
    let often: Vec<&[u8]> = often.iter().map(|entry| &entry.value[..]).collect();
    assert_eq!(often, [b"5", b"6", b"7", b"8", b"9"]);
}

async fn next(watch: &mut kv::Watch) -> Entry {
    let next = tokio::time::timeout(Duration::from_secs(30), watch.next()).await;
    next.expect("the watch goes on").unwrap().unwrap()
}

/// A value that was to live for a while lives no longer for having been restored, and no shorter.
#[tokio::test(flavor = "multi_thread")]
async fn a_value_keeps_the_time_that_it_has_to_live() {
    let mut lab = Lab::start().await;
    for storage in [StorageType::File, StorageType::Memory] {
        let config = kv::Config {
            bucket: format!("sessions-{storage:?}"),
            storage,
            num_replicas: 1,
            limit_markers: Some(Duration::from_secs(3600)),
            ..kv::Config::default()
        };
        let store = context(&lab.nats).create_key_value(config).await.unwrap();
        store.create_with_ttl("long", "x".into(), Duration::from_secs(3600)).await.unwrap();
        store.create_with_ttl("short", "x".into(), Duration::from_secs(8)).await.unwrap();
    }
    let daemon = lab.manager.tier().await;
    for storage in ["File", "Memory"] {
        lab.manager.reaches(&format!("KV_sessions-{storage}"), "nas", 2).await;
    }
    daemon.stop().await;
    lab.nats.kill();
    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "--all"]);
    for storage in ["File", "Memory"] {
        let store = context(&nats).get_key_value(format!("sessions-{storage}")).await.unwrap();
        wait_until("the value has expired", async || match store.get("short").await.unwrap() {
            None => Ok(()),
            Some(_) => Err(format!("it is there, {storage}")),
        })
        .await;
        assert_eq!(store.get("long").await.unwrap().unwrap(), "x", "{storage}");
    }
}

/// What the API says of an object store.
#[derive(Debug, PartialEq)]
struct Objects {
    list: Vec<ObjectInfo>,
    infos: Vec<Result<ObjectInfo, String>>,
    contents: Vec<Result<Vec<u8>, String>>,
}

const NAMES: [&str; 8] = [
    "größe/ein bild.bin",
    "empty",
    "again",
    "deleted",
    "small chunks",
    "link",
    "elsewhere",
    "renamed",
];

async fn objects(nats: &Nats, bucket: &str) -> Objects {
    let store = context(nats).get_object_store(bucket).await.unwrap();
    let mut list: Vec<ObjectInfo> = store.list().await.unwrap().try_collect().await.unwrap();
    list.sort_by(|a, b| a.name.cmp(&b.name));
    let (mut infos, mut contents) = (Vec::new(), Vec::new());
    for name in NAMES {
        infos.push(store.info(name).await.map_err(|error| error.to_string()));
        contents.push(content(&store, name).await);
    }
    Objects { list, infos, contents }
}

/// An object's bytes; the client compares their digest with the one that it wrote.
async fn content(store: &ObjectStore, name: &str) -> Result<Vec<u8>, String> {
    let mut object = store.get(name).await.map_err(|error| error.to_string())?;
    let mut bytes = Vec::new();
    // Not `read_to_end`: that panics where the last chunk comes together with an error.
    let mut part = vec![0; 1 << 16];
    loop {
        let read = tokio::time::timeout(Duration::from_secs(10), object.read(&mut part)).await;
        match read.map_err(|_| "a chunk does not come")?.map_err(|error| error.to_string())? {
            0 => return Ok(bytes),
            count => bytes.extend_from_slice(&part[..count]),
        }
    }
}

async fn make_store(
    nats: &Nats,
    bucket: &str,
    storage: StorageType,
    max_bytes: i64,
) -> ObjectStore {
    let config = object_store::Config {
        bucket: bucket.into(),
        description: Some("kept to the letter".into()),
        storage,
        max_bytes,
        num_replicas: 1,
        ..object_store::Config::default()
    };
    context(nats).create_object_store(config).await.unwrap()
}

/// A store to which everything was done that can be done to one, some of it after it was archived.
async fn store_objects(nats: &Nats, manager: &Manager, bucket: &str, storage: StorageType) {
    let store = make_store(nats, bucket, storage, -1).await;
    let mut headers = HeaderMap::new();
    headers.append("Zeta", "last");
    headers.append("alpha", "first");
    headers.append("alpha", "second");
    let described = ObjectMetadata {
        name: NAMES[0].into(),
        description: Some("an image".into()),
        metadata: [("Größe".to_owned(), "ja".to_owned())].into(),
        headers: Some(headers),
        ..ObjectMetadata::default()
    };
    let info = store.put(described, &mut &noise(1, 700_000)[..]).await.unwrap();
    assert!(info.chunks > 5, "{info:?}");
    store.put("empty", &mut &b""[..]).await.unwrap();
    store.put("again", &mut &noise(2, 300_000)[..]).await.unwrap();
    store.put("deleted", &mut &noise(3, 300_000)[..]).await.unwrap();
    let name = "small chunks".to_owned();
    let small = ObjectMetadata { name, chunk_size: Some(1000), ..ObjectMetadata::default() };
    store.put(small, &mut &noise(4, 50_000)[..]).await.unwrap();
    store.put("old", &mut &noise(5, 10)[..]).await.unwrap();
    let object = store.get("again").await.unwrap();
    store.add_link("link", &object).await.unwrap();
    store.add_bucket_link("elsewhere", "another").await.unwrap();
    let stream = format!("OBJ_{bucket}");
    manager.reaches(&stream, "nas", nats.last_seq(&stream).await).await;
    // What was archived and is gone now must not come back: chunks, and what they were of.
    store.put("again", &mut &noise(6, 400_000)[..]).await.unwrap();
    store.delete("deleted").await.unwrap();
    let renamed = object_store::UpdateMetadata {
        name: "renamed".into(),
        description: Some("under another name".into()),
        ..object_store::UpdateMetadata::default()
    };
    store.update_metadata("old", renamed).await.unwrap();
    manager.reaches(&stream, "nas", nats.last_seq(&stream).await).await;
}

async fn objects_come_back(version: Version, storages: &[StorageType]) {
    let Some(mut lab) = Lab::with().version(version).start_if_there().await else { return };
    let daemon = lab.manager.tier().await;
    let mut before = Vec::new();
    for storage in storages {
        let bucket = format!("files-{storage:?}");
        store_objects(&lab.nats, &lab.manager, &bucket, *storage).await;
        let seen = objects(&lab.nats, &bucket).await;
        for (name, content) in NAMES.iter().zip(&seen.contents) {
            let there = !["deleted", "elsewhere"].contains(name);
            assert_eq!(content.is_ok(), there, "{name}: {:?}", content.as_ref().err());
        }
        assert_eq!(seen.contents[2].as_ref().unwrap(), &noise(6, 400_000));
        assert_eq!(seen.contents[2], seen.contents[5], "a link");
        before.push((fingerprint(&lab.nats, &format!("OBJ_{bucket}")).await, seen, bucket));
    }
    daemon.stop().await;
    lab.nats.kill();

    let Host { nats, manager } = lab.host_of("new", version).await.expect("it was there before");
    manager.json(&["restore", "--all"]);
    for (stored, seen, bucket) in &before {
        assert!(&objects(&nats, bucket).await == seen, "{bucket}");
        assert!(&fingerprint(&nats, &format!("OBJ_{bucket}")).await == stored, "{bucket}");
        // The store goes on: watched, overwritten, deleted.
        let store = context(&nats).get_object_store(bucket).await.unwrap();
        let mut watch = store.watch().await.unwrap();
        store.put("again", &mut &noise(8, 200_000)[..]).await.unwrap();
        let told = tokio::time::timeout(Duration::from_secs(30), watch.next()).await;
        assert_eq!(told.expect("the watch tells").unwrap().unwrap().size, 200_000);
        assert_eq!(content(&store, "link").await.unwrap(), noise(8, 200_000));
        store.delete("small chunks").await.unwrap();
        content(&store, "small chunks").await.unwrap_err();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn object_stores_come_back_exactly() {
    objects_come_back(Version::Current, &[StorageType::File, StorageType::Memory]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn object_stores_come_back_exactly_on_debians_old_server() {
    objects_come_back(Version::Old, &[StorageType::File]).await;
}

/// An object of which one block was damaged on the host: its users cannot have it until a restore.
async fn damaged(harm: impl FnOnce(&std::fs::File)) {
    let mut lab = Lab::start().await;
    // Blocks of a quarter of that: the object lies in several.
    let store = make_store(&lab.nats, "files", StorageType::File, 8 << 20).await;
    let daemon = lab.manager.tier().await;
    let large = noise(1, 5 << 20);
    store.put("before", &mut &noise(2, 1000)[..]).await.unwrap();
    store.put("large", &mut &large[..]).await.unwrap();
    lab.manager.reaches("OBJ_files", "nas", lab.nats.last_seq("OBJ_files").await).await;
    daemon.kill();
    lab.crash_nats(|streams| {
        let blocks = streams.join("OBJ_files/msgs");
        assert!(blocks.join("2.blk").exists(), "a block that is not the last is to be damaged");
        let block = std::fs::File::options().read(true).write(true).open(blocks.join("1.blk"));
        harm(&block.unwrap());
    })
    .await;
    let store = context(&lab.nats).get_object_store("files").await.unwrap();
    let broken = content(&store, "large").await;
    broken.expect_err("a chunk was to be damaged: this test proves nothing");
    // Tiering goes on on the damaged host, and does not take the damage for deletes.
    let daemon = lab.manager.tier().await;
    store.put("after", &mut &noise(3, 1000)[..]).await.unwrap();
    lab.manager.reaches("OBJ_files", "nas", lab.nats.last_seq("OBJ_files").await).await;
    daemon.stop().await;
    lab.nats.kill();

    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "--all"]);
    let store = context(&nats).get_object_store("files").await.unwrap();
    assert!(content(&store, "large").await.unwrap() == large);
    assert_eq!(content(&store, "before").await.unwrap(), noise(2, 1000));
    assert_eq!(content(&store, "after").await.unwrap(), noise(3, 1000));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_in_a_block_that_was_cut_comes_back_from_the_archive() {
    damaged(|block| block.set_len(block.metadata().unwrap().len() / 2).unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_object_with_a_flipped_bit_comes_back_from_the_archive() {
    use std::os::unix::fs::FileExt as _;
    damaged(|block| {
        let (middle, mut byte) = (block.metadata().unwrap().len() / 2, [0]);
        block.read_exact_at(&mut byte, middle).unwrap();
        block.write_all_at(&[byte[0] ^ 0x10], middle).unwrap();
    })
    .await;
}
