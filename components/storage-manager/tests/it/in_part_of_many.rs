//! `restore --all` of two hundred streams, a tenth of which cannot come back for five reasons: one run restores all
//! others, and the next one what was mended.

use serde_json::{Value, json};

use crate::support::{
    Host, Lab, Nats, account, fingerprint, fingerprints, restore_all, rotten_throughout,
};

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

/// What is archived of a host, and is to come back.
struct Archived {
    before: Vec<Value>,
    /// The objects that have the messages of the last reason's streams.
    entries: Vec<String>,
}

impl Archived {
    async fn make(lab: &Lab) -> Self {
        let Lab { nats, manager, nas: minio, .. } = lab;
        let names: Vec<_> = (0..STREAMS).map(name).collect();
        for (n, stream) in names.iter().enumerate() {
            let storage = if with(2).contains(&n) { "memory" } else { "file" };
            let max_bytes = if with(3).contains(&n) { 50_000_000 } else { -1 };
            nats.create(stream, json!({ "storage": storage, "max_bytes": max_bytes })).await;
        }
        let daemon = manager.tier().await;
        for (n, stream) in names.iter().enumerate().filter(|(n, _)| !with(4).contains(n)) {
            if with(2).contains(&n) {
                nats.put(format!("s{n:03}.large"), vec![7; 1_500_000]).await;
            } else {
                nats.publish(stream, 2).await;
            }
        }
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        manager.has_all(nats, &names).await;
        let folder = "/v2/journal/main/entries/";
        let known = minio.files(folder);
        for n in with(4) {
            nats.publish(names[n], 2).await;
        }
        manager.has_all(nats, &names).await;
        daemon.stop().await;
        let before = fingerprints(nats, &names).await;
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

fn are(streams: &[Value], outcome: &str) -> bool {
    streams.iter().all(|stream| stream["outcome"] == outcome)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tenth_of_two_hundred_streams_is_refused_and_comes_back_when_it_was_mended() {
    // No entry is merged: the damaged ones are read.
    let seldom = "[segment]\nflush_age = \"200ms\"\n";
    let lab =
        Lab::with().server("max_payload: 2M").layout("journal").settings(seldom).start().await;
    let archived = Archived::make(&lab).await;
    let Host { nats, manager } =
        lab.host_with("new", &account("max_file: 40M, max_mem: 64M")).await;
    for n in with(0) {
        nats.create(&name(n), json!({})).await;
        nats.publish(&name(n), 1).await;
    }
    let taken: Vec<_> = with(1).map(|n| format!("s{n:03}.x")).collect();
    nats.create("TAKES", json!({ "subjects": taken })).await;
    let bucket = lab.bucket();
    let mut whole = Vec::new();
    for key in &archived.entries {
        let bytes = bucket.get_object(key).await.unwrap().into_bytes();
        // Some say where consumers are, and have no message.
        if let Some(rotten) = rotten_throughout(&bytes) {
            bucket.put_object(key, &rotten).await.unwrap();
            whole.push((key, bytes));
        }
    }

    // What takes no reading is known before.
    let (status, last, streams) = restore_all(&manager, &["--dry-run"]);
    assert_eq!(status, 6, "{last}");
    assert_eq!(last, "error: 184 of 200 streams can be restored, 16 cannot: see the table");
    assert!(are(&streams[..16], "refused") && are(&streams[16..], "ready"), "{streams:?}");

    let (status, last, streams) = restore_all(&manager, &[]);
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
        nats.delete_stream(&stream).await;
    }
    for (key, bytes) in whole {
        bucket.put_object(key, &bytes).await.unwrap();
    }
    drop(nats);
    let larger = format!("max_payload: 2M\n{}", account("max_file: 400M, max_mem: 64M"));
    let Host { nats, manager } = lab.host_with("new", &larger).await;
    let (status, last, streams) = restore_all(&manager, &[]);
    assert_eq!(status, 0, "{last}");
    assert!(are(&streams[..REFUSED], "restored") && are(&streams[REFUSED..], "unchanged"));
    assert_eq!(streams.len() - REFUSED, READY);
    archived.exact(&nats, 0..STREAMS).await;
}
