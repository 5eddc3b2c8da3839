//! `copy`: an archive moves from one service to another.

use cim_core::archive::ArchiveKey;
use cim_fake_wasabi::{FakeWasabi, Fault, Rule};
use serde_json::{Value, json};

use crate::support::{Host, Lab, Manager, fake_s3, fingerprint};

const SOON: &str =
    "[segment]\nflush_age = \"30ms\"\n[seal]\ninterval = \"200ms\"\n[collect]\ngrace = \"1s\"\n";

fn to(new: &Manager) -> String {
    new.config().to_str().unwrap().to_owned()
}

/// An archive of two streams on a NAS, nothing that writes to it, and the NAS that it is to move to.
struct Archived {
    lab: Lab<FakeWasabi>,
    new_nas: FakeWasabi,
    new: Manager,
}

impl Archived {
    /// Entries enough that one of them is in the middle.
    async fn start() -> Self {
        let lab = Lab::with().faulty_nas().settings(SOON).start().await;
        let new_nas = fake_s3(lab.dir(), "new").await;
        let new = lab.manager_with("new", |settings| settings.nas = new_nas.s3_url());
        let daemon = lab.manager.tier().await;
        for stream in ["S", "T"] {
            lab.nats.create(stream, json!({})).await;
            for seq in [5, 10, 15, 20] {
                lab.nats.publish(stream, 5).await;
                lab.manager.reaches(stream, "nas", seq).await;
            }
        }
        daemon.stop().await;
        Self { lab, new_nas, new }
    }

    fn old(&self) -> &Manager {
        &self.lab.manager
    }

    fn copy(&self) -> Value {
        self.old().json(&["copy", "--to", &to(&self.new)])
    }

    /// Both hold the same.
    fn is_copied(&self) {
        let [before, after] = [self.old(), &self.new].map(|manager| manager.json(&["verify"]));
        assert_eq!(before["streams"], after["streams"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_archive_moves_while_tiering_goes_on() {
    let mut lab = Lab::with().own_nas().wasabi().settings(SOON).start().await;
    let new_nas = fake_s3(lab.dir(), "new").await;
    lab.nats.create("S", json!({})).await;
    let new = lab.manager_with("new", |settings| {
        (settings.nas, settings.bucket) = (new_nas.s3_url(), "archive".into());
    });
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 50).await;
    lab.manager.reaches("S", "nas", 50).await;
    let mut published = 50;
    for _ in 0..6 {
        lab.nats.publish("S", 50).await;
        published += 50;
        // Behind or not, what it says of that is a status of its own.
        let output = lab.manager.run(&["copy", "--to", &to(&new), "--json"]);
        let status = output.status.code();
        assert!(matches!(status, Some(0 | 8)), "{}", String::from_utf8_lossy(&output.stderr));
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["behind"], status == Some(8), "{report}");
    }
    lab.manager.reaches("S", "nas", published).await;
    daemon.stop().await;
    let report = lab.manager.json(&["copy", "--to", &to(&new)]);
    assert!(report["there"].as_u64() > Some(0), "what was there is not copied again: {report}");
    let again = lab.manager.json(&["copy", "--to", &to(&new)]);
    assert_eq!((&again["objects"], &again["behind"]), (&json!(0), &json!(false)), "{again}");
    let [before, after] = [&lab.manager, &new].map(|manager| manager.json(&["verify"]));
    assert_eq!(before["streams"], after["streams"]);
    // The old NAS is given away, and tiering goes on with the new one.
    lab.nas.kill();
    let daemon = new.tier().await;
    lab.nats.publish("S", 20).await;
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
    let before = fingerprint(&lab.nats, "S").await;
    lab.configure(|settings| settings.nas = new_nas.s3_url());
    let Host { nats: other, manager: host } = lab.host("other").await;
    host.json(&["restore", "--all", "--no-fallback"]);
    assert_eq!(fingerprint(&other, "S").await["all"], before["all"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_copy_is_no_archive_and_the_next_run_goes_on_with_it() {
    let archived = Archived::start().await;
    let plan = archived.old().json(&["copy", "--to", &to(&archived.new), "--dry-run"]);
    assert!(plan["objects"].as_u64() > Some(5), "{plan}");
    let (status, error) = archived.new.error(&["streams"]);
    assert_eq!(status, 7, "a dry run writes nothing: {error}");
    // The new service fails in the middle: so many are copied, and the next is refused.
    let full = Rule { skip: Some(3), ..Rule::new(Fault::Full).operation("PutObject").keys("v2/*") };
    archived.new_nas.set_faults(vec![full]).unwrap();
    let (status, error) = archived.old().error(&["copy", "--to", &to(&archived.new)]);
    assert_eq!(status, 4, "{error}");
    assert!(error.starts_with("error: the new bucket cannot be used: NAS: put `v2/"), "{error}");
    archived.new_nas.set_faults(Vec::new()).unwrap();
    // It is not taken for a shorter archive.
    let (status, error) = archived.new.error(&["restore", "--all"]);
    assert_eq!(status, 5, "{error}");
    let (status, error) = archived.new.error(&["tier"]);
    assert_eq!(status, 5, "{error}");
    let report = archived.copy();
    assert_eq!(report["there"], 3, "{report}");
    assert_eq!(report["objects"], plan["objects"].as_u64().unwrap() - 3, "{report}");
    archived.is_copied();
}

#[tokio::test(flavor = "multi_thread")]
async fn another_archive_is_not_written_to() {
    let archived = Archived::start().await;
    // An archive of another host, in a journal of the same name.
    let Host { nats: other, manager: _ } = archived.lab.host("other").await;
    other.create("S", json!({})).await;
    other.publish("S", 5).await;
    let theirs = archived.lab.manager_with("theirs", |settings| {
        (settings.nats, settings.nas) = (other.url.clone(), archived.new_nas.s3_url());
    });
    let daemon = theirs.tier().await;
    theirs.reaches("S", "nas", 5).await;
    daemon.stop().await;
    let before = theirs.json(&["verify"]);
    let (status, error) = archived.old().error(&["copy", "--to", &to(&archived.new)]);
    assert_eq!(status, 6, "{error}");
    assert!(
        error.contains("the new bucket holds another archive: its `v2/journal/main/"),
        "{error}"
    );
    assert_eq!(theirs.json(&["verify"]), before);
    // The same bucket, by whatever name.
    let (status, error) = archived.old().error(&["copy", "--to", &to(archived.old())]);
    assert_eq!(status, 2, "{error}");
    assert!(error.contains("both configurations mean the same bucket, `archive`"), "{error}");
    // One that went on by itself: another run of `copy` would lose what it has.
    let moved = fake_s3(archived.lab.dir(), "moved").await;
    let ahead = archived.lab.manager_with("ahead", |settings| settings.nas = moved.s3_url());
    archived.old().json(&["copy", "--to", &to(&ahead)]);
    let daemon = ahead.tier().await;
    archived.lab.nats.publish("S", 5).await;
    ahead.reaches("S", "nas", 25).await;
    daemon.stop().await;
    let (status, error) = archived.old().error(&["copy", "--to", &to(&ahead)]);
    assert_eq!(status, 6, "{error}");
    assert!(error.contains("a storage manager has gone on with it"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_damaged_is_named_and_left_out() {
    let archived = Archived::start().await;
    let nas = archived.lab.store();
    let entries = nas.list("v2/journal/main/entries/", false).await.unwrap();
    let key = ArchiveKey::parse(&entries[entries.len() / 2].key).unwrap();
    let good = nas.get(&key.to_string()).await.unwrap();
    let mut rotten = good.to_vec();
    // Among its messages: what it decides is whole.
    rotten[100] ^= 1;
    nas.put(&key, rotten.into()).await.unwrap();
    let (status, error) = archived.old().error(&["copy", "--to", &to(&archived.new)]);
    assert_eq!(status, 5, "{error}");
    assert!(error.contains("of what was to be copied is damaged and was left out"), "{error}");
    let output = archived.old().run(&["copy", "--to", &to(&archived.new), "--json"]);
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["damaged"][0]["key"], key.to_string(), "{report}");
    // It was healed.
    nas.put(&key, good).await.unwrap();
    assert_eq!(archived.copy()["objects"], 1);
    archived.is_copied();
}
