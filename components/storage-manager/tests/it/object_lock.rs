//! Objects that the service lets nothing delete for a while.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::bad_input::{bucket, keys};
use crate::support::{Manager, Minio, Nats, SECRET, Settings, USER, tool};

/// Runs MinIO's client; whether it succeeded, and what it said.
fn mc(dir: &Path, url: &str, arguments: &[&str]) -> (bool, String) {
    let ran = Command::new(tool("bin/mc"))
        .arg("--config-dir")
        .arg(dir.join("mc"))
        .args(arguments)
        .env("MC_HOST_lab", url.replace("http://", &format!("http://{USER}:{SECRET}@")))
        .output()
        .unwrap();
    (ran.status.success(), String::from_utf8_lossy(&ran.stderr).into_owned())
}

/// A bucket `locked` that knows locks.
fn with_lock(dir: &Path, url: &str) -> Box<s3::Bucket> {
    let (made, said) = mc(dir, url, &["mb", "--with-lock", "lab/locked"]);
    assert!(made, "{said}");
    let credentials =
        s3::creds::Credentials::new(Some(USER), Some(SECRET), None, None, None).unwrap();
    let region = s3::Region::Custom { region: "us-east-1".into(), endpoint: url.into() };
    s3::Bucket::new("locked", region, credentials).unwrap().with_path_style()
}

fn settings(nats: &Nats, minio: &Minio, bucket: &str) -> Settings {
    let mut settings = Settings::new(&nats.url, &minio.url);
    settings.layout = "journal".into();
    settings.bucket = bucket.into();
    settings.s3 = "object_lock = { mode = \"governance\", days = 3 }\n".into();
    settings.more =
        "[segment]\nflush_age = \"20ms\"\nflush_size = \"4KiB\"\n[collect]\ngrace = \"1s\"\n"
            .into();
    settings
}

#[tokio::test(flavor = "multi_thread")]
async fn each_object_is_locked_and_the_archive_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let (minio, nats) =
        (Minio::start(dir.path()).await, Nats::start(&dir.path().join("host")).await);
    let locked = with_lock(dir.path(), &minio.url);
    nats.create("S", json!({})).await;
    let manager = Manager::new(dir.path(), "host", &settings(&nats, &minio, "locked"));
    let checked = manager.run(&["check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let daemon = manager.tier().await;
    nats.publish("S", 40).await;
    manager.reaches("S", "nas", 40).await;
    daemon.stop().await;
    manager.json(&["verify"]);
    let key = keys(&locked, "v2/journal/main/entries/").await.pop().unwrap();
    let (head, _) = locked.head_object(&key).await.unwrap();
    assert_eq!(head.object_lock_mode.as_deref(), Some("GOVERNANCE"), "{key}");
    let until: jiff::Timestamp =
        head.object_lock_retain_until_date.as_deref().unwrap().parse().unwrap();
    let hours = until.duration_since(jiff::Timestamp::now()).as_hours();
    assert!((70..=72).contains(&hours), "{key}: {hours} h");
    // What was only tried out is not there any more, and the rest cannot be removed.
    assert!(keys(&locked, "v1/probe/").await.is_empty());
    let its = format!("lab/locked/{key}");
    let (removed, said) = mc(dir.path(), &minio.url, &["rm", "--versions", "--force", &its]);
    assert!(!removed && said.contains("WORM protected"), "{said}");
    manager.json(&["verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_locks_is_told_before_anything_is_written() {
    let dir = tempfile::tempdir().unwrap();
    let (minio, nats) =
        (Minio::start(dir.path()).await, Nats::start(&dir.path().join("host")).await);
    let manager = Manager::new(dir.path(), "host", &settings(&nats, &minio, "archive"));
    let (status, error) = manager.error(&["check"]);
    assert_eq!(status, 2, "{error}");
    assert!(error.contains("bucket `archive` has no object lock"), "{error}");
    assert!(keys(&bucket(&minio.url), "v").await.is_empty());
}
