//! The third tier.

use std::path::Path;

use cim_fake_wasabi::{Config, Credentials, FakeWasabi, Fault, Rule};
use serde_json::json;

use crate::chain::store;
use crate::support::{Manager, Minio, Nats, SECRET, Settings, USER, fingerprint, wait_until};

const QUICK: &str = "[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"200ms\"\n";

async fn wasabi(dir: &Path, conditional_writes: bool) -> FakeWasabi {
    let config = Config {
        buckets: vec!["archive".into()],
        credentials: vec![Credentials::new(USER, SECRET)],
        conditional_writes,
        ..Config::new(dir.join("wasabi"))
    };
    FakeWasabi::start(config).await.unwrap()
}

fn settings(nats: &Nats, nas: &str, wasabi: &FakeWasabi) -> Settings {
    Settings { wasabi: Some(wasabi.s3_url()), more: QUICK.into(), ..Settings::new(&nats.url, nas) }
}

/// For what is about the files of chains; about a journal's: journal_nas.rs.
fn chains(nats: &Nats, nas: &str, wasabi: &FakeWasabi) -> Settings {
    Settings { layout: "chains".into(), ..settings(nats, nas, wasabi) }
}

/// NAS lost, tiering goes on with an empty one; then the host is lost too.
async fn nas_and_host_lost(conditional_writes: bool) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let wasabi = wasabi(path, conditional_writes).await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    {
        let minio = Minio::start(&path.join("first-nas")).await;
        let manager = Manager::new(path, "host", &settings(&nats, &minio.url, &wasabi));
        let daemon = manager.tier().await;
        nats.publish("S", 100).await;
        // Deleted after they were archived: before, they would be gaps like any other.
        manager.reaches("S", "nas", 100).await;
        nats.delete("S", &[10, 11]).await;
        manager.reaches("S", "wasabi", 100).await;
        daemon.stop().await;
    }
    let minio = Minio::start(&path.join("second-nas")).await;
    let manager = Manager::new(path, "host", &settings(&nats, &minio.url, &wasabi));
    let daemon = manager.tier().await;
    nats.publish("S", 50).await;
    manager.reaches("S", "nas", 150).await;
    manager.reaches("S", "wasabi", 150).await;
    daemon.stop().await;
    for tier in ["nas", "wasabi"] {
        let report = manager.json(&["verify", "--from", tier]);
        assert_eq!(report["streams"][0]["messages"], 150, "{tier}: {report}");
    }
    let before = fingerprint(&nats, "S").await;
    drop((nats, minio));
    let nats = Nats::start(&path.join("new")).await;
    // The NAS is gone for good: its address answers nobody, and nobody needs it.
    let manager = Manager::new(path, "new", &settings(&nats, "http://127.0.0.1:1", &wasabi));
    manager.json(&["restore", "--all", "--from", "wasabi"]);
    assert_eq!(fingerprint(&nats, "S").await["all"], before["all"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nas_and_then_host_lost() {
    nas_and_host_lost(true).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nas_and_then_host_lost_where_wasabi_ignores_conditions() {
    nas_and_host_lost(false).await;
}

/// Its last segments are young when it is looked at for the last time.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_last_of_a_stream_that_is_quiet_now_goes_to_wasabi() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let wasabi = wasabi(path, true).await;
    let minio = Minio::start(path).await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let slowly = "[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"4s\"\n".into();
    let settings = Settings { more: slowly, ..settings(&nats, &minio.url, &wasabi) };
    let manager = Manager::new(path, "host", &settings);
    let daemon = manager.tier().await;
    nats.publish("S", 20).await;
    manager.reaches("S", "wasabi", 20).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_the_nas_lost_comes_from_wasabi() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let wasabi = wasabi(path, true).await;
    let minio = Minio::start(path).await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let manager = Manager::new(path, "host", &chains(&nats, &minio.url, &wasabi));
    let daemon = manager.tier().await;
    nats.publish("S", 40).await;
    manager.reaches("S", "wasabi", 40).await;
    daemon.stop().await;
    let before = fingerprint(&nats, "S").await;
    for file in minio.files("/segments/") {
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }
    nats.api("STREAM.DELETE.S", serde_json::Value::Null).await;
    let (status, error) = manager.error(&["restore", "S", "--no-fallback"]);
    assert_eq!(status, 5, "{error}");
    manager.json(&["restore", "S"]);
    assert_eq!(fingerprint(&nats, "S").await["all"], before["all"]);
}

/// A new NAS was being given what the old one had decided, and the storage manager died in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_nas_that_knows_a_part_of_what_was_decided_learns_the_rest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let wasabi = wasabi(path, true).await;
    let minio = Minio::start(path).await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let manager = Manager::new(path, "host", &chains(&nats, &minio.url, &wasabi));
    let daemon = manager.tier().await;
    for round in 1..=3 {
        nats.publish("S", 20).await;
        manager.reaches("S", "wasabi", 20 * round).await;
    }
    daemon.stop().await;
    let decided = minio.files("/tertiary/");
    let mut entries: Vec<_> = decided.iter().map(|file| file.parent().unwrap()).collect();
    entries.dedup();
    assert!(entries.len() >= 3, "{entries:?}");
    for entry in &entries[1..] {
        std::fs::remove_dir_all(entry).unwrap();
    }
    let daemon = manager.tier().await;
    nats.publish("S", 20).await;
    manager.reaches("S", "wasabi", 80).await;
    daemon.stop().await;
    let report = manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(report["streams"][0]["messages"], 80, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wasabi_away_does_not_hold_the_nas_up() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let wasabi = wasabi(path, true).await;
    let minio = Minio::start(path).await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let manager = Manager::new(path, "host", &settings(&nats, &minio.url, &wasabi));
    let daemon = manager.tier().await;
    nats.publish("S", 20).await;
    manager.reaches("S", "wasabi", 20).await;
    wasabi.set_faults(vec![Rule::new(Fault::SlowDown).operation("PutObject")]).unwrap();
    nats.publish("S", 20).await;
    manager.reaches("S", "nas", 40).await;
    let status = manager.json(&["status"]);
    assert_eq!(status["streams"][0]["wasabi"]["seq"], 20, "{status}");
    wasabi.set_faults(Vec::new()).unwrap();
    manager.reaches("S", "wasabi", 40).await;
    daemon.stop().await;
    manager.json(&["verify", "--from", "wasabi"]);
}

/// The NAS is replaced by an empty one at the same address while the storage manager runs, again and again,
/// in the middle of its commits.
#[tokio::test(flavor = "multi_thread")]
async fn a_nas_that_is_replaced_under_a_running_storage_manager() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let wasabi = wasabi(path, true).await;
    let minio = Minio::start(path).await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let manager = Manager::new(path, "host", &settings(&nats, &minio.url, &wasabi));
    let daemon = manager.tier().await;
    let mut published = 0;
    for round in 1..=6 {
        nats.publish("S", 60).await;
        manager.reaches("S", "wasabi", published + 60).await;
        // Some of it is committed before, some while, some after.
        let load = async {
            for _ in 0..20 {
                nats.publish("S", 5).await;
            }
        };
        let replace = async {
            manager.reaches("S", "nas", published + 60 + 10 * round).await;
            minio.replace();
        };
        tokio::join!(load, replace);
        published += 160;
        manager.reaches("S", "nas", published).await;
        manager.reaches("S", "wasabi", published).await;
    }
    // A journal says at once what is there; the objects come back from Wasabi one by one.
    wait_until("the new nas is whole", async || {
        let output = manager.run(&["verify", "--json"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    })
    .await;
    daemon.stop().await;
    for tier in ["nas", "wasabi"] {
        let report = manager.json(&["verify", "--from", tier]);
        assert_eq!(report["streams"][0]["messages"], published, "{tier}: {report}");
        assert_eq!(report["streams"][0]["lacking"], 0, "{tier}: {report}");
    }
}

/// The same while nothing happens: the new NAS does not wait for the stream's next message.
#[tokio::test(flavor = "multi_thread")]
async fn a_nas_that_is_replaced_while_a_stream_is_at_rest() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let wasabi = wasabi(path, true).await;
    let minio = Minio::start(path).await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let manager = Manager::new(path, "host", &settings(&nats, &minio.url, &wasabi));
    let daemon = manager.tier().await;
    nats.publish("S", 60).await;
    manager.reaches("S", "wasabi", 60).await;
    // The last things to say are said: how far Wasabi is, which small segments are replaced.
    wait_until("nothing is being committed", async || {
        let entries = async || manager.json(&["status"])["streams"][0]["nas"]["entry"].clone();
        let before = entries().await;
        tokio::time::sleep(std::time::Duration::from_millis(1500)).await;
        if entries().await == before { Ok(()) } else { Err("an entry".to_owned()) }
    })
    .await;
    minio.replace();
    manager.reaches("S", "nas", 60).await;
    wait_until("the segments are back", async || {
        let verify = manager.run(&["verify", "--from", "nas"]);
        if verify.status.success() { Ok(()) } else { Err(format!("{verify:?}")) }
    })
    .await;
    let report = manager.json(&["verify", "--from", "nas"]);
    assert_eq!(report["streams"][0]["messages"], 60, "{report}");
    daemon.stop().await;
}

/// What tells whether the stream is still the one that was archived is at Wasabi alone then.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_nas_is_filled_where_the_message_at_the_watermark_was_deleted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let wasabi = wasabi(path, true).await;
    let minio = Minio::start(path).await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let manager = Manager::new(path, "host", &settings(&nats, &minio.url, &wasabi));
    let daemon = manager.tier().await;
    nats.publish("S", 60).await;
    manager.reaches("S", "wasabi", 60).await;
    daemon.stop().await;
    nats.delete("S", &[60]).await;
    minio.replace();
    let daemon = manager.tier().await;
    nats.publish("S", 20).await;
    manager.reaches("S", "nas", 80).await;
    manager.reaches("S", "wasabi", 80).await;
    daemon.stop().await;
    for tier in ["nas", "wasabi"] {
        let report = manager.json(&["verify", "--from", tier]);
        assert_eq!(report["streams"][0]["messages"], 80, "{tier}: {report}");
    }
}

/// The bucket is emptied while the storage manager runs: an entry that names segments which are not
/// there would be a lie, so they come first.
#[tokio::test(flavor = "multi_thread")]
async fn a_wasabi_bucket_that_was_emptied_is_filled_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let minio = Minio::start(path).await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    {
        let first = wasabi(&path.join("first"), true).await;
        let manager = Manager::new(path, "host", &settings(&nats, &minio.url, &first));
        let daemon = manager.tier().await;
        for target in [20, 40] {
            nats.publish("S", 20).await;
            manager.reaches("S", "wasabi", target).await;
        }
        daemon.stop().await;
        first.shutdown().await;
    }
    let second = wasabi(&path.join("second"), true).await;
    let manager = Manager::new(path, "host", &settings(&nats, &minio.url, &second));
    let daemon = manager.tier().await;
    nats.publish("S", 20).await;
    manager.reaches("S", "wasabi", 60).await;
    daemon.stop().await;
    let report = manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(report["streams"][0]["messages"], 60, "{report}");
}

/// The same between two entries of a storage manager that goes on running.
#[tokio::test(flavor = "multi_thread")]
async fn a_wasabi_bucket_that_is_emptied_between_two_entries_is_filled_again() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let minio = Minio::start(path).await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let wasabi = wasabi(path, true).await;
    let settings = Settings { layout: "journal".into(), ..settings(&nats, &minio.url, &wasabi) };
    let manager = Manager::new(path, "host", &settings);
    let daemon = manager.tier().await;
    let bucket = store(path, &wasabi.s3_url());
    // The second time its journal begins with a checkpoint.
    for target in [20, 40, 60] {
        nats.publish("S", 20).await;
        manager.reaches("S", "wasabi", target).await;
        for object in bucket.list("", false).await.unwrap() {
            bucket.delete(&object.key).await.unwrap();
        }
    }
    // Nothing new comes, and it is filled all the same.
    let folder = "v2/tertiary/";
    wait_until("wasabi has a journal", async || match bucket.list(folder, false).await.unwrap() {
        objects if objects.len() > 1 => Ok(()),
        objects => Err(format!("{objects:?}")),
    })
    .await;
    manager.reaches("S", "wasabi", 60).await;
    daemon.stop().await;
    let report = manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(report["streams"][0]["messages"], 60, "{report}");
}

/// Commands ask again where the service throttles, cuts connections or ends downloads early; and what
/// a new NAS needs is brought to it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_from_a_wasabi_that_misbehaves_fills_the_new_nas() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let wasabi = wasabi(path, true).await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    {
        let minio = Minio::start(&path.join("first-nas")).await;
        let manager = Manager::new(path, "host", &settings(&nats, &minio.url, &wasabi));
        let daemon = manager.tier().await;
        for target in [20, 40, 60] {
            nats.publish("S", 20).await;
            manager.reaches("S", "wasabi", target).await;
        }
        daemon.stop().await;
    }
    let before = fingerprint(&nats, "S").await;
    let minio = Minio::start(&path.join("second-nas")).await;
    let nats = Nats::start(&path.join("new")).await;
    let manager = Manager::new(path, "new", &settings(&nats, &minio.url, &wasabi));
    let every = |fault, every| Rule { every: Some(every), ..Rule::new(fault) };
    let bad =
        || vec![every(Fault::SlowDown, 4), every(Fault::Cut, 6), every(Fault::TornDownload, 4)];
    wasabi.set_faults(bad()).unwrap();
    manager.json(&["restore", "--all", "--from", "wasabi"]);
    for fault in ["slow_down", "cut", "torn_download"] {
        let struck = wasabi.stats().faults.get(fault).copied().unwrap_or_default();
        assert!(struck > 0, "{fault} never happened: this test proves nothing");
    }
    assert_eq!(fingerprint(&nats, "S").await["all"], before["all"]);
    let reads = bad().into_iter().map(|rule| rule.operation("GetObject"));
    wasabi.set_faults(reads.collect()).unwrap();
    let daemon = manager.tier().await;
    nats.publish("S", 20).await;
    manager.reaches("S", "wasabi", 80).await;
    wait_until("the new nas is whole", async || {
        let output = manager.run(&["verify", "--json"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    })
    .await;
    daemon.stop().await;
    wasabi.set_faults(Vec::new()).unwrap();
    for tier in ["nas", "wasabi"] {
        let report = manager.json(&["verify", "--from", tier]);
        assert_eq!(report["streams"][0]["messages"], 80, "{tier}: {report}");
    }
}

/// Ships four times, so that there are entries to forget, and stops.
async fn shipped_four_times(nats: &Nats, manager: &Manager) {
    let daemon = manager.tier().await;
    for round in 1..=4 {
        nats.publish("S", 20).await;
        manager.reaches("S", "wasabi", round * 20).await;
    }
    daemon.stop().await;
}

/// Objects of the NAS whose keys have `part`, but for the first ones, are gone, as after a power cut.
fn forget(minio: &Minio, part: &str, remembered: usize) {
    let files = minio.files(part);
    assert!(files.len() > remembered + 1, "{files:?}");
    for file in &files[remembered..] {
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_nas_has_forgotten_of_its_decisions_comes_from_wasabi() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let wasabi = wasabi(path, false).await;
    let minio = Minio::start(path).await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let manager = Manager::new(path, "host", &chains(&nats, &minio.url, &wasabi));
    shipped_four_times(&nats, &manager).await;

    forget(&minio, "/tertiary/", 1);
    let daemon = manager.tier().await;
    nats.publish("S", 20).await;
    manager.reaches("S", "wasabi", 100).await;
    assert!(daemon.log().contains("the NAS has forgotten"), "{}", daemon.log());
    daemon.stop().await;
    let report = manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(report["streams"][0]["messages"], 100, "{report}");
}

/// An entry that was decided just when the NAS was replaced stands alone on the new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_stands_alone_is_joined_to_what_wasabi_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let wasabi = wasabi(path, true).await;
    let minio = Minio::start(path).await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let manager = Manager::new(path, "host", &chains(&nats, &minio.url, &wasabi));
    shipped_four_times(&nats, &manager).await;

    // There is more to say already.
    let daemon = manager.tier().await;
    wasabi.set_faults(vec![Rule::new(Fault::SlowDown).operation("PutObject")]).unwrap();
    nats.publish("S", 20).await;
    wait_until("another segment is to be copied", async || {
        let log = daemon.log();
        if log.contains("SlowDown") { Ok(()) } else { Err(log) }
    })
    .await;
    daemon.kill();
    wasabi.set_faults(Vec::new()).unwrap();
    let decided = minio.files("/tertiary/");
    // The last one has not got to Wasabi.
    let there = crate::chain::store(path, &wasabi.s3_url());
    let entries = there.list("v1/streams/S/manifest/", false).await.unwrap();
    for entry in &entries[decided.len() - 1..] {
        there.delete(&entry.key).await.unwrap();
    }
    for file in &decided[..decided.len() - 1] {
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }
    let daemon = manager.tier().await;
    manager.reaches("S", "wasabi", 100).await;
    daemon.stop().await;
    let report = manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(report["streams"][0]["messages"], 100, "{report}");
}

/// What it seals anew ends elsewhere than what Wasabi has got: then Wasabi gets the rest of it, and no less.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_nas_has_forgotten_of_its_own_does_not_leave_a_gap_at_wasabi() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let wasabi = wasabi(path, true).await;
    let minio = Minio::start(path).await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let quick = chains(&nats, &minio.url, &wasabi);
    let manager = Manager::new(path, "host", &quick);
    shipped_four_times(&nats, &manager).await;

    // All that it remembers is the first segment, before it was sealed.
    forget(&minio, "/manifest/", 2);
    // So the next one begins in it and ends behind what Wasabi has.
    let more = "[segment]\nflush_age = \"30ms\"\n".into();
    let later = Manager::new(path, "later", &Settings { more, ..quick });
    let daemon = later.tier().await;
    nats.publish("S", 20).await;
    later.reaches("S", "nas", 100).await;
    daemon.stop().await;
    let daemon = manager.tier().await;
    manager.reaches("S", "wasabi", 100).await;
    daemon.stop().await;

    let before = fingerprint(&nats, "S").await;
    drop(nats);
    for tier in ["nas", "wasabi"] {
        let report = manager.json(&["verify", "--from", tier]);
        assert_eq!(report["streams"][0]["messages"], 100, "{tier}: {report}");
    }
    let nats = Nats::start(&path.join("new")).await;
    let manager = Manager::new(path, "new", &settings(&nats, "http://127.0.0.1:1", &wasabi));
    manager.json(&["restore", "--all", "--from", "wasabi"]);
    assert_eq!(fingerprint(&nats, "S").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nas_that_lost_segments_as_well_does_not_damage_wasabi() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let wasabi = wasabi(path, false).await;
    let minio = Minio::start(path).await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let manager = Manager::new(path, "host", &chains(&nats, &minio.url, &wasabi));
    shipped_four_times(&nats, &manager).await;

    forget(&minio, "/tertiary/", 1);
    forget(&minio, "/manifest/", 2);
    let daemon = manager.tier().await;
    nats.publish("S", 20).await;
    manager.reaches("S", "nas", 100).await;
    wait_until("nothing more is copied", async || {
        let log = daemon.log();
        if log.contains("the NAS lost what it had confirmed") { Ok(()) } else { Err(log) }
    })
    .await;
    daemon.stop().await;
    // What was there is as good as before.
    let report = manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(report["streams"][0]["messages"], 80, "{report}");
}
