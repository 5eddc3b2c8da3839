//! Hosts that archive into one bucket and have a stream of the same name: what the archive has of one of them never
//! goes on with another one's messages.

use serde_json::{Value, json};

use crate::support::{
    Builder, Daemon, Host, Lab, Manager, Minio, Nats, Version, fingerprint, login, wait_until,
};

/// A lab whose host has this server's configuration.
fn lab(server: &str) -> Builder<Minio> {
    let often = "[segment]\nflush_age = \"20ms\"\n";
    Lab::with().server(server).layout("journal").settings(often)
}

/// Another host, whose server has this name and whose manager these keys of `[archive]`.
async fn host(lab: &Lab, name: &str, archive: &str) -> Host {
    let nats = Nats::start_with(&lab.path(name), &format!("server_name: {name}")).await;
    let manager = lab.manager_with(name, |settings| {
        (settings.nats, settings.archive) = (nats.url.clone(), archive.into());
    });
    Host { nats, manager }
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

/// A lab that has archived a stream of host `a`, whose manager runs on.
struct OfA {
    lab: Lab,
    daemon: Daemon,
    /// The stream, as `a` has it.
    before: Value,
}

impl OfA {
    async fn start() -> Self {
        let lab = lab("server_name: a").start().await;
        lab.nats.create("EVENTS", json!({ "description": "of a" })).await;
        lab.nats.publish("EVENTS", 20).await;
        let daemon = lab.manager.tier().await;
        lab.manager.reaches("EVENTS", "nas", 20).await;
        let before = fingerprint(&lab.nats, "EVENTS").await;
        Self { lab, daemon, before }
    }

    /// Nothing but `a`'s messages comes back, on a host that has none.
    async fn has_what_a_has(&self) {
        self.lab.manager.json(&["verify"]);
        assert_eq!(held(&self.lab.manager)["timelines"].as_array().unwrap().len(), 1);
        let c = host(&self.lab, "c", "").await;
        c.manager.json(&["restore", "EVENTS"]);
        assert_eq!(fingerprint(&c.nats, "EVENTS").await, self.before);
    }
}

const BOTH: &str = " from `a`, account `$G`, and this is `b`, account `$G`, with other messages";

/// Host `b` has a stream of its own under the name: it is refused, and `b`'s other one is archived.
async fn is_refused(archive: &str, found: &str) {
    let of_a = OfA::start().await;
    let Host { nats: b, manager } = host(&of_a.lab, "b", archive).await;
    b.create("EVENTS", json!({})).await;
    b.create("OTHER", json!({})).await;
    let daemon = manager.tier().await;
    b.publish("OTHER", 5).await;
    manager.reaches("OTHER", "nas", 5).await;
    b.publish("EVENTS", 30).await;
    let said = format!("stream `EVENTS`: {found}{BOTH}: it is not archived");
    daemon.says(&said).await;
    let status = manager.json(&["status"]);
    let found = status["streams"].as_array().unwrap();
    let events = found.iter().find(|stream| stream["stream"] == "EVENTS").unwrap();
    assert!(events["refused"].as_str().unwrap().contains(&said), "{events}");
    let (timeline, lag) = (&events["nas"]["timeline"], &events["nas"]["lag_events"]);
    assert_eq!((timeline, lag, &events["last_seq"]), (&Value::Null, &json!(30), &json!(30)));
    let shown = manager.run(&["status"]);
    assert!(String::from_utf8_lossy(&shown.stderr).contains(&said), "{shown:?}");

    // Both go on, with what is theirs.
    of_a.lab.nats.publish("EVENTS", 5).await;
    of_a.lab.manager.reaches("EVENTS", "nas", 25).await;
    b.publish("OTHER", 5).await;
    manager.reaches("OTHER", "nas", 10).await;
    let before = fingerprint(&of_a.lab.nats, "EVENTS").await;
    let of_a = OfA { before, ..of_a };
    of_a.has_what_a_has().await;
    // However often it was looked at.
    assert_eq!(daemon.log().matches(&said).count(), 1, "{}", daemon.log());
    daemon.stop().await;
    of_a.daemon.stop().await;
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
    let of_a = OfA::start().await;
    let b = host(&of_a.lab, "b", "journal = \"b\"\n").await;
    b.nats.create("EVENTS", json!({})).await;
    let daemon = b.manager.tier().await;
    daemon.says(BOTH).await;
    of_a.has_what_a_has().await;
    daemon.stop().await;
    of_a.daemon.stop().await;
}

/// The host that has the stream now was lost, and this one takes its place, with messages of its own.
#[tokio::test(flavor = "multi_thread")]
async fn who_succeeds_another_host_goes_on_in_a_new_timeline() {
    let of_a = OfA::start().await;
    of_a.daemon.kill();
    let succeeds = "succeeds = [\"x\", \"a\"]\n";
    let Host { nats: b, manager: named } = host(&of_a.lab, "b", succeeds).await;
    b.create("EVENTS", json!({})).await;
    b.publish("EVENTS", 30).await;
    let daemon = named.tier().await;
    named.reaches("EVENTS", "nas", 30).await;
    has_a_new_timeline(&named).await;
    daemon.stop().await;
    let found = held(&named);
    assert_eq!(found["served"], json!({ "name": "b", "account": "$G" }));
    assert_eq!(found["timelines"][1]["reason"], "recreated");
    let Host { nats: c, manager } = host(&of_a.lab, "c", "").await;
    manager.json(&["restore", "EVENTS"]);
    assert_eq!(fingerprint(&c, "EVENTS").await, fingerprint(&b, "EVENTS").await);
    c.delete_stream("EVENTS").await;
    manager.json(&["restore", "EVENTS", "--timeline", "1"]);
    assert_eq!(fingerprint(&c, "EVENTS").await, of_a.before);
}

/// A new server has a new name, and what was restored goes on: in the journal that it is from, or in one of the new
/// host's.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_restored_on_another_server_goes_on() {
    let of_a = OfA::start().await;
    let OfA { mut lab, daemon, .. } = of_a;
    daemon.kill();
    lab.nats.kill();
    for (name, archive, last) in [("b", "", 25), ("c", "journal = \"c\"\n", 30)] {
        let Host { nats, manager } = host(&lab, name, archive).await;
        manager.json(&["restore", "EVENTS"]);
        let daemon = manager.tier().await;
        nats.publish("EVENTS", 5).await;
        manager.reaches("EVENTS", "nas", last).await;
        daemon.stop().await;
        let held = held(&manager);
        assert_eq!(held["timelines"].as_array().unwrap().len(), 1, "{held}");
        assert_eq!(held["served"], json!({ "name": name, "account": "$G" }));
        let before = fingerprint(&nats, "EVENTS").await;
        nats.delete_stream("EVENTS").await;
        manager.json(&["restore", "EVENTS"]);
        assert_eq!(fingerprint(&nats, "EVENTS").await, before);
    }
}

/// The same server is started again, and has deleted the stream and made another one: that is its own affair.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_made_again_on_the_same_server_forks() {
    let of_a = OfA::start().await;
    let OfA { mut lab, daemon, .. } = of_a;
    daemon.stop().await;
    lab.nats.crash_and_start().await;
    let a = &lab.nats;
    a.delete_stream("EVENTS").await;
    a.create("EVENTS", json!({})).await;
    a.publish("EVENTS", 30).await;
    let manager = lab.manager_of("a", a);
    let daemon = manager.tier().await;
    has_a_new_timeline(&manager).await;
    daemon.stop().await;
}

/// A server without a name in its configuration has another one at each start: it is nobody's.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_a_name_is_told_from_none() {
    let of_a = OfA::start().await;
    of_a.daemon.stop().await;
    let Host { nats: b, manager } = of_a.lab.host("b").await;
    b.create("EVENTS", json!({})).await;
    b.publish("EVENTS", 30).await;
    let daemon = manager.tier().await;
    manager.reaches("EVENTS", "nas", 30).await;
    daemon.stop().await;
    assert_eq!(held(&manager)["timelines"].as_array().unwrap().len(), 2);
}

/// Archives a stream; returns whose it is by the archive.
async fn served(lab: &Lab) -> Value {
    lab.nats.publish("EVENTS", 5).await;
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("EVENTS", "nas", 5).await;
    daemon.stop().await;
    held(&lab.manager)["served"].clone()
}

/// It names itself in its greeting alone, and tells no account.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_is_known_by_its_name() {
    let named = lab("server_name: old").version(Version::Old);
    let Some(lab) = named.start_if_there().await else { return };
    lab.nats.create("EVENTS", json!({})).await;
    assert_eq!(served(&lab).await, json!({ "name": "old" }));
}

/// A new NAS takes over what Wasabi's journal says, and with it whose streams these are.
#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_wasabi_alone_has_is_refused_too() {
    let soon = "[segment]\nflush_age = \"20ms\"\n[seal]\ninterval = \"200ms\"\n";
    let mut lab = lab("server_name: a").wasabi().settings(soon).start().await;
    lab.nats.create("EVENTS", json!({})).await;
    lab.nats.publish("EVENTS", 20).await;
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("EVENTS", "wasabi", 20).await;
    daemon.stop().await;
    let before = fingerprint(&lab.nats, "EVENTS").await;

    lab.lose_nas().await;
    let Host { nats: b, manager } = host(&lab, "b", "").await;
    b.create("EVENTS", json!({})).await;
    b.publish("EVENTS", 30).await;
    let daemon = manager.tier().await;
    daemon.says(BOTH).await;
    b.delete_stream("EVENTS").await;
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
    let accounts = "server_name: one\nno_auth_user: a\naccounts {\n\
        A { jetstream: enabled, users: [{ user: a, password: a }] }\n\
        B { jetstream: enabled, users: [{ user: b, password: b }] }\n}";
    let lab = lab(accounts).start().await;
    let b = lab.nats.log_in("b").await;
    for (nats, count) in [(&lab.nats, 20), (&b, 30)] {
        nats.create("EVENTS", json!({})).await;
        nats.publish("EVENTS", count).await;
    }
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("EVENTS", "nas", 20).await;
    daemon.stop().await;
    let login = login(lab.dir(), "b", "b");
    let daemon = lab.manager_with("b", |settings| settings.login = login).tier().await;
    daemon.says("has it from `one`, account `A`, and this is `one`, account `B`").await;
    daemon.stop().await;
    assert_eq!(held(&lab.manager)["timelines"].as_array().unwrap().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_a_user_may_not_ask_for_is_left_out() {
    let accounts = "server_name: one\nno_auth_user: a\naccounts { A { jetstream: enabled, users: [\n\
        { user: a, password: a, permissions: { publish: { deny: [\"$SYS.>\"] } } }\n] } }";
    let lab = lab(accounts).start().await;
    lab.nats.create("EVENTS", json!({})).await;
    assert_eq!(served(&lab).await, json!({ "name": "one" }));
}

/// Its servers come and go, and have names of their own.
#[tokio::test(flavor = "multi_thread")]
async fn a_cluster_is_known_by_its_name() {
    let lab = lab("").cluster().start().await;
    lab.cluster().create(&lab.nats, "EVENTS", json!({ "num_replicas": 3 })).await;
    assert_eq!(served(&lab).await["name"], "lab");
}
