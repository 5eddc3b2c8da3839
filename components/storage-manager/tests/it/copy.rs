//! `copy`: an archive moves from one service to another.

use std::path::Path;

use cim_core::archive::ArchiveKey;
use cim_fake_wasabi::{FakeWasabi, Fault, Rule};
use serde_json::{Value, json};

use crate::chain::store;
use crate::support::{Manager, Minio, Nats, Settings, fake_s3, fingerprint};

const SOON: &str =
    "[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"200ms\"\n[collect]\ngrace = \"1s\"\n";

fn settings(nats: &Nats, nas: &str, wasabi: &FakeWasabi) -> Settings {
    let mut settings = Settings::new(&nats.url, nas);
    settings.wasabi = Some(wasabi.s3_url());
    settings.more = SOON.into();
    settings
}

fn to(new: &Manager) -> String {
    new.config().to_str().unwrap().to_owned()
}

/// An archive of two streams on a NAS, and nothing that writes to it.
struct Archived {
    dir: tempfile::TempDir,
    nats: Nats,
    nas: FakeWasabi,
    new_nas: FakeWasabi,
    old: Manager,
    new: Manager,
}

impl Archived {
    /// Entries enough that one of them is in the middle.
    async fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path();
        let (nas, new_nas) = (fake_s3(path, "nas").await, fake_s3(path, "new").await);
        let nats = Nats::start(&path.join("host")).await;
        let named = |name: &str, url: &str| {
            let mut settings = Settings::new(&nats.url, url);
            settings.more = SOON.into();
            Manager::new(path, name, &settings)
        };
        let (old, new) = (named("old", &nas.s3_url()), named("new", &new_nas.s3_url()));
        let daemon = old.tier().await;
        for stream in ["S", "T"] {
            nats.create(stream, json!({})).await;
            for seq in [5, 10, 15, 20] {
                nats.publish(stream, 5).await;
                old.reaches(stream, "nas", seq).await;
            }
        }
        daemon.stop().await;
        Self { dir, nats, nas, new_nas, old, new }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn copy(&self) -> Value {
        self.old.json(&["copy", "--to", &to(&self.new)])
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_moves_while_tiering_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path();
    let (minio, wasabi) = (Minio::start(path).await, fake_s3(path, "wasabi").await);
    let new_nas = fake_s3(path, "new").await;
    let nats = Nats::start(&path.join("host")).await;
    nats.create("S", json!({})).await;
    let old = Manager::new(path, "old", &settings(&nats, &minio.url, &wasabi));
    let new = Manager::new(path, "new", &settings(&nats, &new_nas.s3_url(), &wasabi));
    let daemon = old.tier().await;
    nats.publish("S", 50).await;
    old.reaches("S", "nas", 50).await;
    let mut published = 50;
    for _ in 0..6 {
        nats.publish("S", 50).await;
        published += 50;
        // Behind or not, what it says of that is a status of its own.
        let output = old.run(&["copy", "--to", &to(&new), "--json"]);
        let status = output.status.code();
        assert!(matches!(status, Some(0 | 8)), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["behind"], status == Some(8), "{report}");
    }
    old.reaches("S", "nas", published).await;
    daemon.stop().await;
    let report = old.json(&["copy", "--to", &to(&new)]);
    assert!(report["there"].as_u64() > Some(0), "what was there is not copied again: {report}");
    let again = old.json(&["copy", "--to", &to(&new)]);
    assert_eq!((&again["objects"], &again["behind"]), (&json!(0), &json!(false)), "{again}");
    let [before, after] = [&old, &new].map(|manager| manager.json(&["verify"]));
    assert_eq!(before["streams"], after["streams"]);
    // The old NAS is given away, and tiering goes on with the new one.
    drop(minio);
    let daemon = new.tier().await;
    nats.publish("S", 20).await;
    new.reaches("S", "nas", published + 20).await;
    new.reaches("S", "wasabi", published + 20).await;
    daemon.stop().await;
    for tier in ["nas", "wasabi"] {
        let report = new.json(&["verify", "--from", tier]);
        assert_eq!(report["streams"][0]["messages"], published + 20, "{report}");
        assert_eq!(report["streams"][0]["problems"], json!([]), "{report}");
    }
    let held = new.json(&["streams"]);
    assert_eq!(held["streams"][0]["timelines"].as_array().unwrap().len(), 1, "{held}");
    let before = fingerprint(&nats, "S").await;
    let other = Nats::start(&path.join("other")).await;
    let host = Manager::new(path, "other", &settings(&other, &new_nas.s3_url(), &wasabi));
    host.json(&["restore", "--all", "--no-fallback"]);
    assert_eq!(fingerprint(&other, "S").await["all"], before["all"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_copy_is_no_archive_and_the_next_run_goes_on_with_it() {
    let lab = Archived::new().await;
    let plan = lab.old.json(&["copy", "--to", &to(&lab.new), "--dry-run"]);
    assert!(plan["objects"].as_u64() > Some(5), "{plan}");
    let (status, error) = lab.new.error(&["streams"]);
    assert_eq!(status, 7, "a dry run writes nothing: {error}");
    // The new service fails in the middle: so many are copied, and the next is refused.
    let full = Rule { skip: Some(3), ..Rule::new(Fault::Full).operation("PutObject").keys("v2/*") };
    lab.new_nas.set_faults(vec![full]).unwrap();
    let (status, error) = lab.old.error(&["copy", "--to", &to(&lab.new)]);
    assert_eq!(status, 4, "{error}");
    assert!(error.starts_with("error: the new bucket cannot be used: nas: put `v2/"), "{error}");
    lab.new_nas.set_faults(Vec::new()).unwrap();
    // It is not taken for a shorter archive.
    let (status, error) = lab.new.error(&["restore", "--all"]);
    assert_eq!(status, 5, "{error}");
    let (status, error) = lab.new.error(&["tier"]);
    assert_eq!(status, 5, "{error}");
    let report = lab.copy();
    assert_eq!(report["there"], 3, "{report}");
    assert_eq!(report["objects"], plan["objects"].as_u64().unwrap() - 3, "{report}");
    let [before, after] = [&lab.old, &lab.new].map(|manager| manager.json(&["verify"]));
    assert_eq!(before["streams"], after["streams"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_archive_is_not_written_to() {
    let lab = Archived::new().await;
    // An archive of another host, in a journal of the same name.
    let other = Nats::start(&lab.path().join("other")).await;
    other.create("S", json!({})).await;
    other.publish("S", 5).await;
    let mut settings = Settings::new(&other.url, &lab.new_nas.s3_url());
    settings.more = SOON.into();
    let theirs = Manager::new(lab.path(), "theirs", &settings);
    let daemon = theirs.tier().await;
    theirs.reaches("S", "nas", 5).await;
    daemon.stop().await;
    let before = theirs.json(&["verify"]);
    let (status, error) = lab.old.error(&["copy", "--to", &to(&lab.new)]);
    assert_eq!(status, 6, "{error}");
    assert!(
        error.contains("the new bucket holds another archive: its `v2/journal/main/"),
        "{error}"
    );
    assert_eq!(theirs.json(&["verify"]), before);
    // The same bucket, by whatever name.
    let (status, error) = lab.old.error(&["copy", "--to", &to(&lab.old)]);
    assert_eq!(status, 2, "{error}");
    assert!(error.contains("both configurations mean the same bucket, `archive`"), "{error}");
    // One that went on by itself: another run of `copy` would lose what it has.
    let moved = fake_s3(lab.path(), "moved").await;
    let mut settings = Settings::new(&lab.nats.url, &moved.s3_url());
    settings.more = SOON.into();
    let ahead = Manager::new(lab.path(), "ahead", &settings);
    lab.old.json(&["copy", "--to", &to(&ahead)]);
    let daemon = ahead.tier().await;
    lab.nats.publish("S", 5).await;
    ahead.reaches("S", "nas", 25).await;
    daemon.stop().await;
    let (status, error) = lab.old.error(&["copy", "--to", &to(&ahead)]);
    assert_eq!(status, 6, "{error}");
    assert!(error.contains("a storage manager has gone on with it"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_named_and_left_out() {
    let lab = Archived::new().await;
    let nas = store(lab.path(), &lab.nas.s3_url());
    let entries = nas.list("v2/journal/main/entries/", false).await.unwrap();
    let key = ArchiveKey::parse(&entries[entries.len() / 2].key).unwrap();
    let good = nas.get(&key.to_string()).await.unwrap();
    let mut rotten = good.to_vec();
    // Among its messages: what it decides is whole.
    rotten[100] ^= 1;
    nas.put(&key, rotten.into()).await.unwrap();
    let (status, error) = lab.old.error(&["copy", "--to", &to(&lab.new)]);
    assert_eq!(status, 5, "{error}");
    assert!(error.contains("of what was to be copied is damaged and was left out"), "{error}");
    let output = lab.old.run(&["copy", "--to", &to(&lab.new), "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["damaged"][0]["key"], key.to_string(), "{report}");
    // It was healed.
    nas.put(&key, good).await.unwrap();
    assert_eq!(lab.copy()["objects"], 1);
    let [before, after] = [&lab.old, &lab.new].map(|manager| manager.json(&["verify"]));
    assert_eq!(before["streams"], after["streams"]);
}
