//! A copy of a stream beside a live system, which must not hear of it.

use std::sync::{Arc, Mutex};

use futures_util::StreamExt as _;
use serde_json::json;

use crate::support::{Lab, Nats, wait_until};

/// Hears what applications would: by which streams they were reached.
async fn listen(nats: &Nats, subject: &'static str) -> Arc<Mutex<Vec<String>>> {
    let mut messages = nats.client.subscribe(subject).await.unwrap();
    nats.client.flush().await.unwrap();
    let heard = Arc::new(Mutex::new(Vec::new()));
    let to = Arc::clone(&heard);
    tokio::spawn(async move {
        while let Some(message) = messages.next().await {
            // Republished messages name the stream in a header, a push consumer's in the subject of the answer.
            let header =
                message.headers.and_then(|h| h.get("Nats-Stream").map(ToString::to_string));
            let reply = message.reply.map(|reply| reply.to_string());
            to.lock().unwrap().push(header.or(reply).unwrap_or_default());
        }
    });
    heard
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_of_a_copy_reaches_the_live_system() {
    let lab = Lab::start().await;
    lab.nats.create("JOBS", json!({})).await;
    lab.nats.create("MIRROR", json!({ "subjects": null, "mirror": { "name": "JOBS" } })).await;
    lab.nats.create("TAKER", json!({ "subjects": null, "sources": [{ "name": "JOBS" }] })).await;
    let links = json!({
        "republish": { "src": ">", "dest": "changes.>" },
        "subject_transform": { "src": "events.x", "dest": "events.y" },
        "allow_msg_schedules": true,
    });
    lab.nats.create("EVENTS", links).await;
    let consumer = |name: &str, more| {
        let mut config = json!({ "durable_name": name, "ack_policy": "explicit" });
        config["deliver_subject"] = more;
        (
            format!("CONSUMER.CREATE.EVENTS.{name}"),
            json!({ "stream_name": "EVENTS", "config": config }),
        )
    };
    for (what, body) in [consumer("mailer", json!("mail.send")), consumer("reader", json!(null))] {
        lab.nats.api(&what, body).await;
    }
    // It fires every second, at once where it is past due.
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Schedule", "@every 1s");
    headers.insert("Nats-Schedule-Target", "events.due");
    let jetstream = async_nats::jetstream::new(lab.nats.client.clone());
    let ack = jetstream.publish_with_headers("events.schedule", headers, "pay".into()).await;
    let scheduled = ack.unwrap().await.unwrap().sequence;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("JOBS", 5).await;
    lab.manager.reaches("MIRROR", "nas", 5).await;
    lab.manager.reaches("TAKER", "nas", 5).await;
    lab.manager.reaches("EVENTS", "nas", scheduled).await;
    daemon.stop().await;

    let (mails, changes) =
        (listen(&lab.nats, "mail.send").await, listen(&lab.nats, "changes.>").await);
    let copy = ["restore", "EVENTS", "--as", "REHEARSAL", "--subjects", "rehearsal.>"];
    let restored = lab.manager.json(&copy);
    let last = restored["streams"][0]["last_seq"].as_u64().unwrap();
    let left_out = json!([
        "push consumer `mailer`, which delivers to `mail.send`",
        "republishing to `changes.>`",
        "subject transform to `events.y`",
        "schedules: their messages are there, and none fires",
    ]);
    assert_eq!(restored["streams"][0]["left_out"], left_out);
    let consumers = lab.nats.api("CONSUMER.NAMES.REHEARSAL", json!(null)).await;
    assert_eq!(consumers["consumers"], json!(["reader"]));
    let copy = |of: &str| {
        let (name, subjects) = (format!("{of}_COPY"), format!("{}_copy.>", of.to_lowercase()));
        let said = lab.manager.run(&["restore", of, "--as", &name, "--subjects", &subjects]);
        String::from_utf8(said.stdout).unwrap()
    };
    for (of, link) in [("MIRROR", "mirror of `JOBS`"), ("TAKER", "source `JOBS`")] {
        let said = copy(of);
        let left_out = format!("`--keep-links` brings it back too):\n    {link}\n");
        assert!(said.contains(&left_out), "{said}");
    }

    // Those that may do all that prove that there was something to hear.
    for (of, name) in [("EVENTS", "LINKED"), ("TAKER", "LINKED_TAKER")] {
        let subjects = format!("{}.>", name.to_lowercase());
        let linked = ["restore", of, "--as", name, "--subjects", &subjects, "--keep-links"];
        assert_eq!(lab.manager.json(&linked)["streams"][0]["left_out"], json!([]));
    }
    lab.nats.publish("JOBS", 5).await;
    wait_until("the linked copies reach everyone", async || {
        let of = |heard: &Mutex<Vec<String>>| {
            heard.lock().unwrap().iter().any(|from| from.contains("LINKED"))
        };
        let heard = (of(&mails), of(&changes));
        let taken = lab.nats.last_seq("LINKED_TAKER").await;
        let fired = lab.nats.last_seq("LINKED").await;
        if heard == (true, true) && taken == 10 && fired > last {
            Ok(())
        } else {
            Err(format!("{heard:?}, {taken} taken, {fired} of {last}"))
        }
    })
    .await;
    for heard in [mails, changes] {
        let heard = heard.lock().unwrap().clone();
        assert!(!heard.iter().any(|from| from.contains("REHEARSAL")), "{heard:?}");
    }
    assert_eq!(lab.nats.last_seq("REHEARSAL").await, last);
    for copy in ["MIRROR_COPY", "TAKER_COPY"] {
        assert_eq!(lab.nats.last_seq(copy).await, 5);
    }
}
