//! Objects on the NAS that were damaged before they went to Wasabi: what JetStream still has is written anew, and
//! where it does not, that stream alone waits.

use bytes::Bytes;
use cim_core::names::StreamName;
use cim_fake_wasabi::{Fault, Rule};
use cim_storage_manager::journal::read_entry;
use serde_json::json;

use crate::support::{
    Daemon, ENTRIES, Lab, fingerprints, flipped, have_the_same_messages, keys, rotten, wait_until,
};

const STREAMS: [&str; 3] = ["A", "B", "C"];

/// Three streams, and entries with messages of all of them that Wasabi, which takes nothing for now, does not have.
struct Held {
    lab: Lab,
    nas: Box<s3::Bucket>,
    daemon: Option<Daemon>,
    /// What each stream has.
    last: u64,
}

impl Held {
    async fn start() -> Self {
        let soon = "[segment]\nflush_age = \"100ms\"\n[seal]\ninterval = \"200ms\"\n";
        let lab = Lab::with().wasabi().layout("journal").settings(soon).start().await;
        for stream in STREAMS {
            lab.nats.create(stream, json!({})).await;
        }
        let daemon = Some(lab.manager.tier().await);
        let nas = lab.bucket();
        let mut held = Self { lab, nas, daemon, last: 0 };
        held.publish(1).await;
        held.reaches_wasabi().await;
        held.hold();
        held.publish(4).await;
        held.is_seen().await;
        held
    }

    /// Waits until Wasabi has all that was published.
    async fn reaches_wasabi(&self) {
        for stream in STREAMS {
            self.lab.manager.reaches(stream, "wasabi", self.last).await;
        }
    }

    /// Waits until the manager has looked whether its last entries are there, which it does each second.
    async fn is_seen(&self) {
        let (_, object) = self.entry().await;
        let (entry, _) = read_entry(&object).unwrap();
        wait_until("the entry is some seconds old", async || {
            let age = jiff::Timestamp::now().duration_since(entry.committed_at);
            if age.as_secs() >= 4 { Ok(()) } else { Err(age.to_string()) }
        })
        .await;
    }

    fn hold(&self) {
        self.lab
            .wasabi()
            .set_faults(vec![Rule::new(Fault::Unavailable).operation("PutObject")])
            .unwrap();
    }

    fn release(&self) {
        self.lab.wasabi().set_faults(Vec::new()).unwrap();
    }

    async fn publish(&mut self, rounds: u64) {
        for _ in 0..rounds {
            self.last += 20;
            for stream in STREAMS {
                self.lab.nats.publish(stream, 20).await;
            }
            for stream in STREAMS {
                self.lab.manager.reaches(stream, "nas", self.last).await;
            }
        }
    }

    /// The entry that has the messages of `A` of the round before the last. Those of the first that Wasabi did not
    /// take are on the NAS a second time, in the entry that was decided for it.
    async fn entry(&self) -> (String, Bytes) {
        for key in self.entries().await {
            let object = self.nas.get_object(&key).await.unwrap().into_bytes();
            let (entry, _) = read_entry(&object).unwrap();
            let change = entry.streams.get(&StreamName::new("A").unwrap());
            if change.is_some_and(|change| change.add.iter().any(|s| s.last_seq >= self.last - 20))
            {
                return (key, object);
            }
        }
        panic!("no entry has it");
    }

    /// All entries, oldest first.
    async fn entries(&self) -> Vec<String> {
        keys(&self.nas, ENTRIES).await
    }

    fn log(&self) -> String {
        self.daemon.as_ref().unwrap().log()
    }

    async fn is_whole(&mut self) {
        // With the next entry there are two checkpoints behind what was damaged.
        self.publish(1).await;
        self.reaches_wasabi().await;
        wait_until("nothing is wrong with the journal", async || {
            let output = self.lab.manager.run(&["verify", "--chain-only"]);
            let said = String::from_utf8_lossy(&output.stderr).into_owned();
            if output.status.success() { Ok(()) } else { Err(said) }
        })
        .await;
        for tier in ["nas", "wasabi"] {
            let report = self.lab.manager.json(&["verify", "--from", tier]);
            for stream in report["streams"].as_array().unwrap() {
                assert_eq!(stream["messages"], self.last, "{tier}: {report}");
            }
        }
        // It opens, and goes on.
        self.daemon.take().unwrap().stop().await;
        self.daemon = Some(self.lab.manager.tier().await);
        self.publish(1).await;
        self.reaches_wasabi().await;
        let before = fingerprints(&self.lab.nats, &STREAMS).await;
        for tier in ["nas", "wasabi"] {
            let (host, _) = self.lab.restored_from(tier, &[]).await;
            have_the_same_messages(&host.nats, &STREAMS, &before).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_jetstream_has_is_written_anew() {
    let mut held = Held::start().await;
    for kind in ["rotten", "gone", "another"] {
        let (key, object) = held.entry().await;
        match kind {
            "rotten" => drop(held.nas.put_object(&key, &rotten(&object)).await.unwrap()),
            "gone" => drop(held.nas.delete_object(&key).await.unwrap()),
            // It can be read, and decides something else.
            _ => {
                let other = held.entries().await.pop().unwrap();
                let other = held.nas.get_object(&other).await.unwrap().into_bytes();
                held.nas.put_object(&key, &other).await.unwrap();
            }
        }
        held.release();
        held.reaches_wasabi().await;
        let log = held.log();
        let named = format!("`{key}` of the NAS could not be read: it was written anew, stream `");
        assert!(log.contains(&named), "{kind}: {log}");
        assert!(!log.contains("ERROR"), "{kind}: {log}");
        held.is_whole().await;
        held.hold();
        held.publish(4).await;
        held.is_seen().await;
    }
}

/// Its messages are whole: nothing but its text is wrong, without which the journal could not be opened.
#[tokio::test(flavor = "multi_thread")]
async fn an_entry_whose_text_alone_is_damaged_is_restated() {
    let mut held = Held::start().await;
    let (key, object) = held.entry().await;
    held.nas.put_object(&key, &flipped(&object)).await.unwrap();
    held.release();
    held.reaches_wasabi().await;
    let said = format!("the decisions of journal entry `{key}` can no longer be read");
    held.daemon.as_ref().unwrap().says(&said).await;
    held.is_whole().await;
    assert_eq!(held.log().matches(&said).count(), 1, "{}", held.log());
    held.daemon.take().unwrap().stop().await;
}

/// JetStream does not have `A` at all any more, and an empty stream in the place of `B`: both wait, `C` does not, and the
/// object can be put back.
#[tokio::test(flavor = "multi_thread")]
async fn what_jetstream_lacks_keeps_its_streams_alone() {
    let mut held = Held::start().await;
    let (key, object) = held.entry().await;
    let archived = held.last;
    for stream in ["A", "B"] {
        held.lab.nats.delete_stream(stream).await;
    }
    held.lab.nats.create("B", json!({})).await;
    held.nas.put_object(&key, &rotten(&object)).await.unwrap();
    held.release();
    for _ in 0..3 {
        held.last += 20;
        held.lab.nats.publish("C", 20).await;
        held.lab.manager.reaches("C", "wasabi", held.last).await;
    }
    let at_wasabi = || {
        let report = held.lab.manager.json(&["verify", "--from", "wasabi"]);
        report["streams"][0]["messages"].as_u64().unwrap()
    };
    assert!((20..archived).contains(&at_wasabi()));
    held.daemon.as_ref().unwrap().says("JetStream no longer has exactly").await;
    let log = held.log();
    let said: Vec<&str> = log.lines().filter(|line| line.contains("ERROR")).collect();
    assert_eq!(said.len(), 1, "{log}");
    assert!(
        said[0].contains(&format!("`{key}`"))
            && said[0].contains("stream `A`, sequences ")
            && said[0].contains("stream `B`, sequences ")
            && !said[0].contains("stream `C`")
            && said[0].contains("docs/recovery.md#an-object-on-the-nas-is-damaged"),
        "{log}"
    );
    // Monitoring is told, though `C` is level, and what can be read is shown.
    let (status, error) = held.lab.manager.error(&["status", "--check"]);
    assert_eq!(status, 5, "{error}");
    assert!(error.contains(&format!("`{key}` of the NAS cannot be read")), "{error}");
    assert!(held.lab.manager.json(&["status"])["damage"][0].as_str().unwrap().contains(&key));
    // The way out: the object comes from somewhere else.
    held.nas.put_object(&key, &object).await.unwrap();
    wait_until("wasabi has all of it", async || {
        let messages = at_wasabi();
        if messages == archived { Ok(()) } else { Err(messages.to_string()) }
    })
    .await;
    wait_until("nothing is wrong any more", async || {
        let output = held.lab.manager.run(&["status", "--check"]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    })
    .await;
    held.daemon.take().unwrap().stop().await;
}

/// The newest message was deleted, and the object that has it is gone: the stream is archived on.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_object_does_not_keep_its_stream_from_being_archived() {
    let lab = Lab::with()
        .layout("journal")
        .settings("[segment]\nflush_age = \"1s\"\nflush_size = \"4KiB\"\n")
        .start()
        .await;
    lab.nats.create("A", json!({})).await;
    let daemon = lab.manager.tier().await;
    // Every fourth is large: as a rule three segments of eight each.
    lab.nats.publish("A", 24).await;
    lab.manager.reaches("A", "nas", 24).await;
    lab.nats.delete("A", &[24]).await;
    // It looks once more, and archives the delete.
    daemon.stop().await;
    let nas = lab.bucket();
    let segments = keys(&nas, "v1/streams/A/segments/").await;
    assert!(!segments.is_empty(), "it has segments of its own");
    for key in segments {
        nas.delete_object(&key).await.unwrap();
    }
    let daemon = lab.manager.tier().await;
    lab.nats.publish("A", 6).await;
    lab.manager.reaches("A", "nas", 30).await;
    daemon.stop().await;
}

const DECIDED: &str = "v2/tertiary/main/entries/";

/// Wasabi's newest entries are on both tiers: what rotted on the NAS before it got to Wasabi does not go there, and what
/// Wasabi has lost is put back.
#[tokio::test(flavor = "multi_thread")]
async fn either_tier_helps_the_other_with_what_was_decided_for_wasabi() {
    let mut held = Held::start().await;
    let wasabi = held.lab.wasabi_bucket();
    let decided = keys(&held.nas, DECIDED).await.pop().unwrap();
    assert!(!keys(&wasabi, DECIDED).await.contains(&decided));
    let object = held.nas.get_object(&decided).await.unwrap().into_bytes();
    held.nas.put_object(&decided, &rotten(&object)).await.unwrap();
    held.release();
    held.is_whole().await;
    let log = held.log();
    assert!(
        log.contains(&format!("`{decided}` was decided for Wasabi and is damaged on the NAS")),
        "{log}"
    );
    held.daemon.take().unwrap().stop().await;
    let both = keys(&held.nas, DECIDED).await;
    wasabi.delete_object(&both[1]).await.unwrap();
    let object = wasabi.get_object(&both[2]).await.unwrap().into_bytes();
    wasabi.put_object(&both[2], &flipped(&object)).await.unwrap();
    held.daemon = Some(held.lab.manager.tier().await);
    held.is_whole().await;
    assert_eq!(held.log().matches("was put back from the NAS").count(), 2, "{}", held.log());
    held.daemon.take().unwrap().stop().await;
}

/// Nothing is published, nothing is merged, and there is no Wasabi: what rots is found all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_nothing_reads_is_looked_at_once_in_a_while() {
    let lab = Lab::with().layout("journal").settings("[heal]\nevery = \"1s\"\n").start().await;
    lab.nats.create("A", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("A", 20).await;
    lab.manager.reaches("A", "nas", 20).await;
    let nas = lab.bucket();
    let mut damaged = Vec::new();
    for key in keys(&nas, ENTRIES).await {
        let object = nas.get_object(&key).await.unwrap().into_bytes();
        if read_entry(&object).unwrap().0.streams.values().any(|change| !change.add.is_empty()) {
            nas.put_object(&key, &rotten(&object)).await.unwrap();
            damaged.push(key);
        }
    }
    wait_until("all is written anew", async || {
        let log = daemon.log();
        let named = |key: &String| log.contains(&format!("`{key}` of the NAS could not be read"));
        if damaged.iter().all(named) { Ok(()) } else { Err(log) }
    })
    .await;
    let report = lab.manager.json(&["verify"]);
    assert_eq!(report["streams"][0]["messages"], 20, "{report}");
    daemon.stop().await;
}
