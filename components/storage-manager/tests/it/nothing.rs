//! A bucket without an archive: to have found nothing is no success.

use serde_json::json;

use crate::support::{Lab, fake_s3};

const ASKED: [&[&str]; 4] =
    [&["streams"], &["verify"], &["restore", "--all"], &["restore", "--all", "--dry-run"]];

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_bucket_is_no_success() {
    let lab = Lab::with()
        .faulty_nas()
        .wasabi()
        .settings("[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"200ms\"\n")
        .start()
        .await;
    let empty = fake_s3(lab.dir(), "empty").await;
    for asked in ASKED {
        let (status, error) = lab.manager.error(asked);
        assert_eq!(status, 7, "{asked:?}: {error}");
        let says = "error: NAS holds no archive in bucket `archive`; Wasabi holds none either";
        assert_eq!(error, says, "{asked:?}");
    }
    let daemon = lab.manager.tier().await;
    for stream in ["S", "T"] {
        lab.nats.create(stream, json!({})).await;
        lab.nats.publish(stream, 3).await;
        lab.manager.reaches(stream, "wasabi", 3).await;
    }
    daemon.stop().await;
    // The NAS has burned down, and a new one stands in its place.
    let replaced = lab.manager_with("replaced", |settings| settings.nas = empty.s3_url());
    for asked in ASKED {
        let (status, error) = replaced.error(asked);
        assert_eq!(status, 7, "{asked:?}: {error}");
        assert!(error.ends_with("; Wasabi has 2 streams: `--from wasabi`"), "{asked:?}: {error}");
    }
    for asked in [&["restore", "S"][..], &["query", "S"]] {
        let (status, error) = replaced.error(asked);
        let says = "error: NAS has no archive of stream `S`; Wasabi has: `--from wasabi`";
        assert_eq!((status, error.as_str()), (7, says), "{asked:?}");
    }
    let alone = lab.manager_with("alone", |settings| {
        (settings.nas, settings.wasabi) = (empty.s3_url(), None);
    });
    let (status, error) = alone.error(&["streams"]);
    assert_eq!((status, error.as_str()), (7, "error: NAS holds no archive in bucket `archive`"));
    let (status, error) = lab.manager.error(&["verify", "S", "NOPE"]);
    assert_eq!(status, 2, "{error}");
    assert!(error.contains("NAS has no archive of stream `NOPE`"), "{error}");
}
