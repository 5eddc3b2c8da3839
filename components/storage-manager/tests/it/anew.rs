//! Damage on the NAS that cannot be healed exactly, for the live stream has dropped or deleted a part of what was
//! archived, or because it is a file: it comes from Wasabi, or what the live stream still has is archived anew, in a new
//! timeline.

use std::path::Path;

use bytes::Bytes;
use cim_core::names::StreamName;
use cim_fake_wasabi::{FakeWasabi, Fault, Rule};
use cim_storage_manager::journal::read_entry;
use serde_json::{Value, json};

use crate::bad_input::bucket;
use crate::journal_damage::{ENTRIES, rotten};
use crate::support::{Daemon, Manager, Minio, Nats, Settings, fake_s3, fingerprint, wait_until};

/// One message deleted; dropped by the stream's limit; overwritten by key; in files of its own, one message deleted;
/// the same, nothing deleted.
const STREAMS: [&str; 5] = ["D", "L", "K", "F", "G"];
/// How often they are archived anew.
const ANEW: [usize; 5] = [1, 1, 1, 1, 0];
/// Their timelines then.
const TIMELINES: [u32; 5] = [2, 2, 2, 2, 1];

struct Lab {
    dir: tempfile::TempDir,
    minio: Minio,
    wasabi: Option<FakeWasabi>,
    nats: Nats,
    manager: Manager,
    nas: Box<s3::Bucket>,
    daemon: Option<Daemon>,
}

impl Lab {
    async fn start(with_wasabi: bool) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let minio = Minio::start(dir.path()).await;
        let wasabi = if with_wasabi { Some(fake_s3(dir.path(), "wasabi").await) } else { None };
        let nats = Nats::start(&dir.path().join("host")).await;
        nats.create("D", json!({})).await;
        nats.create("L", json!({ "max_msgs": 20 })).await;
        nats.create("K", json!({ "max_msgs_per_subject": 1 })).await;
        nats.create("F", json!({})).await;
        nats.create("G", json!({})).await;
        let manager = manager(dir.path(), "host", &nats, &minio, wasabi.as_ref());
        let daemon = Some(manager.tier().await);
        let nas = bucket(&minio.url);
        let lab = Self { dir, minio, wasabi, nats, manager, nas, daemon };
        lab.publish().await;
        lab.reach(lab.tiers()).await;
        lab
    }

    fn tiers(&self) -> &'static [&'static str] {
        if self.wasabi.is_some() { &["nas", "wasabi"] } else { &["nas"] }
    }

    /// Publishes to all but `F` and `G`.
    async fn publish(&self) {
        self.nats.publish("D", 10).await;
        self.nats.publish("L", 15).await;
        self.nats.publish("K", 9).await;
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
        let jetstream = async_nats::jetstream::new(self.nats.client.clone());
        let (subject, mut state) = (format!("{}.x", stream.to_lowercase()), 1u64);
        let mut acks = Vec::new();
        for _ in 0..4 {
            let random = std::iter::repeat_with(|| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                u8::try_from(state >> 56).unwrap()
            });
            let payload: Vec<u8> = random.take(1 << 20).collect();
            acks.push(jetstream.publish(subject.clone(), payload.into()).await.unwrap());
        }
        for ack in acks {
            ack.await.unwrap();
        }
    }

    /// The large files of a stream, oldest first.
    async fn files(&self, stream: &str) -> Vec<String> {
        let pages = self.nas.list(format!("v1/streams/{stream}/segments/"), None).await.unwrap();
        let objects = pages.into_iter().flat_map(|page| page.contents);
        let least = if self.wasabi.is_some() { 4 << 20 } else { 1 << 20 };
        let large = objects.filter(|object| object.size >= least);
        let mut keys: Vec<String> = large.map(|object| object.key).collect();
        keys.sort();
        keys
    }

    /// Waits until tiers have all that there is.
    async fn reach(&self, tiers: &[&str]) {
        for stream in STREAMS {
            let last = self.nats.last_seq(stream).await;
            for tier in tiers {
                self.manager.reaches(stream, tier, last).await;
            }
        }
    }

    /// Entries of the NAS, oldest first.
    async fn entries(&self) -> Vec<String> {
        let pages = self.nas.list(ENTRIES.into(), None).await.unwrap();
        let objects = pages.into_iter().flat_map(|page| page.contents);
        let mut keys: Vec<String> = objects.map(|object| object.key).collect();
        keys.sort();
        keys
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
        self.nats.delete(stream, &[first.parse().unwrap()]).await;
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

    /// Both tiers bring back exactly what the live streams are.
    async fn brings_all_back(&self) {
        let mut before = Vec::new();
        for stream in STREAMS {
            before.push(fingerprint(&self.nats, stream).await);
        }
        for tier in self.tiers() {
            let name = format!("new-{tier}-{}", uuid::Uuid::now_v7());
            let new = Nats::start(&self.dir.path().join(&name)).await;
            let manager = manager(self.dir.path(), &name, &new, &self.minio, self.wasabi.as_ref());
            let output = manager.run(&["restore", "--all", "--from", tier, "--no-fallback"]);
            let said = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{tier}: {said}");
            // The streams are the same ones, and nothing of them is left out.
            assert!(!said.contains("created again") && !said.contains("leaves out"), "{said}");
            for (stream, before) in STREAMS.iter().zip(&before) {
                assert_eq!(fingerprint(&new, stream).await, *before, "{stream} from {tier}");
            }
        }
    }

    fn timelines(&self, tier: &str) -> Vec<Value> {
        let status = self.manager.json(&["status"]);
        let of = |stream: &&str| {
            let streams = status["streams"].as_array().unwrap();
            streams.iter().find(|s| s["stream"] == *stream).unwrap()[tier]["timeline"].clone()
        };
        STREAMS.iter().map(of).collect()
    }

    /// Damage stays in the timelines that were left, and `verify` says that the newest are whole.
    fn is_named(&self, damaged: &[String]) {
        let output = self.manager.run(&["verify"]);
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

fn manager(
    dir: &Path,
    name: &str,
    nats: &Nats,
    nas: &Minio,
    wasabi: Option<&FakeWasabi>,
) -> Manager {
    let mut settings = Settings::new(&nats.url, &nas.url);
    settings.layout = "journal".into();
    settings.wasabi = wasabi.map(FakeWasabi::s3_url);
    // Files of 4 MiB and more go to Wasabi as they are. Without it they are found when there are 6 MiB and they are
    // merged: then each message becomes one, however slow this machine is.
    let (flush, seal) = if wasabi.is_some() { ("4MiB", "24MiB") } else { ("1MiB", "6MiB") };
    settings.more = format!(
        "[segment]\nflush_age = \"60ms\"\nflush_size = \"{flush}\"\n[seal]\ninterval = \"200ms\"\nsize = \"{seal}\"\n"
    );
    Manager::new(dir, name, &settings)
}

/// What the damaged objects had is not in the live streams any more, as it was.
async fn drop_some(lab: &Lab, first: &[(&str, u64, u64)]) {
    lab.nats.delete("D", &[first[0].1 + 2]).await;
    lab.nats.publish("L", 40).await;
    lab.publish().await;
    lab.reach(&["nas"]).await;
    wait_until("the archive knows of the delete", async || {
        for key in lab.entries().await.iter().rev() {
            let object = lab.nas.get_object(key).await.unwrap().into_bytes();
            let (entry, _) = read_entry(&object).unwrap();
            let change = entry.streams.get(&StreamName::new("D").unwrap());
            if change.is_some_and(|change| !change.deleted.is_empty()) {
                return Ok(());
            }
        }
        Err(lab.log())
    })
    .await;
}

/// Publishes to all, and says what sequences that was.
async fn publish_parts(lab: &Lab) -> Vec<(&'static str, u64, u64)> {
    let mut before = Vec::new();
    for stream in ["D", "L", "K"] {
        before.push(lab.nats.last_seq(stream).await);
    }
    // One key is written once, the others again and again.
    lab.nats.publish_bare("k.once", 1).await;
    lab.publish().await;
    lab.reach(&["nas"]).await;
    let mut parts = Vec::new();
    for (stream, before) in ["D", "L", "K"].into_iter().zip(before) {
        parts.push((stream, before + 1, lab.nats.last_seq(stream).await));
    }
    parts
}

/// Drops some of what objects have, and damages them. Returns those that stay so, and the file that is made once more.
async fn drop_and_damage(lab: &Lab, parts: &[(&'static str, u64, u64)]) -> (Vec<String>, String) {
    lab.publish_files().await;
    lab.delete_of_file("F").await;
    drop_some(lab, parts).await;
    let mut damaged = lab.damage(parts).await;
    assert!(!damaged.is_empty());
    damaged.push(lab.damage_file("F").await);
    (damaged, lab.damage_file("G").await)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_healed_is_archived_anew_and_gets_to_wasabi() {
    let mut lab = Lab::start(true).await;
    let wasabi = lab.wasabi.as_ref().unwrap();
    wasabi.set_faults(vec![Rule::new(Fault::Unavailable).operation("PutObject")]).unwrap();
    // What is decided for Wasabi is on the NAS a second time.
    lab.publish().await;
    wait_until("an entry for wasabi was decided", async || {
        let log = lab.log();
        if log.contains("copying to Wasabi failed") { Ok(()) } else { Err(log) }
    })
    .await;
    lab.reach(&["nas"]).await;
    let parts = publish_parts(&lab).await;
    let (damaged, healed) = drop_and_damage(&lab, &parts).await;
    lab.wasabi.as_ref().unwrap().set_faults(Vec::new()).unwrap();
    lab.publish().await;
    lab.reach(&["nas", "wasabi"]).await;
    wait_until("all are archived anew", async || {
        let anew = lab.anew();
        if anew == ANEW && lab.is_healed(&healed) {
            Ok(())
        } else {
            Err(format!("{anew:?}: {}", lab.log()))
        }
    })
    .await;
    lab.reach(&["nas", "wasabi"]).await;
    wait_until("wasabi has the new timelines", async || {
        let timelines = lab.timelines("wasabi");
        if timelines == TIMELINES { Ok(()) } else { Err(format!("{timelines:?}")) }
    })
    .await;
    lab.publish().await;
    lab.reach(&["nas", "wasabi"]).await;
    assert!(!lab.log().contains("ERROR"), "{}", lab.log());
    lab.brings_all_back().await;
    lab.is_named(&damaged);
    lab.manager.json(&["verify", "--from", "wasabi"]);
    // It begins where it was.
    lab.daemon.take().unwrap().stop().await;
    lab.daemon = Some(lab.manager.tier().await);
    lab.publish().await;
    lab.reach(&["nas", "wasabi"]).await;
    assert_eq!(lab.anew(), ANEW, "{}", lab.log());
    lab.brings_all_back().await;
    lab.daemon.take().unwrap().stop().await;
}

/// Without Wasabi it is found when it is merged.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_healed_is_archived_anew_without_wasabi() {
    let mut lab = Lab::start(false).await;
    let parts = publish_parts(&lab).await;
    let (damaged, healed) = drop_and_damage(&lab, &parts).await;
    let mut rounds = 0;
    wait_until("all are archived anew", async || {
        lab.nats.publish("D", 1).await;
        if rounds < 4 {
            lab.publish_large("F").await;
            lab.publish_large("G").await;
            lab.reach(&["nas"]).await;
            rounds += 1;
        }
        let anew = lab.anew();
        let done = anew == ANEW && lab.is_healed(&healed);
        if done { Ok(()) } else { Err(format!("{anew:?}: {}", lab.log())) }
    })
    .await;
    lab.reach(&["nas"]).await;
    assert_eq!(lab.timelines("nas"), TIMELINES);
    assert!(!lab.log().contains("ERROR"), "{}", lab.log());
    lab.brings_all_back().await;
    lab.is_named(&damaged);
    lab.daemon.take().unwrap().stop().await;
}

/// What Wasabi has in objects of its own is written anew from there, and no timeline begins.
#[tokio::test(flavor = "multi_thread")]
async fn what_wasabi_alone_has_exactly_is_written_anew() {
    let mut lab = Lab::start(true).await;
    let parts = publish_parts(&lab).await;
    drop_some(&lab, &parts).await;
    lab.reach(&["nas", "wasabi"]).await;
    let damaged = lab.damage(&parts).await;
    assert!(!damaged.is_empty());
    wait_until("all are written anew", async || {
        lab.nats.publish("D", 1).await;
        if damaged.iter().all(|key| lab.is_healed(key)) { Ok(()) } else { Err(lab.log()) }
    })
    .await;
    lab.reach(&["nas", "wasabi"]).await;
    assert_eq!(lab.timelines("nas"), [1; 5], "{}", lab.log());
    assert!(!lab.log().contains("ERROR"), "{}", lab.log());
    lab.brings_all_back().await;
    lab.manager.json(&["verify"]);
    lab.daemon.take().unwrap().stop().await;
}

/// What is damaged on both tiers is of no help on either: nothing waits for it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_at_wasabi_too_is_archived_anew() {
    let mut lab = Lab::start(true).await;
    let parts = publish_parts(&lab).await;
    drop_some(&lab, &parts).await;
    lab.reach(&["nas", "wasabi"]).await;
    let wasabi = bucket(&lab.wasabi.as_ref().unwrap().s3_url());
    let pages = wasabi.list("v2/tertiary/main/entries/".into(), None).await.unwrap();
    for object in pages.into_iter().flat_map(|page| page.contents) {
        let entry = wasabi.get_object(&object.key).await.unwrap().into_bytes();
        if read_entry(&entry).unwrap().0.streams.values().any(|change| !change.add.is_empty()) {
            wasabi.put_object(&object.key, &gone_bad(&entry)).await.unwrap();
        }
    }
    lab.damage(&parts).await;
    wait_until("all are archived anew", async || {
        lab.nats.publish("D", 1).await;
        let anew = lab.anew();
        if anew[..3] == [1; 3] { Ok(()) } else { Err(format!("{anew:?}: {}", lab.log())) }
    })
    .await;
    lab.reach(&["nas", "wasabi"]).await;
    assert!(!lab.log().contains("ERROR"), "{}", lab.log());
    lab.daemon.take().unwrap().stop().await;
}
