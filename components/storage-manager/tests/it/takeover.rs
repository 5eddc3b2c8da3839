//! A journal takes over what a manager that writes chains is tiering: that one notices and ends.

use std::io::Read as _;

use serde_json::json;

use crate::support::{Child, Manager, Minio, Nats, Settings, fingerprint, wait_until};

#[tokio::test(flavor = "multi_thread")]
async fn a_manager_of_chains_ends_when_a_journal_takes_over() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    let streams = ["S", "T"];
    for stream in streams {
        nats.create(stream, json!({})).await;
    }
    let manager = |name: &str, nats: &str, layout: &str| {
        let mut settings = Settings::new(nats, &minio.url);
        settings.layout = layout.into();
        Manager::new(dir.path(), name, &settings)
    };
    let chains = manager("chains", &nats.url, "chains");
    let mut old = Child(chains.spawn(&["tier"]));
    for stream in streams {
        nats.publish(stream, 10).await;
        chains.reaches(stream, "nas", 10).await;
    }
    let new = manager("journal", &nats.url, "journal");
    let daemon = new.tier().await;
    let status = wait_until("it ends", async || {
        for stream in streams {
            nats.publish(stream, 1).await;
        }
        old.0.try_wait().unwrap().ok_or_else(|| "it runs".to_owned())
    })
    .await;
    let mut error = String::new();
    old.0.stderr.take().unwrap().read_to_string(&mut error).unwrap();
    assert_eq!(status.code(), Some(2), "{error}");
    assert!(
        error.contains("error: nas: journal `main` holds stream `S`")
            && error.contains("`layout = \"journal\"`"),
        "{error}"
    );
    let mut before = Vec::new();
    for stream in streams {
        nats.publish(stream, 3).await;
        new.reaches(stream, "nas", nats.last_seq(stream).await).await;
        before.push(fingerprint(&nats, stream).await);
    }
    daemon.stop().await;
    new.json(&["verify"]);
    drop(nats);

    let nats = Nats::start(&dir.path().join("new")).await;
    manager("new", &nats.url, "journal").json(&["restore", "--all"]);
    for (stream, before) in streams.into_iter().zip(&before) {
        assert_eq!(&fingerprint(&nats, stream).await, before, "{stream}");
    }
}

/// A journal of other streams in the same bucket is in no one's way.
#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_other_streams_is_in_no_ones_way() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let nats = Nats::start(&dir.path().join("host")).await;
    for stream in ["S", "T"] {
        nats.create(stream, json!({})).await;
    }
    let manager = |name: &str, layout: &str, stream: &str| {
        let mut settings = Settings::new(&nats.url, &minio.url);
        settings.layout = layout.into();
        settings.more = format!("[streams]\ninclude = [\"{stream}\"]\n");
        Manager::new(dir.path(), name, &settings)
    };
    let other = manager("other", "journal", "T");
    let new = other.tier().await;
    nats.publish("T", 5).await;
    other.reaches("T", "nas", 5).await;
    let chains = manager("chains", "chains", "S");
    let old = chains.tier().await;
    nats.publish("S", 5).await;
    chains.reaches("S", "nas", 5).await;
    old.stop().await;
    new.stop().await;
}
