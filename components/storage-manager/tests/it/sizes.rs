//! Sizes that are shown: of what streams share each has its part, and all of them are no more than what lies there.

use serde_json::{Value, json};

use crate::bad_input::bucket;
use crate::support::{Manager, Minio, Nats, Settings, fake_s3, wait_until};

const STREAMS: [&str; 3] = ["QUIET", "B", "C"];

/// Bytes and keys of the objects of a bucket that hold messages.
async fn stored(s3: &str) -> (u64, Vec<String>) {
    let (mut bytes, mut keys) = (0, Vec::new());
    for page in bucket(s3).list(String::new(), None).await.unwrap() {
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
    let dir = tempfile::tempdir().unwrap();
    let nas = Minio::start(dir.path()).await;
    let wasabi = fake_s3(dir.path(), "wasabi").await;
    let nats = Nats::start(&dir.path().join("host")).await;
    for stream in STREAMS {
        nats.create(stream, json!({})).await;
    }
    let mut settings = Settings::new(&nats.url, &nas.url);
    settings.layout = "journal".into();
    settings.wasabi = Some(wasabi.s3_url());
    settings.more =
        "[segment]\nflush_age = \"20ms\"\n[seal]\ninterval = \"100ms\"\n[collect]\ngrace = \"1h\"\n"
            .into();
    let manager = Manager::new(dir.path(), "host", &settings);
    let daemon = manager.tier().await;
    wait_until("some of it was merged, some of it was not", async || {
        for stream in STREAMS {
            nats.publish(stream, if stream == "QUIET" { 1 } else { 30 }).await;
        }
        let (_, keys) = stored(&nas.url).await;
        let merged = keys.iter().any(|key| key.contains("/shared/"));
        if merged { Ok(()) } else { Err(format!("{} objects", keys.len())) }
    })
    .await;
    for stream in STREAMS {
        nats.publish(stream, 1).await;
        let last = nats.last_seq(stream).await;
        manager.reaches(stream, "nas", last).await;
        manager.reaches(stream, "wasabi", last).await;
    }
    daemon.stop().await;
    let status = manager.json(&["status"]);
    for (tier, s3) in [("nas", &nas.url), ("wasabi", &wasabi.s3_url())] {
        let shown = sizes(&status, Some(tier));
        let (there, _) = stored(s3).await;
        assert!(shown[0] > 0 && shown[0] < shown[1], "{tier}: {shown:?}");
        assert!(shown.iter().sum::<u64>() <= there, "{tier}: {shown:?} of {there}");
        for command in ["streams", "verify"] {
            let again = sizes(&manager.json(&[command, "--from", tier]), None);
            assert_eq!(again, shown, "{command} --from {tier}");
        }
    }
    for command in ["status", "streams", "verify"] {
        let output = manager.run(&[command]);
        let table = String::from_utf8(output.stdout).unwrap();
        assert!(!table.contains(" 0 B "), "{table}");
    }
}
