//! Sizes that are shown: of what streams share each has its part, and all of them are no more than what lies there.

use serde_json::{Value, json};

use crate::support::{Lab, wait_until};

const STREAMS: [&str; 3] = ["QUIET", "B", "C"];

/// Bytes and keys of the objects of a bucket that hold messages.
async fn stored(bucket: &s3::Bucket) -> (u64, Vec<String>) {
    let (mut bytes, mut keys) = (0, Vec::new());
    for page in bucket.list(String::new(), None).await.unwrap() {
        for object in page.contents.into_iter().filter(|o| o.key.ends_with(".parquet")) {
            bytes += object.size;
            keys.push(object.key);
        }
    }
    (bytes, keys)
}

/// What is said of each stream's size.
fn sizes(shown: &Value, tier: Option<&str>) -> Vec<u64> {
    let streams = STREAMS.map(|name| {
        let streams = shown["streams"].as_array().unwrap();
        let of = streams.iter().find(|stream| stream["stream"] == name).unwrap();
        tier.map_or(of, |tier| &of[tier])["bytes"].as_u64().unwrap()
    });
    streams.to_vec()
}

#[tokio::test(flavor = "multi_thread")]
async fn of_streams_that_share_objects() {
    let lab = Lab::with().wasabi().layout("journal").settings("[segment]\nflush_age = \"20ms\"\n[seal]\ninterval = \"100ms\"\n[collect]\ngrace = \"1h\"\n").start().await;
    for stream in STREAMS {
        lab.nats.create(stream, json!({})).await;
    }
    let daemon = lab.manager.tier().await;
    wait_until("some of it was merged, some of it was not", async || {
        for stream in STREAMS {
            lab.nats.publish(stream, if stream == "QUIET" { 1 } else { 30 }).await;
        }
        let (_, keys) = stored(&lab.bucket()).await;
        let merged = keys.iter().any(|key| key.contains("/shared/"));
        if merged { Ok(()) } else { Err(format!("{} objects", keys.len())) }
    })
    .await;
    for stream in STREAMS {
        lab.nats.publish(stream, 1).await;
        let last = lab.nats.last_seq(stream).await;
        lab.manager.reaches(stream, "nas", last).await;
        lab.manager.reaches(stream, "wasabi", last).await;
    }
    daemon.stop().await;
    let status = lab.manager.json(&["status"]);
    for (tier, bucket) in [("nas", lab.bucket()), ("wasabi", lab.wasabi_bucket())] {
        let shown = sizes(&status, Some(tier));
        let (there, _) = stored(&bucket).await;
        assert!(shown[0] > 0 && shown[0] < shown[1], "{tier}: {shown:?}");
        assert!(shown.iter().sum::<u64>() <= there, "{tier}: {shown:?} of {there}");
        for command in ["streams", "verify"] {
            let again = sizes(&lab.manager.json(&[command, "--from", tier]), None);
            assert_eq!(again, shown, "{command} --from {tier}");
        }
    }
    for command in ["status", "streams", "verify"] {
        let output = lab.manager.run(&[command]);
        let table = String::from_utf8(output.stdout).unwrap();
        assert!(!table.contains(" 0 B "), "{table}");
    }
}
