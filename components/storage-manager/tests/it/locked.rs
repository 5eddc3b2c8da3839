//! An archive whose newest part opens with today's key, while one that is not configured any more has written what is
//! behind it: all that can do without goes on, what cannot is named, and nothing of it is changed.

use std::path::PathBuf;

use serde_json::{Value, json};

use crate::support::{
    Daemon, ENTRIES, Encrypted, Host, Manager, are_the_same, encryption, fingerprint, fingerprints,
    keys, outcomes, restore_all, wait_until,
};

/// Streams by the age of what is archived of them: the last one has nothing that the old key has written.
const STREAMS: [&str; 4] = ["LARGE", "S", "T", "U"];
/// Small segments go to Wasabi as they are, and so come back from there.
const WHOLE: &str =
    "[segment]\nflush_age = \"30ms\"\nflush_size = \"64KiB\"\n[seal]\nsize = \"64KiB\"\n";
/// Larger ones alone do, and all objects of the NAS are read often.
const ROWS: &str = "[segment]\nflush_age = \"30ms\"\nflush_size = \"64KiB\"\n[heal]\nevery = \"1s\"\n[seal]\nsize = \"512KiB\"\n";

/// A host with both keys' objects on its NAS.
struct Rotated {
    lab: Encrypted,
    old: PathBuf,
    new: PathBuf,
}

impl Rotated {
    /// The old key has written streams, the NAS is lost, and with the new key all came back from Wasabi, entry by entry
    /// as it was there; so the NAS's journal is the new key's from its first entry on.
    async fn make() -> Self {
        let mut lab = Encrypted::start().await;
        lab.pace = WHOLE;
        let (old, new) = (lab.key("old.key", None), lab.key("new.key", None));
        lab.nats.create("LARGE", json!({})).await;
        let manager = lab.with(&encryption("both", Some(&old), &[]));
        let daemon = manager.tier().await;
        lab.publish(&manager, 1).await;
        for n in 0..4_u8 {
            // Of final size, and not.
            let size = if n % 2 == 0 { 900 << 10 } else { 300 << 10 };
            let payload: Vec<u8> = (0..size).map(|i: u32| (i % 251) as u8 ^ n).collect();
            lab.nats.client.request("large.x", payload.into()).await.unwrap();
            let last = lab.nats.last_seq("LARGE").await;
            on(&manager, "LARGE", "wasabi", last).await;
        }
        daemon.stop().await;
        lab.nas.replace();
        let manager = lab.with(&encryption("both", Some(&new), &[&old]));
        let daemon = manager.tier().await;
        lab.nats.create("U", json!({})).await;
        lab.nats.publish("U", 12).await;
        on(&manager, "U", "nas", 12).await;
        on(&manager, "U", "wasabi", 12).await;
        manager.becomes_whole("nas").await;
        daemon.stop().await;
        Self { lab, old, new }
    }

    /// The configuration without the old key, and with it.
    fn without(&self) -> String {
        encryption("both", Some(&self.new), &[])
    }

    fn with(&self) -> String {
        encryption("both", Some(&self.new), &[&self.old])
    }

    /// The old key's name.
    fn id(&self) -> String {
        let listed = self.lab.with(&encryption("none", None, &[&self.old])).json(&["key", "list"]);
        listed[0]["key"].as_str().unwrap().to_owned()
    }

    async fn before(&self) -> Vec<Value> {
        fingerprints(&self.lab.nats, &STREAMS).await
    }
}

/// Waits until a tier has a stream up to a sequence. That something cannot be read is no matter.
async fn on(manager: &Manager, stream: &str, tier: &str, seq: u64) {
    wait_until(&format!("`{stream}` is on {tier} up to {seq}"), async || {
        let output = manager.run(&["status", "--json"]);
        let said = || String::from_utf8_lossy(&output.stderr).into_owned();
        let status: Value = serde_json::from_slice(&output.stdout).map_err(|_| said())?;
        let mut shown = status["streams"].as_array().unwrap().iter();
        let found = shown.find(|shown| shown["stream"] == stream).map(|shown| &shown[tier]["seq"]);
        match found.and_then(Value::as_u64) {
            Some(reached) if reached >= seq => Ok(()),
            other => Err(format!("{other:?}: {}", said())),
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restore_of_all_brings_back_what_there_is_a_key_of_and_names_the_rest() {
    let rotated = Rotated::make().await;
    let (before, id) = (rotated.before().await, rotated.id());
    let Host { nats, manager } = rotated.lab.new_host(&rotated.without()).await;
    for (more, done, last) in [
        (&["--dry-run"][..], "ready", "1 of 4 streams can be restored, 3 cannot: see the table"),
        (&[], "restored", "1 of 4 streams were restored, 3 were not: see the table"),
        (&[], "unchanged", "0 of 4 streams were restored, 1 were there already, 3 were not: see"),
    ] {
        let (status, said, streams) = restore_all(&manager, more);
        assert_eq!(status, 9, "{said}");
        assert!(said.contains(last), "{said}");
        assert_eq!(outcomes(&streams), ["locked", "locked", "locked", done], "{streams:?}");
        for stream in &streams[..3] {
            let (why, out) = (stream["why"].as_str().unwrap(), stream["way_out"].as_str().unwrap());
            assert!(why.contains(&format!("is encrypted with key `{id}`")), "{why}");
            assert!(why.starts_with("NAS: `v"), "{why}");
            assert!(out.contains("`archive.encryption.more_key_files`"), "{out}");
            assert!(stream["messages"].is_null(), "{stream}");
        }
    }
    assert_eq!(fingerprint(&nats, "U").await, before[3]);
    let names = nats.api("STREAM.NAMES", Value::Null).await;
    assert_eq!(names["streams"], json!(["U"]));
    for more in [&[][..], &["--dry-run"]] {
        let (status, error) = manager.error(&[&["restore", "T"][..], more].concat());
        assert_eq!(status, 9, "{error}");
        assert!(error.contains(&id) && error.contains("more_key_files"), "{error}");
    }

    // The key is found: what was missing comes back.
    let manager = rotated.lab.with_of("found", &nats, &rotated.with());
    let (status, said, streams) = restore_all(&manager, &[]);
    assert_eq!(status, 0, "{said}");
    assert_eq!(outcomes(&streams), ["restored", "restored", "restored", "unchanged"]);
    are_the_same(&nats, &STREAMS, &before).await;
}

/// Publishes into a stream of its own until so many entries are there that they are merged, what is locked among them.
async fn until_merged(lab: &Encrypted, daemon: &Daemon) {
    let nas = lab.bucket();
    let begun = keys(&nas, ENTRIES).await.len();
    wait_until("there are entries enough to be merged", async || {
        lab.nats.publish("U", 1).await;
        let entries = keys(&nas, ENTRIES).await.len() - begun;
        if entries > 140 { Ok(()) } else { Err(format!("{entries} entries")) }
    })
    .await;
    wait_until("entries are merged", async || {
        let merged = keys(&nas, "v2/journal/main/shared/").await.len();
        if merged > 0 { Ok(()) } else { Err(daemon.log()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tiering_goes_on_without_a_key_and_leaves_alone_what_it_would_take() {
    let mut rotated = Rotated::make().await;
    // All is to be copied to another Wasabi, and the old key is gone.
    rotated.lab.lose_wasabi().await;
    rotated.lab.pace = ROWS;
    let (lab, id) = (&rotated.lab, rotated.id());
    // An object says in the clear which key it takes.
    let of_old = |object: &[u8]| object.windows(id.len()).any(|part| part == id.as_bytes());
    let mut there = lab.objects("nas").await;
    there.retain(|_, object| of_old(object));
    assert!(there.len() > 4, "{:?}", there.keys());
    let manager = lab.with(&rotated.without());
    let log = manager.config().with_extension("log");
    let known = std::fs::read_to_string(&log).unwrap().len();
    let daemon = manager.tier().await;
    for stream in STREAMS {
        lab.nats.publish(stream, 12).await;
    }
    for stream in STREAMS {
        on(&manager, stream, "nas", lab.nats.last_seq(stream).await).await;
    }
    until_merged(lab, &daemon).await;
    // What is today's goes to Wasabi, and so do segments of their own that are locked, as they are.
    for stream in ["U", "LARGE"] {
        on(&manager, stream, "wasabi", lab.nats.last_seq(stream).await).await;
    }
    let at_wasabi = lab.objects("wasabi").await;
    let own: Vec<_> = there.keys().filter(|key| key.contains("/LARGE/segments/")).collect();
    assert_eq!(own.len(), 4, "{:?}", there.keys());
    assert!(own.iter().all(|key| at_wasabi.get(*key) == there.get(*key)), "{own:?}");

    let (status, error) = manager.error(&["status"]);
    assert_eq!(status, 9, "{error}");
    assert!(error.contains("objects of the streams `LARGE`, `S`, `T` cannot be read"), "{error}");
    assert!(error.contains(&id) && error.contains("more_key_files"), "{error}");
    let output = manager.run(&["verify", "--json"]);
    assert_eq!(output.status.code(), Some(9), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    for stream in report["streams"].as_array().unwrap() {
        let locked = stream["locked"].as_array().unwrap();
        assert_eq!(stream["problems"], json!([]), "{report}");
        assert_eq!(locked.is_empty(), stream["stream"] == "U", "{report}");
        assert!(locked.iter().all(|what| what.as_str().unwrap().contains(&id)), "{report}");
    }
    let (_, error) = manager.error(&["verify"]);
    assert!(error.contains("3 of 4 streams on NAS") && error.contains("--without-keys"), "{error}");
    assert_eq!(
        manager.run(&["status", "--check", "--max-lag-wasabi", "1h"]).status.code(),
        Some(0)
    );

    daemon.stop().await;
    let said = std::fs::read_to_string(&log).unwrap()[known..].to_owned();
    assert!(said.contains(&format!("encrypted with key `{id}`")), "{said}");
    for wrong in ["failed", "could not be", "damaged", "anew, ", "cannot merge"] {
        assert!(!said.contains(wrong), "{wrong}: {said}");
    }
    let now = lab.objects("nas").await;
    let gone: Vec<_> =
        there.iter().filter(|(key, object)| now.get(*key) != Some(*object)).collect();
    let gone: Vec<_> = gone.into_iter().map(|(key, _)| key).collect();
    assert!(gone.is_empty(), "{gone:?}");

    // With the key the rest goes to Wasabi, and either tier alone has all.
    let before = rotated.before().await;
    let manager = lab.with(&rotated.with());
    let daemon = manager.tier().await;
    for stream in STREAMS {
        on(&manager, stream, "wasabi", lab.nats.last_seq(stream).await).await;
    }
    daemon.stop().await;
    for tier in ["nas", "wasabi"] {
        let Host { nats, manager } = rotated.lab.new_host(&rotated.with()).await;
        let (status, said, _) = restore_all(&manager, &["--from", tier, "--no-fallback"]);
        assert_eq!(status, 0, "{said}");
        are_the_same(&nats, &STREAMS, &before).await;
    }
}
