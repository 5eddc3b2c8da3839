//! What was gone before it could be archived is said once, at both tiers.

use std::time::{Duration, Instant};

use cim_fake_wasabi::{Fault, Rule};
use cim_storage_manager::archive::Archive;
use serde_json::json;

use crate::support::{Lab, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn limits_pass_a_sequence_while_the_storage_manager_is_away() {
    let lab = Lab::with()
        .faulty_nas()
        .wasabi()
        .settings("[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"500ms\"\n")
        .start()
        .await;
    lab.nats.create("M", json!({ "max_msgs": 20 })).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("M", 10).await;
    lab.manager.reaches("M", "wasabi", 10).await;
    daemon.stop().await;
    // 11 to 40 are gone when it comes back.
    lab.nats.publish("M", 50).await;
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("M", "nas", 60).await;
    lab.manager.reaches("M", "wasabi", 60).await;
    let log = daemon.log();
    let said = "sequences 11 to 40 are not in JetStream any more, and the archive on the NAS ends at 10: they count as missed stream=M";
    assert!(log.contains(said), "{log}");
    let count = || lab.nas.stats().storage.objects + lab.wasabi().stats().storage.objects;
    let (mut last, mut since) = (count(), Instant::now());
    wait_until("nothing is written any more while nothing happens", async || {
        let objects = count();
        if objects != last {
            (last, since) = (objects, Instant::now());
        }
        if since.elapsed() > Duration::from_secs(4) { Ok(()) } else { Err(format!("{objects}")) }
    })
    .await;
    let asked = Instant::now();
    daemon.stop().await;
    assert!(asked.elapsed() < Duration::from_secs(10), "ending took {:?}", asked.elapsed());
    for tier in ["nas", "wasabi"] {
        let report = lab.manager.json(&["verify", "--from", tier]);
        assert_eq!(report["streams"][0]["messages"], 30, "{tier}: {report}");
        assert_eq!(report["streams"][0]["problems"], json!([]), "{tier}: {report}");
    }
}

/// A storage manager that is slower than a stream with tight limits: it reads on, and says what it did not see.
#[tokio::test(flavor = "multi_thread")]
async fn limits_pass_a_sequence_while_the_storage_manager_reads() {
    let lab = Lab::with()
        .faulty_nas()
        .wasabi()
        .layout("journal")
        .settings("[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"300ms\"\n")
        .start()
        .await;
    lab.nats.create("M", json!({ "max_msgs": 100 })).await;
    lab.nats.create("KV_M", json!({ "max_msgs_per_subject": 1, "max_msgs": 100 })).await;
    let daemon = lab.manager.tier().await;
    for stream in ["M", "KV_M"] {
        lab.nats.publish(stream, 40).await;
        lab.manager.reaches(stream, "nas", 40).await;
    }
    lab.nats.delete("M", &[7]).await;
    daemon.freeze();
    for stream in ["M", "KV_M"] {
        lab.nats.publish(stream, 20_000).await;
    }
    daemon.thaw();
    for (stream, tier) in [("M", "nas"), ("M", "wasabi"), ("KV_M", "nas")] {
        lab.manager.reaches(stream, tier, 20_040).await;
    }
    wait_until("what was missed is said", async || {
        let log = daemon.log();
        let said = "messages were gone before they could be read";
        if log.contains(said) { Ok(()) } else { Err(log) }
    })
    .await;
    // The next entries say it.
    lab.nats.publish("M", 10).await;
    lab.manager.reaches("M", "wasabi", 20_050).await;
    daemon.stop().await;
    let (stream, keyed) = ("M".parse().unwrap(), "KV_M".parse().unwrap());
    for store in [lab.store(), lab.wasabi_store()] {
        let of = store.tier();
        let archive = Archive::open(store).await.unwrap();
        let state = archive.stream(&stream).await.unwrap().unwrap();
        let (archived, missed) = (&state.segments, &state.current().missed);
        let archived: u64 = archived.values().map(|segment| segment.messages).sum();
        assert!(missed.count() > 1000, "{of}: it read on while it was frozen: {missed:?}");
        assert_eq!(archived + missed.count(), 20_050, "{of}: {missed:?}");
        let keyed = archive.stream(&keyed).await.unwrap().unwrap();
        assert!(keyed.current().missed.is_empty(), "{of}: of a bucket nothing is known");
    }
}

/// The NAS had them, Wasabi did not yet, and limits passed them; then an empty NAS takes its place.
#[tokio::test(flavor = "multi_thread")]
async fn what_a_nas_had_that_was_replaced_did_not_come_too_late() {
    for running in [true, false] {
        let lab = Lab::with()
            .wasabi()
            .layout("journal")
            .settings("[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"300ms\"\n")
            .start()
            .await;
        lab.nats.create("M", json!({ "max_msgs": 50 })).await;
        let mut daemon = lab.manager.tier().await;
        lab.nats.publish("M", 40).await;
        lab.manager.reaches("M", "wasabi", 40).await;
        let held = Rule::new(Fault::Unavailable).operation("PutObject");
        lab.wasabi().set_faults(vec![held]).unwrap();
        for last in [70, 100, 140] {
            lab.nats
                .publish("M", last - usize::try_from(lab.nats.last_seq("M").await).unwrap())
                .await;
            lab.manager.reaches("M", "nas", last as u64).await;
        }
        if running {
            lab.nas.replace();
        } else {
            daemon.kill();
            lab.nas.replace();
            daemon = lab.manager.tier().await;
        }
        let log = wait_until("it is said what is missing", async || {
            let log = daemon.log();
            if log.contains("sequences 41 to 90 are not in") { Ok(log) } else { Err(log) }
        })
        .await;
        assert!(log.contains("what Wasabi had, up to sequence 40"), "{log}");
        let known = log.contains("that one had confirmed them up to sequence 90");
        assert_eq!((known, log.contains("that one may have them")), (running, !running), "{log}");
        assert!(!log.contains("before they could be archived"), "{log}");
        lab.wasabi().set_faults(Vec::new()).unwrap();
        lab.manager.reaches("M", "nas", 140).await;
        lab.manager.reaches("M", "wasabi", 140).await;
        daemon.stop().await;
    }
}
