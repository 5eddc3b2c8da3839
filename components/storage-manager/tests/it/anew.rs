//! Damage on the NAS that cannot be healed exactly, for the live stream has dropped or deleted a part of what was
//! archived, or because it is a file: it comes from Wasabi, or what the live stream still has is archived anew, in a new
//! timeline.

use bytes::Bytes;
use cim_core::names::StreamName;
use cim_fake_wasabi::{Fault, Rule};
use cim_storage_manager::journal::read_entry;
use serde_json::{Value, json};

use crate::support::{
    Builder, Daemon, ENTRIES, Lab, Minio, are_the_same, fingerprints, keys, noise, rotten,
    wait_until,
};

/// One message deleted; dropped by the stream's limit; overwritten by key; in files of its own, one message deleted;
/// the same, nothing deleted.
const STREAMS: [&str; 5] = ["D", "L", "K", "F", "G"];
/// How often they are archived anew.
const ANEW: [usize; 5] = [1, 1, 1, 1, 0];
/// Their timelines then.
const TIMELINES: [u32; 5] = [2, 2, 2, 2, 1];

/// A lab of these streams, and a manager that tiers them.
struct Archived {
    lab: Lab,
    tiers: &'static [&'static str],
    nas: Box<s3::Bucket>,
    daemon: Option<Daemon>,
}

impl Archived {
    /// Files of 4 MiB and more go to Wasabi as they are.
    async fn with_wasabi() -> Self {
        Self::start(Lab::with().wasabi().settings(settings("4MiB", "24MiB")), &["nas", "wasabi"])
            .await
    }

    /// Damage is found when there are 6 MiB and they are merged: then each message becomes a file, however slow this
    /// machine is.
    async fn without_wasabi() -> Self {
        Self::start(Lab::with().settings(settings("1MiB", "6MiB")), &["nas"]).await
    }

    async fn start(lab: Builder<Minio>, tiers: &'static [&'static str]) -> Self {
        let lab = lab.layout("journal").start().await;
        lab.nats.create("D", json!({})).await;
        lab.nats.create("L", json!({ "max_msgs": 20 })).await;
        lab.nats.create("K", json!({ "max_msgs_per_subject": 1 })).await;
        lab.nats.create("F", json!({})).await;
        lab.nats.create("G", json!({})).await;
        let daemon = Some(lab.manager.tier().await);
        let nas = lab.bucket();
        let archived = Self { lab, tiers, nas, daemon };
        archived.publish().await;
        archived.reach(tiers).await;
        archived
    }

    /// Publishes to all but `F` and `G`.
    async fn publish(&self) {
        self.lab.nats.publish("D", 10).await;
        self.lab.nats.publish("L", 15).await;
        self.lab.nats.publish("K", 9).await;
    }

    /// Publishes to `F` and `G` until each has one more large file.
    async fn publish_files(&self) {
        self.publish_file("F").await;
        self.publish_file("G").await;
    }

    async fn publish_file(&self, stream: &str) {
        let before = self.files(stream).await.len();
        wait_until("it has a file", async || {
            self.publish_large(stream).await;
            self.reach(&["nas"]).await;
            let files = self.files(stream).await;
            if files.len() > before { Ok(()) } else { Err(self.log()) }
        })
        .await;
    }

    /// Publishes 4 MiB.
    async fn publish_large(&self, stream: &str) {
        let subject = format!("{}.x", stream.to_lowercase());
        self.lab.nats.put_all(&subject, (0..4).map(|seed| noise(seed, 1 << 20))).await;
    }

    /// The large files of a stream, oldest first.
    async fn files(&self, stream: &str) -> Vec<String> {
        let pages = self.nas.list(format!("v1/streams/{stream}/segments/"), None).await.unwrap();
        let objects = pages.into_iter().flat_map(|page| page.contents);
        let least = if self.tiers.contains(&"wasabi") { 4 << 20 } else { 1 << 20 };
        let large = objects.filter(|object| object.size >= least);
        let mut keys: Vec<String> = large.map(|object| object.key).collect();
        keys.sort();
        keys
    }

    /// Waits until tiers have all that there is.
    async fn reach(&self, tiers: &[&str]) {
        self.lab.manager.catches_up(&self.lab.nats, &STREAMS, tiers).await;
    }

    /// Returns the entries of the NAS, oldest first.
    async fn entries(&self) -> Vec<String> {
        keys(&self.nas, ENTRIES).await
    }

    /// Damages all entries that have messages of these streams within these sequences.
    async fn damage(&self, parts: &[(&str, u64, u64)]) -> Vec<String> {
        let mut damaged = Vec::new();
        for key in self.entries().await {
            let object = self.nas.get_object(&key).await.unwrap().into_bytes();
            let (entry, _) = read_entry(&object).unwrap();
            let has = |(stream, first, last): &(&str, u64, u64)| {
                let change = entry.streams.get(&StreamName::new(*stream).unwrap());
                change.is_some_and(|change| {
                    let own = change.add.iter().filter(|segment| segment.key.is_none());
                    own.clone().any(|s| s.first_seq <= *last && s.last_seq >= *first)
                })
            };
            if parts.iter().any(has) {
                self.nas.put_object(&key, &gone_bad(&object)).await.unwrap();
                damaged.push(key);
            }
        }
        damaged
    }

    /// Deletes the first message that is in the first file of a stream.
    async fn delete_of_file(&self, stream: &str) {
        let file = self.files(stream).await.remove(0);
        let first = file.rsplit('/').next().unwrap().split('-').next().unwrap();
        self.lab.nats.delete(stream, &[first.parse().unwrap()]).await;
    }

    /// Flips a bit of the first file that a stream has.
    async fn damage_file(&self, stream: &str) -> String {
        let first = self.files(stream).await.remove(0);
        let mut file = self.nas.get_object(&first).await.unwrap().into_bytes().to_vec();
        let middle = file.len() / 2;
        file[middle] ^= 1;
        self.nas.put_object(&first, &file).await.unwrap();
        first
    }

    fn log(&self) -> String {
        self.daemon.as_ref().unwrap().log()
    }

    /// Streams that were archived anew, and how often.
    fn anew(&self) -> Vec<usize> {
        let log = self.log();
        let of = |stream: &str| {
            let named = format!(
                "of stream `{stream}` exactly as they were archived: the messages that the live"
            );
            log.lines().filter(|line| line.contains("WARN") && line.contains(&named)).count()
        };
        STREAMS.iter().map(|stream| of(stream)).collect()
    }

    fn is_healed(&self, key: &str) -> bool {
        let named = format!("`{key}` of the NAS could not be read: it was written anew");
        self.log().contains(&named)
    }

    /// Each tier brings back exactly what the live streams are.
    async fn brings_all_back(&self) {
        let before = fingerprints(&self.lab.nats, &STREAMS).await;
        for tier in self.tiers {
            let host = self.lab.host(&format!("new-{tier}-{}", uuid::Uuid::now_v7())).await;
            let output = host.manager.run(&["restore", "--all", "--from", tier, "--no-fallback"]);
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{tier}: {said}");
            // The streams are the same ones, and nothing of them is left out.
            assert!(!said.contains("created again") && !said.contains("leaves out"), "{said}");
            are_the_same(&host.nats, &STREAMS, &before).await;
        }
    }

    fn timelines(&self, tier: &str) -> Vec<Value> {
        let status = self.lab.manager.json(&["status"]);
        let of = |stream: &&str| {
            let streams = status["streams"].as_array().unwrap();
            streams.iter().find(|s| s["stream"] == *stream).unwrap()[tier]["timeline"].clone()
        };
        STREAMS.iter().map(of).collect()
    }

    /// Damage stays in the timelines that were left, and `verify` says that the newest are whole.
    fn is_named(&self, damaged: &[String]) {
        let output = self.lab.manager.run(&["verify"]);
        let said = String::from_utf8(output.stdout).unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(5), "{said}{error}");
        assert!(damaged.iter().any(|key| said.contains(key)), "{said}");
        let last = error.lines().last().unwrap();
        assert!(last.contains("the newest timeline of each is whole"), "{error}");
    }
}

/// An entry of which all messages are damaged: rows of small parts stand in one row group.
fn gone_bad(object: &Bytes) -> Vec<u8> {
    let bad = rotten(object);
    let (before, after) = (read_entry(object).unwrap(), read_entry(&bad.clone().into()).unwrap());
    assert_eq!(before, after);
    bad
}

fn settings(flush: &str, seal: &str) -> String {
    format!(
        "[segment]\nflush_age = \"60ms\"\nflush_size = \"{flush}\"\n[seal]\ninterval = \"200ms\"\nsize = \"{seal}\"\n"
    )
}

/// What the damaged objects had is not in the live streams any more, as it was.
async fn drop_some(archived: &Archived, first: &[(&str, u64, u64)]) {
    archived.lab.nats.delete("D", &[first[0].1 + 2]).await;
    archived.lab.nats.publish("L", 40).await;
    archived.publish().await;
    archived.reach(&["nas"]).await;
    wait_until("the archive knows of the delete", async || {
        for key in archived.entries().await.iter().rev() {
            let object = archived.nas.get_object(key).await.unwrap().into_bytes();
            let (entry, _) = read_entry(&object).unwrap();
            let change = entry.streams.get(&StreamName::new("D").unwrap());
            if change.is_some_and(|change| !change.deleted.is_empty()) {
                return Ok(());
            }
        }
        Err(archived.log())
    })
    .await;
}

/// Publishes to all, and says what sequences that was.
async fn publish_parts(archived: &Archived) -> Vec<(&'static str, u64, u64)> {
    let mut before = Vec::new();
    for stream in ["D", "L", "K"] {
        before.push(archived.lab.nats.last_seq(stream).await);
    }
    // One key is written once, the others again and again.
    archived.lab.nats.publish_bare("k.once", 1).await;
    archived.publish().await;
    archived.reach(&["nas"]).await;
    let mut parts = Vec::new();
    for (stream, before) in ["D", "L", "K"].into_iter().zip(before) {
        parts.push((stream, before + 1, archived.lab.nats.last_seq(stream).await));
    }
    parts
}

/// Drops some of what objects have, and damages them. Returns those that stay so, and the file that is made once more.
async fn drop_and_damage(
    archived: &Archived,
    parts: &[(&'static str, u64, u64)],
) -> (Vec<String>, String) {
    archived.publish_files().await;
    archived.delete_of_file("F").await;
    drop_some(archived, parts).await;
    let mut damaged = archived.damage(parts).await;
    assert!(!damaged.is_empty());
    damaged.push(archived.damage_file("F").await);
    (damaged, archived.damage_file("G").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_healed_is_archived_anew_and_gets_to_wasabi() {
    let mut archived = Archived::with_wasabi().await;
    let wasabi = archived.lab.wasabi();
    wasabi.set_faults(vec![Rule::new(Fault::Unavailable).operation("PutObject")]).unwrap();
    // What is decided for Wasabi is on the NAS a second time.
    archived.publish().await;
    archived.daemon.as_ref().unwrap().says("copying to Wasabi failed").await;
    archived.reach(&["nas"]).await;
    let parts = publish_parts(&archived).await;
    let (damaged, healed) = drop_and_damage(&archived, &parts).await;
    archived.lab.wasabi().set_faults(Vec::new()).unwrap();
    archived.publish().await;
    archived.reach(&["nas", "wasabi"]).await;
    wait_until("all are archived anew", async || {
        let anew = archived.anew();
        if anew == ANEW && archived.is_healed(&healed) {
            Ok(())
        } else {
            Err(format!("{anew:?}: {}", archived.log()))
        }
    })
    .await;
    archived.reach(&["nas", "wasabi"]).await;
    wait_until("wasabi has the new timelines", async || {
        let timelines = archived.timelines("wasabi");
        if timelines == TIMELINES { Ok(()) } else { Err(format!("{timelines:?}")) }
    })
    .await;
    archived.publish().await;
    archived.reach(&["nas", "wasabi"]).await;
    assert!(!archived.log().contains("ERROR"), "{}", archived.log());
    archived.brings_all_back().await;
    archived.is_named(&damaged);
    archived.lab.manager.json(&["verify", "--from", "wasabi"]);
    // It begins where it was.
    archived.daemon.take().unwrap().stop().await;
    archived.daemon = Some(archived.lab.manager.tier().await);
    archived.publish().await;
    archived.reach(&["nas", "wasabi"]).await;
    assert_eq!(archived.anew(), ANEW, "{}", archived.log());
    archived.brings_all_back().await;
    archived.daemon.take().unwrap().stop().await;
}

/// Without Wasabi it is found when it is merged.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_healed_is_archived_anew_without_wasabi() {
    let mut archived = Archived::without_wasabi().await;
    let parts = publish_parts(&archived).await;
    let (damaged, healed) = drop_and_damage(&archived, &parts).await;
    let mut rounds = 0;
    wait_until("all are archived anew", async || {
        archived.lab.nats.publish("D", 1).await;
        if rounds < 4 {
            archived.publish_large("F").await;
            archived.publish_large("G").await;
            archived.reach(&["nas"]).await;
            rounds += 1;
        }
        let anew = archived.anew();
        let done = anew == ANEW && archived.is_healed(&healed);
        if done { Ok(()) } else { Err(format!("{anew:?}: {}", archived.log())) }
    })
    .await;
    archived.reach(&["nas"]).await;
    assert_eq!(archived.timelines("nas"), TIMELINES);
    assert!(!archived.log().contains("ERROR"), "{}", archived.log());
    archived.brings_all_back().await;
    archived.is_named(&damaged);
    archived.daemon.take().unwrap().stop().await;
}

/// What Wasabi has in objects of its own is written anew from there, and no timeline begins.
#[tokio::test(flavor = "multi_thread")]
async fn what_wasabi_alone_has_exactly_is_written_anew() {
    let mut archived = Archived::with_wasabi().await;
    let parts = publish_parts(&archived).await;
    drop_some(&archived, &parts).await;
    archived.reach(&["nas", "wasabi"]).await;
    let damaged = archived.damage(&parts).await;
    assert!(!damaged.is_empty());
    wait_until("all are written anew", async || {
        archived.lab.nats.publish("D", 1).await;
        if damaged.iter().all(|key| archived.is_healed(key)) { Ok(()) } else { Err(archived.log()) }
    })
    .await;
    archived.reach(&["nas", "wasabi"]).await;
    assert_eq!(archived.timelines("nas"), [1; 5], "{}", archived.log());
    assert!(!archived.log().contains("ERROR"), "{}", archived.log());
    archived.brings_all_back().await;
    archived.lab.manager.json(&["verify"]);
    archived.daemon.take().unwrap().stop().await;
}

/// What is damaged on both tiers is of no help on either: nothing waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_at_wasabi_too_is_archived_anew() {
    let mut archived = Archived::with_wasabi().await;
    let parts = publish_parts(&archived).await;
    drop_some(&archived, &parts).await;
    archived.reach(&["nas", "wasabi"]).await;
    let wasabi = archived.lab.wasabi_bucket();
    for key in keys(&wasabi, "v2/tertiary/main/entries/").await {
        let entry = wasabi.get_object(&key).await.unwrap().into_bytes();
        if read_entry(&entry).unwrap().0.streams.values().any(|change| !change.add.is_empty()) {
            wasabi.put_object(&key, &gone_bad(&entry)).await.unwrap();
        }
    }
    archived.damage(&parts).await;
    wait_until("all are archived anew", async || {
        archived.lab.nats.publish("D", 1).await;
        let anew = archived.anew();
        if anew[..3] == [1; 3] { Ok(()) } else { Err(format!("{anew:?}: {}", archived.log())) }
    })
    .await;
    archived.reach(&["nas", "wasabi"]).await;
    assert!(!archived.log().contains("ERROR"), "{}", archived.log());
    archived.daemon.take().unwrap().stop().await;
}
