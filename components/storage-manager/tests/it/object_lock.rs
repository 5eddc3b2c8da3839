//! Objects that the service lets nothing delete for a while.

use std::path::Path;
use std::process::Command;

use serde_json::json;

use crate::support::{Lab, SECRET, USER, bucket_at, keys, required_tool};

/// Runs MinIO's client; whether it succeeded, and what it said.
fn mc(dir: &Path, url: &str, arguments: &[&str]) -> (bool, String) {
    let ran = Command::new(required_tool("bin/mc"))
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
    bucket_at(url, "locked")
}

/// A lab whose storage manager locks what it writes.
async fn lab_with_locks() -> Lab {
    Lab::with()
        .own_nas()
        .layout("journal")
        .s3("object_lock = { mode = \"governance\", days = 3 }\n")
        .settings(
            "[segment]\nflush_age = \"20ms\"\nflush_size = \"4KiB\"\n[collect]\ngrace = \"1s\"\n",
        )
        .start()
        .await
}

#[tokio::test(flavor = "multi_thread")]
async fn each_object_is_locked_and_the_archive_goes_on() {
    let mut lab = lab_with_locks().await;
    let locked = with_lock(lab.dir(), &lab.nas.url);
    lab.nats.create("S", json!({})).await;
    lab.configure(|settings| settings.bucket = "locked".into());
    let checked = lab.manager.run(&["check"]);
    assert!(checked.status.success(), "{}", String::from_utf8_lossy(&checked.stderr));
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 40).await;
    lab.manager.reaches("S", "nas", 40).await;
    daemon.stop().await;
    lab.manager.json(&["verify"]);
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
    let (removed, said) = mc(lab.dir(), &lab.nas.url, &["rm", "--versions", "--force", &its]);
    assert!(!removed && said.contains("WORM protected"), "{said}");
    lab.manager.json(&["verify"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bucket_without_locks_is_told_before_anything_is_written() {
    let lab = lab_with_locks().await;
    let (status, error) = lab.manager.error(&["check"]);
    assert_eq!(status, 2, "{error}");
    assert!(error.contains("bucket `archive` has no object lock"), "{error}");
    assert!(keys(&lab.bucket(), "v").await.is_empty());
}
