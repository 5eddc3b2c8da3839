//! Killed with signal 9 in the middle of writes, again and again.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use crate::process::Process;
use crate::raw::Client;
use crate::support::{elements, noise, wait_until};

const KEYS: u64 = 6;
const ROUNDS: u64 = 5;
const MIB: usize = 1024 * 1024;

/// The writers' knowledge: by key, the generation last sent and the one last acknowledged.
#[derive(Debug, Default)]
struct Ledger {
    keys: Mutex<BTreeMap<String, (u64, u64)>>,
    acked: AtomicU64,
}

/// Returns the content of a key at a generation, of a size from nothing to some MiB.
fn content(key: &str, generation: u64) -> Vec<u8> {
    let seed = key.bytes().fold(generation, |seed, byte| seed.wrapping_mul(31) + u64::from(byte));
    let size = usize::try_from(seed % 7).unwrap() * 300_000;
    noise(seed, size)
}

/// Overwrites a key with one generation after another until the server is killed.
async fn write(client: Client, ledger: Arc<Ledger>, key: String) {
    loop {
        let generation = {
            let mut keys = ledger.keys.lock().unwrap();
            let (sent, _) = keys.entry(key.clone()).or_default();
            *sent += 1;
            *sent
        };
        let header = generation.to_string();
        let headers = [("x-amz-meta-generation", header.as_str())];
        let target = format!("/tier/{key}");
        match client.send("PUT", &target, &headers, content(&key, generation)).await {
            Ok(reply) if reply.status == 200 => {
                ledger.keys.lock().unwrap().get_mut(&key).unwrap().1 = generation;
                ledger.acked.fetch_add(1, Ordering::Relaxed);
            }
            _ => return,
        }
    }
}

/// Uploads parts of an upload that is never completed, until the server is killed.
async fn upload(client: Client) {
    let Ok(begun) = client.send("POST", "/tier/parts?uploads", &[], "").await else { return };
    let text = begun.text();
    let Some(id) = crate::support::element(&text, "UploadId") else { return };
    for number in 1..1000 {
        let target = format!("/tier/parts?partNumber={number}&uploadId={id}");
        if client.send("PUT", &target, &[], noise(number, MIB)).await.is_err() {
            return;
        }
    }
}

async fn check(client: &Client, ledger: &Ledger) {
    let known = ledger.keys.lock().unwrap().clone();
    let mut present = Vec::new();
    for (key, (sent, acked)) in known {
        let got = client.get(&format!("/tier/{key}")).await;
        if got.status == 404 {
            assert_eq!(acked, 0, "`{key}` was acknowledged and is gone");
            continue;
        }
        let got = got.expect(200);
        let generation: u64 = got.header("x-amz-meta-generation").unwrap().parse().unwrap();
        // The last acknowledged generation, or one that was under way.
        assert!(
            (acked..=sent).contains(&generation),
            "`{key}` is at {generation} of {acked}..={sent}"
        );
        assert!(got.body == content(&key, generation), "`{key}` is torn at {generation}");
        present.push(key.clone());
        // The writers continue from the generation found.
        ledger.keys.lock().unwrap().insert(key, (generation, generation));
    }
    let listed = client.get("/tier?list-type=2").await.expect(200).text();
    assert_eq!(elements(&listed, "Key"), present);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_object_is_torn_by_kill_9() {
    let dir = tempfile::tempdir().unwrap();
    let ledger = Arc::new(Ledger::default());
    for round in 0..ROUNDS {
        let process = Process::start(dir.path(), &["--create-bucket", "tier"]);
        let client = process.client();
        check(&client, &ledger).await;
        let writers: Vec<_> = (0..KEYS)
            .map(|n| tokio::spawn(write(client.clone(), ledger.clone(), format!("key/{n}"))))
            .chain([tokio::spawn(upload(client.clone()))])
            .collect();
        // At another moment in each round, while writes are under way.
        let enough = ledger.acked.load(Ordering::Relaxed) + 5 + 7 * round;
        let acked = || ledger.acked.load(Ordering::Relaxed) >= enough;
        wait_until("writes to be acknowledged", Duration::from_mins(1), acked).await;
        process.kill();
        for writer in writers {
            writer.await.unwrap();
        }
    }
    let process = Process::start(dir.path(), &[]);
    let client = process.client();
    check(&client, &ledger).await;
    // No file that was under way is left, except the uploads that clients may still complete.
    assert_eq!(std::fs::read_dir(dir.path().join("tmp")).unwrap().count(), 0);
    let uploads = client.get("/tier?uploads").await.expect(200);
    for id in elements(&uploads.text(), "UploadId") {
        let parts = client.get(&format!("/tier/parts?uploadId={id}")).await.expect(200).text();
        assert!(elements(&parts, "Size").iter().all(|size| *size == MIB.to_string()), "{parts}");
        client.delete(&format!("/tier/parts?uploadId={id}")).await.expect(204);
    }
}
