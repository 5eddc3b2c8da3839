//! A NAS that forgot what it had confirmed: its newest objects are gone, or all that came after a moment, as
//! when a snapshot of it is brought back. Nothing is lost or doubled at either tier.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::json;

use crate::support::{
    Host, Lab, are_the_same, fingerprints, have_the_same_messages, keys, wait_until,
};

const STREAMS: [&str; 2] = ["S", "T"];
const TIERS: [&str; 2] = ["nas", "wasabi"];

/// A lab with two streams, of which Wasabi gets entries soon.
async fn lab() -> Lab {
    let soon = "[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"200ms\"\n";
    let lab = Lab::with().wasabi().layout("journal").settings(soon).start().await;
    for stream in STREAMS {
        lab.nats.create(stream, json!({})).await;
    }
    lab
}

async fn publish(lab: &Lab, rounds: usize) {
    for _ in 0..rounds {
        for stream in STREAMS {
            lab.nats.publish(stream, 5).await;
        }
    }
}

/// Waits until both tiers are as far as the streams.
async fn arrives(lab: &Lab) {
    lab.manager.catches_up(&lab.nats, &STREAMS, &TIERS).await;
}

/// Tiers until both tiers have so many rounds more.
async fn archives(lab: &Lab, rounds: usize) {
    let daemon = lab.manager.tier().await;
    publish(lab, rounds).await;
    arrives(lab).await;
    daemon.stop().await;
}

/// Copies the NAS's bucket.
fn snapshot(lab: &Lab) -> PathBuf {
    let to = lab.path("snapshot");
    copy(&lab.nas.bucket_dir(), &to);
    to
}

/// Puts the snapshot in the place of the bucket.
fn roll_back(lab: &Lab, snapshot: &Path) {
    lab.nas.replace();
    for layout in ["v1", "v2"] {
        let from = snapshot.join(layout);
        if from.exists() {
            std::fs::rename(from, lab.nas.bucket_dir().join(layout)).unwrap();
        }
    }
}

/// The host is lost: each tier brings back what was there.
async fn all_comes_back(mut lab: Lab) {
    for tier in TIERS {
        lab.manager.becomes_whole(tier).await;
        let report = lab.manager.json(&["verify", "--from", tier]);
        for (index, stream) in STREAMS.iter().enumerate() {
            let found = &report["streams"][index];
            assert_eq!(found["messages"], lab.nats.last_seq(stream).await, "{tier}: {report}");
            assert_eq!(found["lacking"], 0, "{tier}: {report}");
        }
        let held = lab.manager.json(&["streams", "--from", tier]);
        for stream in held["streams"].as_array().unwrap() {
            assert_eq!(stream["timelines"].as_array().unwrap().len(), 1, "{tier}: {held}");
        }
    }
    let before = fingerprints(&lab.nats, &STREAMS).await;
    lab.nats.kill();
    for tier in TIERS {
        let (host, _) = lab.restored_from(tier, &[]).await;
        have_the_same_messages(&host.nats, &STREAMS, &before).await;
    }
}

fn copy(from: &Path, to: &Path) {
    let done = Command::new("cp").arg("-a").arg(from).arg(to).status().unwrap();
    assert!(done.success());
}

#[tokio::test(flavor = "multi_thread")]
async fn its_newest_entries_are_gone() {
    let lab = lab().await;
    let daemon = lab.manager.tier().await;
    for _ in 0..4 {
        publish(&lab, 2).await;
        arrives(&lab).await;
    }
    daemon.stop().await;
    for part in ["/v2/journal/main/entries/", "/v2/tertiary/main/entries/"] {
        let mut objects: Vec<PathBuf> =
            lab.nas.files(part).iter().map(|file| file.parent().unwrap().into()).collect();
        objects.dedup();
        assert!(objects.len() >= 3, "{objects:?}");
        for object in &objects[objects.len() - 2..] {
            std::fs::remove_dir_all(object).unwrap();
        }
    }
    archives(&lab, 2).await;
    all_comes_back(lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_rolled_back_at_rest_behind_a_merge() {
    let lab = lab().await;
    archives(&lab, 2).await;
    let snapshot = snapshot(&lab);
    let daemon = lab.manager.tier().await;
    wait_until("entries are merged", async || {
        publish(&lab, 1).await;
        let merged = lab.nas.files("/v2/journal/main/shared/").len();
        if merged > 0 { Ok(()) } else { Err("none".to_owned()) }
    })
    .await;
    arrives(&lab).await;
    daemon.stop().await;
    roll_back(&lab, &snapshot);
    archives(&lab, 2).await;
    all_comes_back(lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_rolled_back_under_load() {
    let lab = lab().await;
    archives(&lab, 2).await;
    let snapshot = snapshot(&lab);
    let daemon = lab.manager.tier().await;
    publish(&lab, 20).await;
    arrives(&lab).await;
    let roll_back = async {
        lab.manager.reaches("S", "nas", 160).await;
        roll_back(&lab, &snapshot);
    };
    tokio::join!(publish(&lab, 40), roll_back);
    arrives(&lab).await;
    // It may hear of it only when it looks.
    daemon.says("starting again from the archive").await;
    arrives(&lab).await;
    daemon.stop().await;
    all_comes_back(lab).await;
}

/// Replaced while nothing happens: what was there comes back without a next message.
#[tokio::test(flavor = "multi_thread")]
async fn it_is_rolled_back_while_nothing_happens() {
    let lab = lab().await;
    archives(&lab, 2).await;
    let snapshot = snapshot(&lab);
    let daemon = lab.manager.tier().await;
    publish(&lab, 10).await;
    arrives(&lab).await;
    lab.nas.comes_to_rest().await;
    roll_back(&lab, &snapshot);
    daemon.says("starting again from the archive").await;
    arrives(&lab).await;
    daemon.stop().await;
    all_comes_back(lab).await;
}

/// An entry of one tier's journal is damaged: the other tier's has all of it, and tiering to a tier that is
/// whole goes on.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_damaged_at_one_tier_comes_back_from_the_other() {
    let lab = lab().await;
    let daemon = lab.manager.tier().await;
    for _ in 0..3 {
        publish(&lab, 2).await;
        arrives(&lab).await;
    }
    daemon.stop().await;
    let before = fingerprints(&lab.nats, &STREAMS).await;
    for (tier, other, bucket, prefix) in [
        ("nas", "wasabi", lab.bucket(), "v2/journal/main/entries/"),
        ("wasabi", "nas", lab.wasabi_bucket(), "v2/tertiary/main/entries/"),
    ] {
        let key = keys(&bucket, prefix).await[1].clone();
        let whole = bucket.get_object(&key).await.unwrap().into_bytes();
        bucket.put_object(&key, &whole[..whole.len() / 2]).await.unwrap();
        let Host { nats: spare, manager: new } = lab.host(&format!("without-{tier}")).await;
        for command in ["verify", "streams", "restore"] {
            let all: &[&str] = if command == "restore" { &["--all"] } else { &[] };
            let (status, error) = new.error(&[&[command, "--from", tier], all].concat());
            assert_eq!(status, 5, "{tier} {command}: {error}");
            assert!(error.contains(&key), "{tier} {command}: {error}");
        }
        new.json(&["restore", "--all", "--from", other]);
        are_the_same(&spare, &STREAMS, &before).await;
        if tier == "wasabi" {
            let daemon = lab.manager.tier().await;
            lab.nats.publish("S", 5).await;
            let last = lab.nats.last_seq("S").await;
            wait_until("the nas has it", async || {
                let held = lab.manager.json(&["streams"]);
                let reached = &held["streams"][0]["timelines"][0]["last_seq"];
                if *reached == last { Ok(()) } else { Err(held.to_string()) }
            })
            .await;
            daemon.says(&key).await;
            daemon.stop().await;
        }
        bucket.put_object(&key, &whole).await.unwrap();
    }
}
