//! Another history under the same name opens a new timeline and harms nothing.

use std::path::Path;

use cim_storage_manager::journal::read_entry;
use serde_json::{Value, json};

use crate::support::{Host, Lab, Manager, fingerprint, rotten, wait_until};

async fn timelines(manager: &Manager, count: usize) -> Vec<Value> {
    wait_until("the new timeline is there", async || {
        let held = manager.json(&["streams"]);
        let timelines = held["streams"][0]["timelines"].as_array().unwrap().clone();
        if timelines.len() >= count { Ok(timelines) } else { Err(held.to_string()) }
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_deleted_and_made_again() {
    let lab = Lab::start().await;
    let daemon = lab.manager.tier().await;
    lab.nats.create("S", json!({})).await;
    lab.nats.publish("S", 30).await;
    lab.manager.reaches("S", "nas", 30).await;
    let first = fingerprint(&lab.nats, "S").await;
    lab.nats.delete_stream("S").await;
    lab.nats.create("S", json!({})).await;
    // Further than the old one went: sequences alone would say that nothing happened.
    lab.nats.publish("S", 50).await;
    let found = timelines(&lab.manager, 2).await;
    lab.manager.reaches("S", "nas", 50).await;
    assert_eq!(found[1]["reason"], "recreated");
    let second = fingerprint(&lab.nats, "S").await;
    lab.manager.json(&["verify"]);
    daemon.stop().await;

    for (timeline, expected) in [("1", &first), ("2", &second)] {
        let name = format!("T{timeline}");
        let subjects = format!("t{timeline}.>");
        lab.manager.json(&[
            "restore",
            "S",
            "--timeline",
            timeline,
            "--as",
            &name,
            "--subjects",
            &subjects,
        ]);
        let found = fingerprint(&lab.nats, &name).await;
        assert_eq!(found["all"], expected["all"], "timeline {timeline}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_restored_to_an_earlier_point() {
    let lab = Lab::start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 40).await;
    lab.manager.reaches("S", "nas", 40).await;
    daemon.stop().await;
    lab.nats.delete_stream("S").await;
    lab.manager.json(&["restore", "S", "--until-seq", "25"]);
    lab.nats.publish("S", 35).await;
    let expected = fingerprint(&lab.nats, "S").await;
    let daemon = lab.manager.tier().await;
    let found = timelines(&lab.manager, 2).await;
    lab.manager.reaches("S", "nas", 60).await;
    assert_eq!(found[1]["reason"], "goes on from an earlier point");
    assert_eq!(found[1]["parent"], 1);
    assert_eq!(found[1]["parent_seq"], 25);
    let log = daemon.log();
    assert!(log.contains("sequences 26 to 40 of timeline 1 are not in the live stream"), "{log}");
    daemon.stop().await;
    let dry = lab.manager.run(&["restore", "S", "--as", "T", "--dry-run"]);
    let said = String::from_utf8_lossy(&dry.stderr);
    assert!(said.contains("leaves out its sequences 26 to 40; `--timeline 1 --as NAME`"), "{said}");
    lab.nats.delete_stream("S").await;
    lab.manager.json(&["restore", "S"]);
    assert_eq!(fingerprint(&lab.nats, "S").await["all"], expected["all"]);
    lab.manager.json(&["verify"]);
}

/// The server's newest block was cut, and it gives the sequences of what it lost out again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_newest_messages() {
    let mut lab = Lab::start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 200).await;
    lab.manager.reaches("S", "nas", 200).await;
    let before = fingerprint(&lab.nats, "S").await;
    daemon.kill();

    lab.nats.lose_the_end("S").await;
    let kept = lab.nats.last_seq("S").await;
    assert!(0 < kept && kept < 200, "{kept}");
    lab.nats.publish("S", 300).await;
    let manager = lab.manager_of("again", &lab.nats);
    let daemon = manager.tier().await;
    let found = timelines(&manager, 2).await;
    assert_eq!((&found[1]["parent"], &found[1]["parent_seq"]), (&json!(1), &json!(kept)));
    assert_eq!(found[1]["reason"], "goes on from an earlier point", "it was not restored");
    manager.reaches("S", "nas", kept + 300).await;
    let log = daemon.log();
    let said = format!("sequences {} to 200 of timeline 1 are not in the live stream", kept + 1);
    assert!(log.contains(&said), "{log}");
    daemon.stop().await;
    let now = fingerprint(&lab.nats, "S").await;
    lab.nats.kill();

    // The host is lost as well: both histories come back.
    let Host { nats, manager } = lab.host("new").await;
    let restored = manager.run(&["restore", "--all"]);
    let said = String::from_utf8_lossy(&restored.stderr);
    assert!(restored.status.success() && said.contains("`--timeline 1 --as NAME`"), "{said}");
    assert_eq!(fingerprint(&nats, "S").await["all"], now["all"]);
    manager.json(&["restore", "S", "--timeline", "1", "--as", "B", "--subjects", "before.>"]);
    assert_eq!(fingerprint(&nats, "B").await["all"], before["all"]);
    manager.json(&["verify"]);
}

/// The key of the object whose segment of stream `S` begins with a sequence: its own, or a journal's entry.
async fn object_with(bucket: &s3::Bucket, first_seq: u64) -> String {
    let own = format!("/{first_seq:020}-");
    for prefix in ["v1/streams/S/segments/", "v2/journal/main/entries/"] {
        let pages = bucket.list(prefix.into(), None).await.unwrap();
        for object in pages.into_iter().flat_map(|page| page.contents) {
            if object.key.contains(&own) {
                return object.key;
            }
            if prefix.starts_with("v2/") {
                let bytes = bucket.get_object(&object.key).await.unwrap().into_bytes();
                let (entry, _) = read_entry(&bytes).unwrap();
                let mut adds = entry.streams.values().flat_map(|change| &change.add);
                if adds.any(|segment| segment.first_seq == first_seq) {
                    return object.key;
                }
            }
        }
    }
    panic!("no segment begins with {first_seq}");
}

/// Where the histories part lies in a segment that rotted: it cannot be read, and need not be.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_restored_to_a_point_within_a_damaged_segment() {
    let lab = Lab::start().await;
    lab.lose_three_segments("S").await;
    lab.manager.json(&["restore", "S", "--until-seq", "30"]);
    let bucket = lab.bucket();
    let key = object_with(&bucket, 21).await;
    let object = bucket.get_object(&key).await.unwrap().into_bytes();
    bucket.put_object(&key, &rotten(&object)).await.unwrap();
    lab.nats.publish("S", 35).await;
    let expected = fingerprint(&lab.nats, "S").await;
    let daemon = lab.manager.tier().await;
    let found = timelines(&lab.manager, 2).await;
    lab.manager.reaches("S", "nas", 65).await;
    assert_eq!(found[1]["parent_seq"], 20);
    daemon.stop().await;
    lab.nats.delete_stream("S").await;
    lab.manager.json(&["restore", "S"]);
    assert_eq!(fingerprint(&lab.nats, "S").await["all"], expected["all"]);
}

/// A new host after the loss of one that had a stream and a consumer; and what these were.
async fn after_a_loss() -> (Lab, Host, Value) {
    let mut lab = Lab::start().await;
    let Lab { nats, manager, .. } = &lab;
    nats.create("S", json!({ "description": "of the lost host" })).await;
    nats.create_consumer("S", "all", json!({})).await;
    let daemon = manager.tier().await;
    nats.publish("S", 40).await;
    manager.reaches("S", "nas", 40).await;
    let expected = fingerprint(nats, "S").await;
    daemon.kill();
    lab.nats.kill();
    let host = lab.host("new").await;
    (lab, host, expected)
}

/// A new host makes the streams that are declared before anybody restores them: nothing of that may
/// reach the archive, and the daemon may run all the while.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_stream_in_the_place_of_a_lost_one_hides_nothing() {
    let (_lab, Host { nats, manager }, expected) = after_a_loss().await;
    nats.create("S", json!({})).await;
    let daemon = manager.tier().await;
    daemon.says("a new, empty one").await;
    let (status, error) = manager.error(&["restore", "--all"]);
    assert_eq!(status, 6, "{error}");
    assert!(error.contains("never had a message") && error.contains("nats stream rm S"), "{error}");
    nats.delete_stream("S").await;
    manager.json(&["restore", "--all"]);
    assert_eq!(fingerprint(&nats, "S").await, expected);
    nats.publish("S", 5).await;
    manager.reaches("S", "nas", 45).await;
    assert_eq!(timelines(&manager, 1).await.len(), 1, "the same history goes on");
    manager.json(&["verify"]);
    daemon.stop().await;
}

/// Somebody published to a stream that was made before the restore: the newest history is a wrong one.
#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_timeline_comes_back_whole_and_goes_on() {
    let (_lab, Host { nats, manager }, expected) = after_a_loss().await;
    let daemon = manager.tier().await;
    nats.create("S", json!({})).await;
    nats.publish("S", 3).await;
    let found = timelines(&manager, 2).await;
    assert_eq!(found[1]["reason"], "recreated");
    manager.reaches("S", "nas", 3).await;
    nats.delete_stream("S").await;
    let dry = manager.run(&["restore", "--all", "--dry-run"]);
    let said = String::from_utf8_lossy(&dry.stderr);
    assert!(
        said.contains("`--timeline 1` brings back the one before, up to sequence 40"),
        "{said}"
    );
    let dry = manager.run(&["restore", "S", "--timeline", "1", "--dry-run"]);
    assert!(!String::from_utf8_lossy(&dry.stderr).contains("--timeline"), "it was said already");
    manager.json(&["restore", "S", "--timeline", "1"]);
    assert_eq!(fingerprint(&nats, "S").await, expected, "its configuration and consumers too");
    nats.publish("S", 5).await;
    let found = timelines(&manager, 3).await;
    assert_eq!((&found[2]["parent"], &found[2]["parent_seq"]), (&json!(1), &json!(40)));
    manager.reaches("S", "nas", 45).await;
    let now = fingerprint(&nats, "S").await;
    manager.json(&["verify"]);
    daemon.stop().await;
    nats.delete_stream("S").await;
    manager.json(&["restore", "S"]);
    assert_eq!(fingerprint(&nats, "S").await["all"], now["all"]);
}

/// The timeline that was left forked in the middle of a segment. What is behind that in the segment is not its
/// own, and is shared with the timeline that was restored.
#[tokio::test(flavor = "multi_thread")]
async fn an_earlier_timeline_that_was_left_within_a_segment_comes_back_whole() {
    let lab = Lab::start().await;
    lab.nats.create("S", json!({})).await;
    lab.nats.publish("S", 40).await;
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "nas", 40).await;
    daemon.stop().await;
    lab.nats.delete_stream("S").await;
    lab.manager.json(&["restore", "S", "--until-seq", "25"]);
    lab.nats.publish("S", 20).await;
    let daemon = lab.manager.tier().await;
    timelines(&lab.manager, 2).await;
    lab.manager.reaches("S", "nas", 45).await;
    daemon.stop().await;

    lab.nats.delete_stream("S").await;
    lab.manager.json(&["restore", "S", "--timeline", "1"]);
    lab.nats.publish("S", 5).await;
    let expected = fingerprint(&lab.nats, "S").await;
    let daemon = lab.manager.tier().await;
    let found = timelines(&lab.manager, 3).await;
    lab.manager.reaches("S", "nas", 45).await;
    daemon.stop().await;
    assert_eq!((&found[2]["parent"], &found[2]["parent_seq"]), (&json!(1), &json!(40)));
    lab.nats.delete_stream("S").await;
    lab.manager.json(&["restore", "S"]);
    assert_eq!(fingerprint(&lab.nats, "S").await["all"], expected["all"]);
}

/// A host whose server has lost its newest messages with the end of a block, and gives their sequences
/// out again: further than before, so that sequences alone would say that nothing happened.
struct Forgetful {
    lab: Lab,
    /// The stream before, and the last sequence that was left of it.
    before: Value,
    left: u64,
}

impl Forgetful {
    async fn start() -> Self {
        let mut lab = Lab::start().await;
        let daemon = lab.manager.tier().await;
        lab.nats.create("S", json!({})).await;
        lab.nats.publish("S", 40).await;
        lab.manager.reaches("S", "nas", 40).await;
        let before = fingerprint(&lab.nats, "S").await;
        daemon.kill();
        let cut = |streams: &Path| {
            let block = streams.join("S/msgs/1.blk");
            let file = std::fs::File::options().write(true).open(&block).unwrap();
            file.set_len(file.metadata().unwrap().len() * 3 / 4).unwrap();
        };
        lab.crash_nats(cut).await;
        let left = lab.nats.last_seq("S").await;
        assert!((1..40).contains(&left), "it was to lose its newest messages, it is at {left}");
        lab.nats.publish("S", 35).await;
        Self { lab, before, left }
    }

    /// The archive has both histories, each to the last byte, and the log says so.
    async fn keeps_both(self) {
        let Self { lab, before, left } = self;
        let after = fingerprint(&lab.nats, "S").await;
        let daemon = lab.manager.tier().await;
        let found = timelines(&lab.manager, 2).await;
        lab.manager.reaches("S", "nas", left + 35).await;
        assert_eq!((&found[1]["parent"], &found[1]["parent_seq"]), (&json!(1), &json!(left)));
        assert!(daemon.log().contains("opening timeline 2"), "{}", daemon.log());
        daemon.stop().await;
        lab.manager.json(&["verify"]);
        lab.nats.delete_stream("S").await;
        lab.manager.json(&["restore", "S"]);
        assert_eq!(fingerprint(&lab.nats, "S").await["all"], after["all"]);
        lab.nats.delete_stream("S").await;
        lab.manager.json(&["restore", "S", "--timeline", "1"]);
        assert_eq!(fingerprint(&lab.nats, "S").await["all"], before["all"]);
    }
}

/// The message at the watermark was deleted since: it says nothing, those before it do.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_lost_its_newest_messages_and_deleted_what_took_the_last_ones_place() {
    let host = Forgetful::start().await;
    host.lab.nats.delete("S", &[38, 39, 40]).await;
    host.keeps_both().await;
}
