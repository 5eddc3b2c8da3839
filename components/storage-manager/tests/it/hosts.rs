//! Hosts that archive into one bucket and have a stream of the same name: what the archive has of one of them never
//! goes on with another one's messages.

use std::path::Path;

use serde_json::{Value, json};

use crate::support::{
    Cluster, Daemon, Manager, Minio, Nats, Settings, Version, fake_s3, fingerprint, wait_until,
};

/// A host whose server has a name.
async fn host(dir: &Path, name: &str) -> Nats {
    Nats::start_with(&dir.join(name), &format!("server_name: {name}")).await
}

/// Its manager, with keys of `[archive]`.
fn manager(dir: &Path, name: &str, nats: &Nats, minio: &Minio, archive: &str) -> Manager {
    let mut settings = Settings::new(&nats.url, &minio.url);
    settings.layout = "journal".into();
    settings.archive = archive.into();
    settings.more = "[segment]\nflush_age = \"20ms\"\n".into();
    Manager::new(dir, name, &settings)
}

async fn says(daemon: &Daemon, what: &str) {
    wait_until(&format!("the log says `{what}`"), async || {
        let log = daemon.log();
        if log.contains(what) { Ok(()) } else { Err(log) }
    })
    .await;
}

/// Returns the archive of the stream.
fn held(manager: &Manager) -> Value {
    let held = manager.json(&["streams"]);
    let streams = held["streams"].as_array().unwrap();
    streams.iter().find(|held| held["stream"] == "EVENTS").unwrap().clone()
}

async fn has_a_new_timeline(manager: &Manager) {
    wait_until("the archive has a new timeline", async || {
        let held = held(manager);
        let timelines = held["timelines"].as_array().unwrap();
        let whole = timelines.len() == 2 && timelines[1]["last_seq"] == 30;
        if whole { Ok(()) } else { Err(held.to_string()) }
    })
    .await;
}

/// A bucket that has a stream of host `a`, whose manager runs on.
struct Bucket {
    dir: tempfile::TempDir,
    minio: Minio,
    a: Nats,
    manager: Manager,
    daemon: Daemon,
    /// The stream, as `a` has it.
    before: Value,
}

impl Bucket {
    async fn of_a() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let minio = Minio::start(dir.path()).await;
        let a = host(dir.path(), "a").await;
        let manager = manager(dir.path(), "a", &a, &minio, "");
        a.create("EVENTS", json!({ "description": "of a" })).await;
        a.publish("EVENTS", 20).await;
        let daemon = manager.tier().await;
        manager.reaches("EVENTS", "nas", 20).await;
        let before = fingerprint(&a, "EVENTS").await;
        Self { dir, minio, a, manager, daemon, before }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn manager(&self, name: &str, nats: &Nats, archive: &str) -> Manager {
        manager(self.path(), name, nats, &self.minio, archive)
    }

    /// Nothing but `a`'s messages comes back, on a host that has none.
    async fn has_what_a_has(&self) {
        self.manager.json(&["verify"]);
        assert_eq!(held(&self.manager)["timelines"].as_array().unwrap().len(), 1);
        let c = host(self.path(), "c").await;
        self.manager("c", &c, "").json(&["restore", "EVENTS"]);
        assert_eq!(fingerprint(&c, "EVENTS").await, self.before);
    }
}

const BOTH: &str = " from `a`, account `$G`, and this is `b`, account `$G`, with other messages";

/// Host `b` has a stream of its own under the name: it is refused, and `b`'s other one is archived.
async fn is_refused(archive: &str, found: &str) {
    let bucket = Bucket::of_a().await;
    let b = host(bucket.path(), "b").await;
    b.create("EVENTS", json!({})).await;
    b.create("OTHER", json!({})).await;
    let manager = bucket.manager("b", &b, archive);
    let daemon = manager.tier().await;
    b.publish("OTHER", 5).await;
    manager.reaches("OTHER", "nas", 5).await;
    b.publish("EVENTS", 30).await;
    let said = format!("stream `EVENTS`: {found}{BOTH}: it is not archived");
    says(&daemon, &said).await;
    let status = manager.json(&["status"]);
    let found = status["streams"].as_array().unwrap();
    let events = found.iter().find(|stream| stream["stream"] == "EVENTS").unwrap();
    assert!(events["refused"].as_str().unwrap().contains(&said), "{events}");
    let (timeline, lag) = (&events["nas"]["timeline"], &events["nas"]["lag_events"]);
    assert_eq!((timeline, lag, &events["last_seq"]), (&Value::Null, &json!(30), &json!(30)));
    let shown = manager.run(&["status"]);
    assert!(String::from_utf8_lossy(&shown.stderr).contains(&said), "{shown:?}");

    // Both go on, with what is theirs.
    bucket.a.publish("EVENTS", 5).await;
    bucket.manager.reaches("EVENTS", "nas", 25).await;
    b.publish("OTHER", 5).await;
    manager.reaches("OTHER", "nas", 10).await;
    let before = fingerprint(&bucket.a, "EVENTS").await;
    let bucket = Bucket { before, ..bucket };
    bucket.has_what_a_has().await;
    // However often it was looked at.
    assert_eq!(daemon.log().matches(&said).count(), 1, "{}", daemon.log());
    daemon.stop().await;
    bucket.daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_the_same_name_is_refused_in_one_journal() {
    is_refused("", "the archive has it").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_of_the_same_name_is_refused_in_another_journal() {
    is_refused("journal = \"b\"\n", "journal `main` of this bucket has it").await;
}

/// An empty stream that another journal began would be what a restore brings back.
#[tokio::test(flavor = "multi_thread")]
async fn an_empty_stream_in_another_journal_hides_nothing() {
    let bucket = Bucket::of_a().await;
    let b = host(bucket.path(), "b").await;
    b.create("EVENTS", json!({})).await;
    let daemon = bucket.manager("b", &b, "journal = \"b\"\n").tier().await;
    says(&daemon, BOTH).await;
    bucket.has_what_a_has().await;
    daemon.stop().await;
    bucket.daemon.stop().await;
}

/// The host that has the stream now was lost, and this one takes its place, with messages of its own.
#[tokio::test(flavor = "multi_thread")]
async fn who_succeeds_another_host_goes_on_in_a_new_timeline() {
    let bucket = Bucket::of_a().await;
    bucket.daemon.kill();
    let b = host(bucket.dir.path(), "b").await;
    b.create("EVENTS", json!({})).await;
    b.publish("EVENTS", 30).await;
    let named = manager(bucket.dir.path(), "b", &b, &bucket.minio, "succeeds = [\"x\", \"a\"]\n");
    let daemon = named.tier().await;
    named.reaches("EVENTS", "nas", 30).await;
    has_a_new_timeline(&named).await;
    daemon.stop().await;
    let found = held(&named);
    assert_eq!(found["served"], json!({ "name": "b", "account": "$G" }));
    assert_eq!(found["timelines"][1]["reason"], "recreated");
    let c = host(bucket.dir.path(), "c").await;
    let manager = manager(bucket.dir.path(), "c", &c, &bucket.minio, "");
    manager.json(&["restore", "EVENTS"]);
    assert_eq!(fingerprint(&c, "EVENTS").await, fingerprint(&b, "EVENTS").await);
    c.api("STREAM.DELETE.EVENTS", Value::Null).await;
    manager.json(&["restore", "EVENTS", "--timeline", "1"]);
    assert_eq!(fingerprint(&c, "EVENTS").await, bucket.before);
}

/// A new server has a new name, and what was restored goes on: in the journal that it is from, or in one of the new
/// host's.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_restored_on_another_server_goes_on() {
    let bucket = Bucket::of_a().await;
    let path = bucket.dir.path();
    bucket.daemon.kill();
    drop(bucket.a);
    for (name, archive, last) in [("b", "", 25), ("c", "journal = \"c\"\n", 30)] {
        let nats = host(path, name).await;
        let manager = manager(path, name, &nats, &bucket.minio, archive);
        manager.json(&["restore", "EVENTS"]);
        let daemon = manager.tier().await;
        nats.publish("EVENTS", 5).await;
        manager.reaches("EVENTS", "nas", last).await;
        daemon.stop().await;
        let held = held(&manager);
        assert_eq!(held["timelines"].as_array().unwrap().len(), 1, "{held}");
        assert_eq!(held["served"], json!({ "name": name, "account": "$G" }));
        let before = fingerprint(&nats, "EVENTS").await;
        nats.api("STREAM.DELETE.EVENTS", Value::Null).await;
        manager.json(&["restore", "EVENTS"]);
        assert_eq!(fingerprint(&nats, "EVENTS").await, before);
    }
}

/// The same server is started again, and has deleted the stream and made another one: that is its own affair.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_made_again_on_the_same_server_forks() {
    let bucket = Bucket::of_a().await;
    bucket.daemon.stop().await;
    let a = bucket.a.crash_and_start().await;
    a.api("STREAM.DELETE.EVENTS", Value::Null).await;
    a.create("EVENTS", json!({})).await;
    a.publish("EVENTS", 30).await;
    let manager = manager(bucket.dir.path(), "a", &a, &bucket.minio, "");
    let daemon = manager.tier().await;
    has_a_new_timeline(&manager).await;
    daemon.stop().await;
}

/// A server without a name in its configuration has another one at each start: it is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_name_is_told_from_none() {
    let bucket = Bucket::of_a().await;
    bucket.daemon.stop().await;
    let b = Nats::start(&bucket.dir.path().join("b")).await;
    b.create("EVENTS", json!({})).await;
    b.publish("EVENTS", 30).await;
    let manager = manager(bucket.dir.path(), "b", &b, &bucket.minio, "");
    let daemon = manager.tier().await;
    manager.reaches("EVENTS", "nas", 30).await;
    daemon.stop().await;
    assert_eq!(held(&manager)["timelines"].as_array().unwrap().len(), 2);
}

/// It names itself in its greeting alone, and tells no account.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_is_known_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let named = "server_name: old";
    let Some(nats) = Nats::start_version_with(&dir.path().join("old"), Version::Old, named).await
    else {
        return;
    };
    nats.create("EVENTS", json!({})).await;
    nats.publish("EVENTS", 5).await;
    let manager = manager(dir.path(), "old", &nats, &minio, "");
    let daemon = manager.tier().await;
    manager.reaches("EVENTS", "nas", 5).await;
    daemon.stop().await;
    assert_eq!(held(&manager)["served"], json!({ "name": "old" }));
}

/// A new NAS takes over what Wasabi's journal says, and with it whose streams these are.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_wasabi_alone_has_is_refused_too() {
    let dir = tempfile::tempdir().unwrap();
    let wasabi = fake_s3(dir.path(), "wasabi").await;
    let settings = |nats: &Nats, nas: &Minio| Settings {
        wasabi: Some(wasabi.s3_url()),
        layout: "journal".into(),
        more: "[segment]\nflush_age = \"20ms\"\n[seal]\ninterval = \"200ms\"\n".into(),
        ..Settings::new(&nats.url, &nas.url)
    };
    let nas = Minio::start(&dir.path().join("old")).await;
    let a = host(dir.path(), "a").await;
    let manager = Manager::new(dir.path(), "a", &settings(&a, &nas));
    a.create("EVENTS", json!({})).await;
    a.publish("EVENTS", 20).await;
    let daemon = manager.tier().await;
    manager.reaches("EVENTS", "wasabi", 20).await;
    daemon.stop().await;
    let before = fingerprint(&a, "EVENTS").await;
    drop(nas);

    let nas = Minio::start(&dir.path().join("new")).await;
    let b = host(dir.path(), "b").await;
    let manager = Manager::new(dir.path(), "b", &settings(&b, &nas));
    b.create("EVENTS", json!({})).await;
    b.publish("EVENTS", 30).await;
    let daemon = manager.tier().await;
    says(&daemon, BOTH).await;
    b.api("STREAM.DELETE.EVENTS", Value::Null).await;
    manager.json(&["restore", "EVENTS"]);
    assert_eq!(fingerprint(&b, "EVENTS").await, before);
    // It is the other host's no more.
    b.publish("EVENTS", 5).await;
    manager.reaches("EVENTS", "nas", 25).await;
    manager.reaches("EVENTS", "wasabi", 25).await;
    daemon.stop().await;
    for tier in ["nas", "wasabi"] {
        let held = manager.json(&["streams", "--from", tier]);
        assert_eq!(held["streams"][0]["served"]["name"], "b", "{held}");
        assert_eq!(held["streams"][0]["timelines"].as_array().unwrap().len(), 1, "{held}");
    }
}

/// Two accounts of one server, each with a manager.
#[tokio::test(flavor = "multi_thread")]
async fn two_accounts_of_a_server_are_two_hosts() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let accounts = "server_name: one\nno_auth_user: a\naccounts {\n\
        A { jetstream: enabled, users: [{ user: a, password: a }] }\n\
        B { jetstream: enabled, users: [{ user: b, password: b }] }\n}";
    let a = Nats::start_with(&dir.path().join("one"), accounts).await;
    let b = a.log_in("b").await;
    for (nats, count) in [(&a, 20), (&b, 30)] {
        nats.create("EVENTS", json!({})).await;
        nats.publish("EVENTS", count).await;
    }
    let first = manager(dir.path(), "a", &a, &minio, "");
    let daemon = first.tier().await;
    first.reaches("EVENTS", "nas", 20).await;
    daemon.stop().await;
    let password = dir.path().join("password");
    std::fs::write(&password, "b").unwrap();
    let settings = Settings {
        layout: "journal".into(),
        login: format!("user = \"b\"\npassword_file = \"{}\"\n", password.display()),
        ..Settings::new(&b.url, &minio.url)
    };
    let daemon = Manager::new(dir.path(), "b", &settings).tier().await;
    says(&daemon, "has it from `one`, account `A`, and this is `one`, account `B`").await;
    daemon.stop().await;
    assert_eq!(held(&first)["timelines"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_a_user_may_not_ask_for_is_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let accounts = "server_name: one\nno_auth_user: a\naccounts { A { jetstream: enabled, users: [\n\
        { user: a, password: a, permissions: { publish: { deny: [\"$SYS.>\"] } } }\n] } }";
    let nats = Nats::start_with(&dir.path().join("one"), accounts).await;
    nats.create("EVENTS", json!({})).await;
    nats.publish("EVENTS", 5).await;
    let manager = manager(dir.path(), "a", &nats, &minio, "");
    let daemon = manager.tier().await;
    manager.reaches("EVENTS", "nas", 5).await;
    daemon.stop().await;
    assert_eq!(held(&manager)["served"], json!({ "name": "one" }));
}

/// Its servers come and go, and have names of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_known_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let minio = Minio::start(dir.path()).await;
    let cluster = Cluster::start(dir.path()).await;
    let nats = cluster.connect().await;
    cluster.create(&nats, "EVENTS", json!({ "num_replicas": 3 })).await;
    nats.publish("EVENTS", 5).await;
    let manager = manager(dir.path(), "n1", &nats, &minio, "");
    let daemon = manager.tier().await;
    manager.reaches("EVENTS", "nas", 5).await;
    daemon.stop().await;
    assert_eq!(held(&manager)["served"]["name"], "lab");
}
