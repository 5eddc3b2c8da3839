//! A journal takes over what a manager that writes chains is tiering: that one notices and ends.

use serde_json::json;

use crate::support::{Host, Lab, are_the_same, fingerprints, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_of_chains_ends_when_a_journal_takes_over() {
    let mut lab = Lab::with().layout("chains").start().await;
    let streams = ["S", "T"];
    for stream in streams {
        lab.nats.create(stream, json!({})).await;
    }
    let mut old = lab.manager.spawn(&["tier"]);
    for stream in streams {
        lab.nats.publish(stream, 10).await;
        lab.manager.reaches(stream, "nas", 10).await;
    }
    let new = lab.manager_with("journal", |settings| settings.layout = "journal".into());
    let daemon = new.tier().await;
    wait_until("it ends", async || {
        for stream in streams {
            lab.nats.publish(stream, 1).await;
        }
        old.try_wait().ok_or_else(|| "it runs".to_owned())
    })
    .await;
    let output = old.output();
    let error = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{error}");
    assert!(
        error.contains("error: NAS: journal `main` holds stream `S`")
            && error.contains("`layout = \"journal\"`"),
        "{error}"
    );
    for stream in streams {
        lab.nats.publish(stream, 3).await;
    }
    new.has_all(&lab.nats, &streams).await;
    let before = fingerprints(&lab.nats, &streams).await;
    daemon.stop().await;
    new.json(&["verify"]);
    lab.nats.kill();

    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "--all"]);
    are_the_same(&nats, &streams, &before).await;
}

/// A journal of other streams in the same bucket is in no one's way.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_other_streams_is_in_no_ones_way() {
    let lab = Lab::start().await;
    for stream in ["S", "T"] {
        lab.nats.create(stream, json!({})).await;
    }
    let manager = |name: &str, layout: &str, stream: &str| {
        lab.manager_with(name, |settings| {
            settings.layout = layout.into();
            settings.more = format!("[streams]\ninclude = [\"{stream}\"]\n");
        })
    };
    let other = manager("other", "journal", "T");
    let new = other.tier().await;
    lab.nats.publish("T", 5).await;
    other.reaches("T", "nas", 5).await;
    let chains = manager("chains", "chains", "S");
    let old = chains.tier().await;
    lab.nats.publish("S", 5).await;
    chains.reaches("S", "nas", 5).await;
    old.stop().await;
    new.stop().await;
}
