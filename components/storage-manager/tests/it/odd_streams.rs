//! Streams that are unlike others: with subjects that are no text, without room for a consumer to read through, with
//! names as long as the server takes them.

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use crate::support::{Host, Lab, Manager, Nats, fingerprint, fingerprints, noise, wait_until};

/// Publishes a message with a subject that is not UTF-8, which no client library does.
async fn publish_raw(nats: &Nats, subject: &[u8]) {
    let before = nats.last_seq("S").await;
    let address = nats.url.trim_start_matches("nats://");
    let mut socket = tokio::net::TcpStream::connect(address).await.unwrap();
    let lines = [&b"CONNECT {\"verbose\":false}\r\nPUB "[..], subject, b" 2\r\nhi\r\nPING\r\n"];
    socket.write_all(&lines.concat()).await.unwrap();
    let mut said = Vec::new();
    while !said.ends_with(b"PONG\r\n") {
        assert!(socket.read_buf(&mut said).await.unwrap() > 0, "the server hung up");
    }
    wait_until("it is stored", async || {
        let last = nats.last_seq("S").await;
        if last == before + 1 { Ok(()) } else { Err(last.to_string()) }
    })
    .await;
}

fn timelines(manager: &Manager) -> usize {
    manager.json(&["streams"])["streams"][0]["timelines"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_that_is_no_text_opens_no_timeline() {
    let lab = Lab::with().faulty_nas().start().await;
    lab.nats.create("S", json!({})).await;
    for subject in [&b"s.caf\xe9"[..], b"s.\xff\xfe"] {
        let daemon = lab.manager.tier().await;
        lab.nats.publish("S", 3).await;
        publish_raw(&lab.nats, subject).await;
        lab.manager.reaches("S", "nas", lab.nats.last_seq("S").await).await;
        daemon.stop().await;
        // It looks at the last message that was archived.
        let daemon = lab.manager.tier().await;
        wait_until("it reads", async || {
            let log = daemon.log();
            let names = lab.nats.api("CONSUMER.NAMES.S", Value::Null).await;
            let reads = names["consumers"].as_array().is_some_and(|names| !names.is_empty());
            if reads { Ok(()) } else { Err(log) }
        })
        .await;
        let log = daemon.log();
        assert!(!log.contains("opening timeline"), "{log}");
        daemon.stop().await;
    }
    assert_eq!(timelines(&lab.manager), 1);
    // A restore finds that it is there.
    let report = lab.manager.json(&["restore", "--all"]);
    assert_eq!(report["streams"][0]["outcome"], "unchanged", "{report}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_without_room_for_a_reader_is_archived() {
    let mut lab = Lab::with().faulty_nas().start().await;
    lab.nats.create("S", json!({ "max_consumers": 1 })).await;
    lab.nats.create("I", json!({ "max_consumers": 1, "retention": "interest" })).await;
    for stream in ["S", "I"] {
        lab.nats.create_consumer(stream, "app", json!({})).await;
    }
    let daemon = lab.manager.tier().await;
    for stream in ["S", "I"] {
        lab.nats.publish(stream, 40).await;
        lab.nats.delete(stream, &[7, 40]).await;
        lab.manager.reaches(stream, "nas", 40).await;
    }
    let before = fingerprints(&lab.nats, &["S", "I"]).await;
    let log = daemon.log();
    assert_eq!(log.matches("it is read message by message").count(), 2, "{log}");
    assert!(!log.contains("starting again"), "{log}");
    daemon.stop().await;
    lab.nats.kill();
    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "--all"]);
    for (stream, before) in ["S", "I"].into_iter().zip(before) {
        assert_eq!(fingerprint(&nats, stream).await, before, "{stream}");
    }
}

/// Names of 254 bytes of other letters, and of 255 plain ones: the longest that the server takes.
#[tokio::test(flavor = "multi_thread")]
async fn names_as_long_as_can_be_are_archived() {
    let mut lab =
        Lab::with().layout("journal").settings("[segment]\nflush_age = \"30ms\"\n").start().await;
    let names = ["ö".repeat(127), "x".repeat(255), format!("{}$", "漢".repeat(84))];
    let subjects = ["o", "x", "k"];
    for (name, subject) in names.iter().zip(subjects) {
        lab.nats.create(name, json!({ "subjects": [format!("{subject}.>")] })).await;
    }
    let daemon = lab.manager.tier().await;
    let jetstream = async_nats::jetstream::new(lab.nats.client.clone());
    // It is segments of their own that bear a stream's name: what entries had is merged to that.
    let mut seed = 0;
    wait_until("each has a segment of its own", async || {
        for subject in subjects {
            seed += 1;
            let subject = format!("{subject}.{seed}");
            jetstream.publish(subject, noise(seed, 16_000).into()).await.unwrap().await.unwrap();
        }
        let files = lab.nas.files("/v1/streams/");
        let has = |part: &&str| files.iter().any(|file| file.to_string_lossy().contains(*part));
        let lacking: Vec<_> =
            ["~C3~B6~C3", "/xxx", "~E6~BC~A2"].into_iter().filter(|part| !has(part)).collect();
        if lacking.is_empty() { Ok(()) } else { Err(format!("{lacking:?}\n{}", daemon.log())) }
    })
    .await;
    for name in &names {
        lab.manager.reaches(name, "nas", lab.nats.last_seq(name).await).await;
    }
    let before = fingerprints(&lab.nats, &names).await;
    daemon.stop().await;
    lab.manager.json(&["verify"]);
    lab.nats.kill();
    let Host { nats, manager } = lab.host("new").await;
    manager.json(&["restore", "--all"]);
    for (name, before) in names.iter().zip(before) {
        assert_eq!(fingerprint(&nats, name).await, before, "{name}");
    }
}
