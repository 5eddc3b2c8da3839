//! Content in and out: whole, once, checked, healed.

use async_nats::jetstream::object_store::ObjectStore;
use cim_core::names::ContentId;
use serde_json::Value;

use crate::support::{Nats, report, run};

const BUCKET: &str = "content";

/// Returns bytes that look like chance and are the same each time.
fn noise(len: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut byte = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(|_| byte()).collect()
}

fn put(nats: &Nats, bytes: &[u8], more: &[&str]) -> Value {
    let file = nats.dir.path().join("content");
    std::fs::write(&file, bytes).unwrap();
    report(nats, &[&["put", "--create", file.to_str().unwrap()], more].concat())
}

fn get(nats: &Nats, id: &str, more: &[&str]) -> (Option<i32>, Vec<u8>, String) {
    run(nats, &[&["get", id], more].concat())
}

async fn store(nats: &Nats) -> ObjectStore {
    nats.jetstream().get_object_store(BUCKET).await.unwrap()
}

#[tokio::test]
async fn content_of_any_size_comes_back_and_lies_there_once() {
    let nats = Nats::start().await;
    for len in [0, 1, 65_535, 3_000_000] {
        let bytes = noise(len, 1);
        let stored = put(&nats, &bytes, &[]);
        let id = ContentId::of(&bytes);
        assert_eq!(stored["content"], id.as_str(), "{len} bytes");
        let (status, out, err) = get(&nats, id.as_str(), &[]);
        assert_eq!(status, Some(0), "{err}");
        assert!(out == bytes, "{len} bytes");
        assert_eq!(put(&nats, &bytes, &[])["new_chunks"], 0, "{len} bytes");
    }
    // Bytes that are inserted make new chunks where they are, and none behind.
    let mut bytes = noise(3_000_000, 1);
    bytes.splice(100_000..100_000, *b"an insertion");
    let stored = put(&nats, &bytes, &[]);
    let (chunks, new) =
        (stored["chunks"].as_u64().unwrap(), stored["new_chunks"].as_u64().unwrap());
    assert!(chunks >= 6 && (1..=2).contains(&new), "{stored}");
    // To a file, which is there only when all of it was right.
    let file = nats.dir.path().join("out");
    let id = stored["content"].as_str().unwrap();
    let (status, _, err) = get(&nats, id, &["--output", file.to_str().unwrap()]);
    assert_eq!(status, Some(0), "{err}");
    assert!(std::fs::read(&file).unwrap() == bytes);
    // A chunk is an object that NATS's own clients read.
    let small = ContentId::of(&noise(65_535, 1));
    let mut object = store(&nats).await.get(small.as_str()).await.unwrap();
    let mut read = Vec::new();
    tokio::io::AsyncReadExt::read_to_end(&mut object, &mut read).await.unwrap();
    assert!(read == noise(65_535, 1));
}

/// Replaces the bytes of a chunk in the stream, as a damaged disk would, and a tool that mends its checksums.
async fn damage(nats: &Nats, name: &str) {
    let info = store(nats).await.info(name).await.unwrap();
    let stream = nats.jetstream().get_stream(format!("OBJ_{BUCKET}")).await.unwrap();
    let subject = format!("$O.{BUCKET}.C.{}", info.nuid);
    stream.purge().filter(&subject).await.unwrap();
    let ack = nats.jetstream().publish(subject, vec![7; info.size].into()).await.unwrap();
    ack.await.unwrap();
}

#[tokio::test]
async fn damage_is_found_healed_from_a_second_server_and_said() {
    let (nats, second) = (Nats::start().await, Nats::start().await);
    let bytes = noise(2_000_000, 2);
    let id = put(&nats, &bytes, &[])["content"].as_str().unwrap().to_owned();
    put(&second, &bytes, &[]);
    let list = format!("{id}.chunks");
    let mut names = Vec::new();
    let mut objects = store(&nats).await.list().await.unwrap();
    while let Some(object) = futures_util::StreamExt::next(&mut objects).await {
        names.push(object.unwrap().name);
    }
    let chunk = names.iter().find(|name| **name != list).unwrap();
    let out = nats.dir.path().join("out");
    let to = ["--output", out.to_str().unwrap()];
    for name in [chunk, &list] {
        // Damaged, and gone.
        for gone in [false, true] {
            if gone {
                store(&nats).await.delete(name).await.unwrap();
            } else {
                damage(&nats, name).await;
            }
            let (status, _, err) = get(&nats, &id, &to);
            assert_eq!(status, Some(5), "{err}");
            let said = if gone { "is not in bucket" } else { "is damaged in bucket" };
            assert!(err.contains(said), "{err}");
            assert!(err.contains("--second-url"), "{err}");
            assert!(!out.exists(), "a file of damaged content was left");
            let (status, whole, err) = get(&nats, &id, &["--second-url", &second.url]);
            assert_eq!(status, Some(0), "{err}");
            assert!(whole == bytes);
            assert!(err.contains(&format!("`{name}` is healed from bucket")), "{err}");
            // It is healed: nothing more is said without the second server.
            let (status, whole, err) = get(&nats, &id, &[]);
            assert!(status == Some(0) && !err.contains(" WARN "), "{err}");
            assert!(whole == bytes);
        }
    }
    // The file itself mends it too.
    damage(&nats, chunk).await;
    put(&nats, &bytes, &["--anew"]);
    assert_eq!(get(&nats, &id, &[]).0, Some(0));
}

#[tokio::test]
async fn what_cannot_be_had_is_said_with_the_way_out() {
    let nats = Nats::start().await;
    let id = ContentId::of(b"nothing");
    let (status, _, err) = get(&nats, id.as_str(), &[]);
    assert_eq!(status, Some(3), "{err}");
    assert!(err.contains("bucket `content` cannot be used") && err.contains("--create"));
    let (status, _, err) = get(&nats, id.as_str(), &["--create"]);
    assert_eq!(status, Some(5), "{err}");
    assert!(err.contains(&format!("content `{id}` is not in bucket")), "{err}");
    let (status, _, err) = get(&nats, "bafk", &[]);
    assert_eq!(status, Some(2), "{err}");
    let (status, _, err) = run(&nats, &["put", "/nonexistent"]);
    assert!(status == Some(2) || status == Some(3), "{err}");
}
