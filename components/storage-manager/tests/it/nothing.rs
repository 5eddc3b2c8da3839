//! A bucket without an archive: to have found nothing is no success.

use serde_json::json;

use crate::support::{Manager, Nats, Settings, fake_s3};

const ASKED: [&[&str]; 4] =
    [&["streams"], &["verify"], &["restore", "--all"], &["restore", "--all", "--dry-run"]];

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_bucket_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let (nas, wasabi) = (fake_s3(path, "nas").await, fake_s3(path, "wasabi").await);
    let empty = fake_s3(path, "empty").await;
    let nats = Nats::start(&path.join("host")).await;
    let mut settings = Settings::new(&nats.url, &nas.s3_url());
    settings.wasabi = Some(wasabi.s3_url());
    settings.more = "[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"200ms\"\n".into();
    let manager = Manager::new(path, "host", &settings);
    for asked in ASKED {
        let (status, error) = manager.error(asked);
        assert_eq!(status, 7, "{asked:?}: {error}");
        let says = "error: nas holds no archive in bucket `archive`; wasabi holds none either";
        assert_eq!(error, says, "{asked:?}");
    }
    let daemon = manager.tier().await;
    for stream in ["S", "T"] {
        nats.create(stream, json!({})).await;
        nats.publish(stream, 3).await;
        manager.reaches(stream, "wasabi", 3).await;
    }
    daemon.stop().await;
    // The NAS has burned down, and a new one stands in its place.
    settings.nas = empty.s3_url();
    let replaced = Manager::new(path, "replaced", &settings);
    for asked in ASKED {
        let (status, error) = replaced.error(asked);
        assert_eq!(status, 7, "{asked:?}: {error}");
        assert!(error.ends_with("; wasabi has 2 streams: `--from wasabi`"), "{asked:?}: {error}");
    }
    for asked in [&["restore", "S"][..], &["query", "S"]] {
        let (status, error) = replaced.error(asked);
        let says = "error: nas has no archive of stream `S`; wasabi has: `--from wasabi`";
        assert_eq!((status, error.as_str()), (7, says), "{asked:?}");
    }
    settings.wasabi = None;
    let alone = Manager::new(path, "alone", &settings);
    let (status, error) = alone.error(&["streams"]);
    assert_eq!((status, error.as_str()), (7, "error: nas holds no archive in bucket `archive`"));
    let (status, error) = manager.error(&["verify", "S", "NOPE"]);
    assert_eq!(status, 2, "{error}");
    assert!(error.contains("nas has no archive of stream `NOPE`"), "{error}");
}
