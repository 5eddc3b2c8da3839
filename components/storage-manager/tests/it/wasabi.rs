//! The third tier.

use cim_fake_wasabi::{Fault, Rule};
use serde_json::json;

use crate::support::{
    Builder, Host, Lab, Manager, Minio, NOWHERE, Nats, fingerprint, struck, wait_until,
};

const QUICK: &str = "[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"200ms\"\n";

/// A lab with a Wasabi that gets segments soon.
fn lab() -> Builder<Minio> {
    Lab::with().wasabi().settings(QUICK)
}

/// For what is about the files of chains; about a journal's: journal_nas.rs.
fn chains() -> Builder<Minio> {
    lab().layout("chains")
}

/// NAS lost, tiering goes on with an empty one; then the host is lost too.
async fn nas_and_host_lost(lab: Builder<Minio>) {
    let mut lab = lab.settings(QUICK).start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 100).await;
    // Deleted after they were archived: before, they would be gaps like any other.
    lab.manager.reaches("S", "nas", 100).await;
    lab.nats.delete("S", &[10, 11]).await;
    lab.manager.reaches("S", "wasabi", 100).await;
    daemon.stop().await;

    lab.lose_nas().await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 50).await;
    lab.manager.catches_up(&lab.nats, &["S"], &["nas", "wasabi"]).await;
    daemon.stop().await;
    for tier in ["nas", "wasabi"] {
        let report = lab.manager.json(&["verify", "--from", tier]);
        assert_eq!(report["streams"][0]["messages"], 150, "{tier}: {report}");
    }
    let before = fingerprint(&lab.nats, "S").await;
    lab.nats.kill();

    // The NAS is gone for good: nothing answers at its address, and it is not needed.
    lab.configure(|settings| settings.nas = NOWHERE.into());
    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "--all", "--from", "wasabi"]);
    assert_eq!(fingerprint(&nats, "S").await["all"], before["all"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nas_and_then_host_lost() {
    nas_and_host_lost(Lab::with().wasabi()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nas_and_then_host_lost_where_wasabi_ignores_conditions() {
    nas_and_host_lost(Lab::with().wasabi_without_conditions()).await;
}

/// Its last segments are young when it is looked at for the last time.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_last_of_a_stream_that_is_quiet_now_goes_to_wasabi() {
    let slowly = "[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"4s\"\n";
    let lab = lab().settings(slowly).start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 20).await;
    lab.manager.reaches("S", "wasabi", 20).await;
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_segment_that_the_nas_lost_comes_from_wasabi() {
    let lab = chains().start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 40).await;
    lab.manager.reaches("S", "wasabi", 40).await;
    daemon.stop().await;
    let before = fingerprint(&lab.nats, "S").await;
    for file in lab.nas.files("/segments/") {
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }
    lab.nats.delete_stream("S").await;
    let (status, error) = lab.manager.error(&["restore", "S", "--no-fallback"]);
    assert_eq!(status, 5, "{error}");
    lab.manager.json(&["restore", "S"]);
    assert_eq!(fingerprint(&lab.nats, "S").await["all"], before["all"]);
}

/// A new NAS was being given what the old one had decided, and the storage manager died in the middle.
#[tokio::test(flavor = "multi_thread")]
async fn a_nas_that_knows_a_part_of_what_was_decided_learns_the_rest() {
    let lab = chains().start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    for round in 1..=3 {
        lab.nats.publish("S", 20).await;
        lab.manager.reaches("S", "wasabi", 20 * round).await;
    }
    daemon.stop().await;
    let decided = lab.nas.files("/tertiary/");
    let mut entries: Vec<_> = decided.iter().map(|file| file.parent().unwrap()).collect();
    entries.dedup();
    assert!(entries.len() >= 3, "{entries:?}");
    for entry in &entries[1..] {
        std::fs::remove_dir_all(entry).unwrap();
    }
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 20).await;
    lab.manager.reaches("S", "wasabi", 80).await;
    daemon.stop().await;
    let report = lab.manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(report["streams"][0]["messages"], 80, "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wasabi_away_does_not_hold_the_nas_up() {
    let lab = lab().start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 20).await;
    lab.manager.reaches("S", "wasabi", 20).await;
    lab.wasabi().set_faults(vec![Rule::new(Fault::SlowDown).operation("PutObject")]).unwrap();
    lab.nats.publish("S", 20).await;
    lab.manager.reaches("S", "nas", 40).await;
    let status = lab.manager.json(&["status"]);
    assert_eq!(status["streams"][0]["wasabi"]["seq"], 20, "{status}");
    lab.wasabi().set_faults(Vec::new()).unwrap();
    lab.manager.reaches("S", "wasabi", 40).await;
    daemon.stop().await;
    lab.manager.json(&["verify", "--from", "wasabi"]);
}

/// The NAS is replaced by an empty one at the same address while the storage manager runs, again and again,
/// in the middle of its commits.
#[tokio::test(flavor = "multi_thread")]
async fn a_nas_that_is_replaced_under_a_running_storage_manager() {
    let lab = lab().start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    let mut published = 0;
    for round in 1..=6 {
        lab.nats.publish("S", 60).await;
        lab.manager.reaches("S", "wasabi", published + 60).await;
        // Some of it is committed before, some while, some after.
        let load = async {
            for _ in 0..20 {
                lab.nats.publish("S", 5).await;
            }
        };
        let replace = async {
            lab.manager.reaches("S", "nas", published + 60 + 10 * round).await;
            lab.nas.replace();
        };
        tokio::join!(load, replace);
        published += 160;
        lab.manager.reaches("S", "nas", published).await;
        lab.manager.reaches("S", "wasabi", published).await;
    }
    // A journal says at once what is there; the objects come back from Wasabi one by one.
    wait_until("the new nas is whole", async || {
        let output = lab.manager.run(&["verify", "--json"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        if output.status.success() { Ok(()) } else { Err(said) }
    })
    .await;
    daemon.stop().await;
    for tier in ["nas", "wasabi"] {
        let report = lab.manager.json(&["verify", "--from", tier]);
        assert_eq!(report["streams"][0]["messages"], published, "{tier}: {report}");
        assert_eq!(report["streams"][0]["lacking"], 0, "{tier}: {report}");
    }
}

/// The same while nothing happens: the new NAS does not wait for the stream's next message.
#[tokio::test(flavor = "multi_thread")]
async fn a_nas_that_is_replaced_while_a_stream_is_at_rest() {
    let lab = lab().start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 60).await;
    lab.manager.reaches("S", "wasabi", 60).await;
    // The last things to say are said: how far Wasabi is, which small segments are replaced.
    lab.nas.comes_to_rest().await;
    lab.nas.replace();
    lab.manager.reaches("S", "nas", 60).await;
    lab.manager.becomes_whole("nas").await;
    let report = lab.manager.json(&["verify", "--from", "nas"]);
    assert_eq!(report["streams"][0]["messages"], 60, "{report}");
    daemon.stop().await;
}

/// What tells whether the stream is still the one that was archived is at Wasabi alone then.
#[tokio::test(flavor = "multi_thread")]
async fn a_new_nas_is_filled_where_the_message_at_the_watermark_was_deleted() {
    let lab = lab().start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 60).await;
    lab.manager.reaches("S", "wasabi", 60).await;
    daemon.stop().await;
    lab.nats.delete("S", &[60]).await;
    lab.nas.replace();
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 20).await;
    lab.manager.reaches("S", "nas", 80).await;
    lab.manager.reaches("S", "wasabi", 80).await;
    daemon.stop().await;
    for tier in ["nas", "wasabi"] {
        let report = lab.manager.json(&["verify", "--from", tier]);
        assert_eq!(report["streams"][0]["messages"], 80, "{tier}: {report}");
    }
}

/// The bucket is emptied while the storage manager runs: an entry that names segments which are not
/// there would be a lie, so they come first.
#[tokio::test(flavor = "multi_thread")]
async fn a_wasabi_bucket_that_was_emptied_is_filled_again() {
    let mut lab = lab().start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    for target in [20, 40] {
        lab.nats.publish("S", 20).await;
        lab.manager.reaches("S", "wasabi", target).await;
    }
    daemon.stop().await;

    lab.lose_wasabi().await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 20).await;
    lab.manager.reaches("S", "wasabi", 60).await;
    daemon.stop().await;
    let report = lab.manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(report["streams"][0]["messages"], 60, "{report}");
}

/// The same between two entries of a storage manager that goes on running.
#[tokio::test(flavor = "multi_thread")]
async fn a_wasabi_bucket_that_is_emptied_between_two_entries_is_filled_again() {
    let lab = lab().layout("journal").start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    let bucket = lab.wasabi_store();
    // The second time its journal begins with a checkpoint.
    for target in [20, 40, 60] {
        lab.nats.publish("S", 20).await;
        lab.manager.reaches("S", "wasabi", target).await;
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
    lab.manager.reaches("S", "wasabi", 60).await;
    daemon.stop().await;
    let report = lab.manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(report["streams"][0]["messages"], 60, "{report}");
}

/// Commands ask again where the service throttles, cuts connections or ends downloads early; and what
/// a new NAS needs is brought to it all the same.
#[tokio::test(flavor = "multi_thread")]
async fn a_restore_from_a_wasabi_that_misbehaves_fills_the_new_nas() {
    let mut lab = lab().start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    for target in [20, 40, 60] {
        lab.nats.publish("S", 20).await;
        lab.manager.reaches("S", "wasabi", target).await;
    }
    daemon.stop().await;
    let before = fingerprint(&lab.nats, "S").await;
    lab.lose_nas().await;
    let Host { nats, manager } = lab.host("new").await;
    let every = |fault, every| Rule { every: Some(every), ..Rule::new(fault) };
    let bad =
        || vec![every(Fault::SlowDown, 4), every(Fault::Cut, 6), every(Fault::TornDownload, 4)];
    lab.wasabi().set_faults(bad()).unwrap();
    manager.json(&["restore", "--all", "--from", "wasabi"]);
    for fault in ["slow_down", "cut", "torn_download"] {
        let struck = struck(lab.wasabi(), fault);
        assert!(struck > 0, "{fault} never happened: this test proves nothing");
    }
    assert_eq!(fingerprint(&nats, "S").await["all"], before["all"]);
    let reads = bad().into_iter().map(|rule| rule.operation("GetObject"));
    lab.wasabi().set_faults(reads.collect()).unwrap();
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
    lab.wasabi().set_faults(Vec::new()).unwrap();
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
    let lab = chains().wasabi_without_conditions().start().await;
    lab.nats.create("S", json!({})).await;
    shipped_four_times(&lab.nats, &lab.manager).await;

    forget(&lab.nas, "/tertiary/", 1);
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 20).await;
    lab.manager.reaches("S", "wasabi", 100).await;
    assert!(daemon.log().contains("the NAS has forgotten"), "{}", daemon.log());
    daemon.stop().await;
    let report = lab.manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(report["streams"][0]["messages"], 100, "{report}");
}

/// An entry that was decided just when the NAS was replaced stands alone on the new one.
#[tokio::test(flavor = "multi_thread")]
async fn a_decision_that_stands_alone_is_joined_to_what_wasabi_has() {
    let lab = chains().start().await;
    lab.nats.create("S", json!({})).await;
    shipped_four_times(&lab.nats, &lab.manager).await;

    // There is more to say already.
    let daemon = lab.manager.tier().await;
    lab.wasabi().set_faults(vec![Rule::new(Fault::SlowDown).operation("PutObject")]).unwrap();
    lab.nats.publish("S", 20).await;
    daemon.says("SlowDown").await;
    daemon.kill();
    lab.wasabi().set_faults(Vec::new()).unwrap();
    let decided = lab.nas.files("/tertiary/");
    // The last one has not got to Wasabi.
    let there = lab.wasabi_store();
    let entries = there.list("v1/streams/S/manifest/", false).await.unwrap();
    for entry in &entries[decided.len() - 1..] {
        there.delete(&entry.key).await.unwrap();
    }
    for file in &decided[..decided.len() - 1] {
        std::fs::remove_dir_all(file.parent().unwrap()).unwrap();
    }
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "wasabi", 100).await;
    daemon.stop().await;
    let report = lab.manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(report["streams"][0]["messages"], 100, "{report}");
}

/// What it seals anew ends elsewhere than what Wasabi has got: then Wasabi gets the rest of it, and no less.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_nas_has_forgotten_of_its_own_does_not_leave_a_gap_at_wasabi() {
    let mut lab = chains().start().await;
    lab.nats.create("S", json!({})).await;
    shipped_four_times(&lab.nats, &lab.manager).await;

    // All that it remembers is the first segment, before it was sealed.
    forget(&lab.nas, "/manifest/", 2);
    // So the next one begins in it and ends behind what Wasabi has.
    let more = "[segment]\nflush_age = \"30ms\"\n";
    let later = lab.manager_with("later", |settings| settings.more = more.into());
    let daemon = later.tier().await;
    lab.nats.publish("S", 20).await;
    later.reaches("S", "nas", 100).await;
    daemon.stop().await;
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "wasabi", 100).await;
    daemon.stop().await;

    let before = fingerprint(&lab.nats, "S").await;
    lab.nats.kill();
    for tier in ["nas", "wasabi"] {
        let report = lab.manager.json(&["verify", "--from", tier]);
        assert_eq!(report["streams"][0]["messages"], 100, "{tier}: {report}");
    }
    lab.configure(|settings| settings.nas = NOWHERE.into());
    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "--all", "--from", "wasabi"]);
    assert_eq!(fingerprint(&nats, "S").await, before);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_nas_that_lost_segments_as_well_does_not_damage_wasabi() {
    let lab = chains().wasabi_without_conditions().start().await;
    lab.nats.create("S", json!({})).await;
    shipped_four_times(&lab.nats, &lab.manager).await;

    forget(&lab.nas, "/tertiary/", 1);
    forget(&lab.nas, "/manifest/", 2);
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 20).await;
    lab.manager.reaches("S", "nas", 100).await;
    daemon.says("the NAS lost what it had confirmed").await;
    daemon.stop().await;
    // What was there is as good as before.
    let report = lab.manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(report["streams"][0]["messages"], 80, "{report}");
}
