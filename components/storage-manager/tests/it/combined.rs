//! Newer features of JetStream in combination: what they have made comes back as it was, and goes on.

use async_nats::HeaderMap;
use serde_json::{Value, json};

use crate::support::{Host, Lab, Nats, fingerprint, wait_until};

/// Publishes, and returns the server's answer.
async fn publish(nats: &Nats, subject: &str, payload: &str, headers: &[(&str, &str)]) -> Value {
    let mut all = HeaderMap::new();
    for (name, value) in headers {
        all.insert(*name, *value);
    }
    let request =
        nats.client.request_with_headers(subject.to_owned(), all, payload.to_owned().into());
    let answer: Value = serde_json::from_slice(&request.await.unwrap().payload).unwrap();
    assert!(answer["error"].is_null(), "{subject}: {answer}");
    answer
}

/// Counters and what adds two of them up under other names.
async fn counters(nats: &Nats) {
    for name in ["CTR", "CTR2"] {
        let more =
            json!({ "allow_msg_counter": true, "max_msgs_per_subject": 1, "allow_direct": true });
        nats.create(name, more).await;
    }
    for n in 0..6 {
        publish(nats, &format!("ctr.{}", n % 2), "", &[("Nats-Incr", &(n - 2).to_string())]).await;
        publish(nats, "ctr2.x", "", &[("Nats-Incr", "+10")]).await;
    }
    let source = |name: &str, from: &str, to: &str| json!({ "name": name, "subject_transforms": [{ "src": from, "dest": to }] });
    let sources = [source("CTR", "ctr.>", "agg.>"), source("CTR2", "ctr2.>", "agg.two.>")];
    let more = json!({ "subjects": [], "allow_msg_counter": true, "sources": sources });
    nats.create("AGG", more).await;
    wait_until("all is added up", async || match nats.last_seq("AGG").await {
        3 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
}

/// Schedules of every sort in a stream that keeps one message a subject and rolls up.
async fn schedules(nats: &Nats) {
    let more = json!({
        "subjects": ["sch.>", "out.>"], "allow_msg_schedules": true, "allow_msg_ttl": true,
        "allow_rollup_hdrs": true, "max_msgs_per_subject": 1,
    });
    nats.create("SCH", more).await;
    for (subject, when, more) in [
        ("every", "@every 3600s", ("Nats-Schedule-TTL", "120s")),
        ("cron", "0 0 3 * * *", ("Nats-Schedule-Time-Zone", "Europe/Berlin")),
        ("roll", "@at 2100-01-01T00:00:00Z", ("Nats-Schedule-Rollup", "sub")),
        ("src", "@hourly", ("Nats-Schedule-Source", "out.every")),
    ] {
        let target = format!("out.{subject}");
        let headers = [("Nats-Schedule", when), ("Nats-Schedule-Target", &*target), more];
        publish(nats, &format!("sch.{subject}"), "", &headers).await;
    }
}

/// A bucket that is republished and compressed, with keys that expire, were purged and deleted.
async fn bucket(nats: &Nats) {
    let more = json!({
        "subjects": ["$KV.odd.>"], "max_msgs_per_subject": 5, "allow_rollup_hdrs": true,
        "allow_msg_ttl": true, "subject_delete_marker_ttl": 60_000_000_000_i64, "discard": "new",
        "republish": { "src": ">", "dest": "copy.>", "headers_only": true }, "compression": "s2",
    });
    nats.create("KV_odd", more).await;
    for n in 0..7 {
        for key in ["a", "b=c_d-e", "größe", "x.y.z"] {
            publish(nats, &format!("$KV.odd.{key}"), &n.to_string(), &[]).await;
        }
    }
    publish(nats, "$KV.odd.a", "", &[("KV-Operation", "DEL")]).await;
    publish(nats, "$KV.odd.x.y.z", "", &[("KV-Operation", "PURGE"), ("Nats-Rollup", "sub")]).await;
    publish(nats, "$KV.odd.ttl", "v", &[("Nats-TTL", "3600")]).await;
}

/// Atomic batches of which a message was deleted, and partitions that refuse what is too much of a subject.
async fn batches(nats: &Nats) {
    nats.create("BATCH", json!({ "allow_atomic": true })).await;
    for batch in ["one", "two"] {
        for n in 1..=3 {
            let number = n.to_string();
            let mut headers = vec![("Nats-Batch-Id", batch), ("Nats-Batch-Sequence", &*number)];
            if n == 3 {
                headers.push(("Nats-Batch-Commit", "1"));
                publish(nats, "batch.x", batch, &headers).await;
                continue;
            }
            let all: HeaderMap = headers
                .iter()
                .map(|(name, value)| ((*name).parse().unwrap(), (*value).parse().unwrap()))
                .collect();
            let sent = nats.client.publish_with_headers("batch.x", all, batch.into()).await;
            sent.unwrap();
        }
    }
    nats.delete("BATCH", &[5]).await;
    let transform = json!({ "src": "part.*", "dest": "p.{{partition(3,1)}}.{{wildcard(1)}}" });
    let more = json!({
        "subject_transform": transform, "max_msgs_per_subject": 2, "discard": "new",
        "discard_new_per_subject": true, "first_seq": (1_u64 << 53) + 11,
    });
    nats.create("PART", more).await;
    for n in 0..8 {
        publish(nats, &format!("part.{}", n % 5), &n.to_string(), &[]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_features_make_together_comes_back() {
    let lab = Lab::start().await;
    counters(&lab.nats).await;
    schedules(&lab.nats).await;
    bucket(&lab.nats).await;
    batches(&lab.nats).await;
    let daemon = lab.manager.tier().await;
    let streams = ["AGG", "BATCH", "CTR", "CTR2", "KV_odd", "PART", "SCH"];
    lab.manager.has_all(&lab.nats, &streams).await;
    daemon.stop().await;
    let Host { nats: new, manager: restore } = lab.host("new").await;
    restore.json(&["restore", "--all", "--fence", "0"]);
    for stream in streams {
        assert_eq!(
            fingerprint(&new, stream).await,
            fingerprint(&lab.nats, stream).await,
            "{stream}"
        );
    }
    // It counts on.
    let counted = publish(&new, "ctr2.x", "", &[("Nats-Incr", "+1")]).await;
    assert_eq!(counted["val"], "61");
}
