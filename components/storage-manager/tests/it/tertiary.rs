//! Wasabi's bucket, while the configuration has another one, none, or a new NAS.

use cim_fake_wasabi::FakeWasabi;
use serde_json::json;

use crate::support::{
    Host, Lab, Manager, NOWHERE, Nats, Settings, are_the_same, fake_s3, fingerprints, wait_until,
};

const STREAMS: [&str; 2] = ["S", "T"];
const QUICK: &str = "[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"200ms\"\n[collect]\ngrace = \"1s\"\ntertiary_age = \"0s\"\n";

/// A lab with two streams.
async fn lab() -> Lab<FakeWasabi> {
    let lab = Lab::with().faulty_nas().wasabi().layout("journal").settings(QUICK).start().await;
    for stream in STREAMS {
        lab.nats.create(stream, json!({})).await;
    }
    lab
}

/// Publishes so often that entries are merged, and waits until a tier has all of it.
async fn works(manager: &Manager, nats: &Nats, tier: &str) {
    let daemon = manager.tier().await;
    for _ in 0..8 {
        for stream in STREAMS {
            nats.publish(stream, 5).await;
            manager.reaches(stream, "nas", nats.last_seq(stream).await).await;
        }
    }
    manager.catches_up(nats, &STREAMS, &[tier]).await;
    daemon.stop().await;
}

/// Everything comes back from Wasabi alone.
async fn is_whole(lab: &mut Lab<FakeWasabi>) {
    let before = fingerprints(&lab.nats, &STREAMS).await;
    lab.configure(|settings| settings.nas = NOWHERE.into());
    let Host { nats, manager } = lab.host("new").await;
    let report = manager.json(&["verify", "--from", "wasabi"]);
    assert_eq!(report["streams"].as_array().unwrap().len(), 2, "{report}");
    manager.json(&["restore", "--all", "--from", "wasabi"]);
    are_the_same(&nats, &STREAMS, &before).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hole_is_left_where_it_was_not_configured() {
    let mut lab = lab().await;
    works(&lab.manager, &lab.nats, "wasabi").await;
    let without = lab.manager_with("without", |settings| settings.wasabi = None);
    works(&without, &lab.nats, "nas").await;
    works(&lab.manager, &lab.nats, "wasabi").await;
    is_whole(&mut lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_hole_is_left_where_it_was_another_bucket() {
    let mut lab = lab().await;
    let another = fake_s3(lab.dir(), "another").await;
    works(&lab.manager, &lab.nats, "wasabi").await;
    let elsewhere = |settings: &mut Settings| settings.wasabi = Some(another.s3_url());
    works(&lab.manager_with("elsewhere", elsewhere), &lab.nats, "wasabi").await;
    works(&lab.manager, &lab.nats, "wasabi").await;
    is_whole(&mut lab).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_filled_again_that_was_emptied_after_the_nas_was_replaced() {
    let mut lab = lab().await;
    works(&lab.manager, &lab.nats, "wasabi").await;
    let second = fake_s3(lab.dir(), "second").await;
    lab.configure(|settings| settings.nas = second.s3_url());
    works(&lab.manager, &lab.nats, "wasabi").await;
    let wasabi = lab.wasabi_store();
    for object in wasabi.list("", false).await.unwrap() {
        wasabi.delete(&object.key).await.unwrap();
    }
    // What the first NAS had the second one has got back from Wasabi.
    works(&lab.manager, &lab.nats, "wasabi").await;
    wait_until("it has a journal again", async || {
        match wasabi.list("v2/tertiary/", false).await.unwrap() {
            objects if objects.is_empty() => Err("it is empty".to_owned()),
            _ => Ok(()),
        }
    })
    .await;
    is_whole(&mut lab).await;
}
