//! `restore --all` where not all streams can come back: it does what it can, says of each stream what came of it,
//! and can be run again.

use serde_json::{Value, json};

use crate::support::{
    Builder, Host, Lab, Manager, Minio, Nats, Version, account, fingerprint, login, outcomes,
    restore_all, rotten, wait_until,
};

const STREAMS: usize = 20;
/// What stands against the first ones, each for another reason.
const REASONS: [(&str, &str, &str); 5] = [
    ("refused", "exists on the server", "nats stream rm S00"),
    ("refused", "overlaps `s01.x` of stream `T` on the server", "nats stream edit T"),
    ("refused", "has no room", "raise `max_storage`"),
    ("refused", "`max_payload`", "raise `max_payload`"),
    ("damaged", "", "put the object back"),
];

fn name(n: usize) -> String {
    format!("S{n:02}")
}

/// A lab whose archive is a journal with an entry for each stream.
fn lab() -> Builder<Minio> {
    Lab::with().layout("journal").settings("[segment]\nflush_age = \"20ms\"\n")
}

/// Streams that were archived: what each was, and the entry that has the fifth one alone.
struct Archived {
    before: Vec<Value>,
    entry: String,
}

impl Archived {
    /// The lab's server takes messages of 2 MB.
    async fn make(lab: &Lab) -> Self {
        let Lab { nats, manager, nas: minio, .. } = lab;
        for n in 0..STREAMS {
            let storage = if n == 3 || n == 7 { "memory" } else { "file" };
            nats.create(&name(n), json!({ "storage": storage })).await;
        }
        let daemon = manager.tier().await;
        let large = vec![7; 1_500_000];
        nats.put_all("s02.large", [large.clone(), large.clone()]).await;
        nats.put("s03.large", large).await;
        let entries = "/v2/journal/main/entries/";
        for n in (0..STREAMS).filter(|n| *n != 3 && *n != 4) {
            nats.publish(&name(n), 6).await;
        }
        for n in (0..STREAMS).filter(|n| *n != 4) {
            manager.reaches(&name(n), "nas", nats.last_seq(&name(n)).await).await;
        }
        let known = minio.files(entries);
        nats.publish(&name(4), 6).await;
        manager.reaches(&name(4), "nas", 6).await;
        daemon.stop().await;
        let mut before = Vec::new();
        for n in 0..STREAMS {
            before.push(fingerprint(nats, &name(n)).await);
        }
        let entry = minio.files(entries).into_iter().find(|path| !known.contains(path)).unwrap();
        let object = entry.parent().unwrap().file_name().unwrap().to_str().unwrap();
        Self { before, entry: format!("v2/journal/main/entries/{object}") }
    }

    async fn exact(&self, nats: &Nats, streams: impl IntoIterator<Item = usize>) {
        for n in streams {
            assert_eq!(fingerprint(nats, &name(n)).await, self.before[n], "{}", name(n));
        }
    }
}

fn people_read_the_same(manager: &Manager) {
    let output = manager.run(&["restore", "--all"]);
    assert_eq!(output.status.code(), Some(5));
    let said = String::from_utf8(output.stdout).unwrap();
    for (n, (_, why, out)) in REASONS.iter().enumerate() {
        let mut lines =
            said.lines().skip_while(|line| !line.starts_with(&format!("{}: ", name(n))));
        assert!(lines.next().unwrap().contains(why), "{said}");
        assert!(lines.next().unwrap().contains(out), "{said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_come_back_does_and_the_rest_is_named() {
    let lab = lab().server("max_payload: 2M").start().await;
    let archived = Archived::make(&lab).await;
    let Host { nats, manager } = lab.host_with("new", &account("max_file: 2M, max_mem: 8M")).await;
    nats.create("S00", json!({})).await;
    nats.publish("S00", 7).await;
    nats.create("T", json!({ "subjects": ["s01.x"] })).await;
    let bucket = lab.bucket();
    let key = archived.entry.clone();
    let whole = bucket.get_object(&key).await.unwrap().into_bytes();
    bucket.put_object(&key, &rotten(&whole)).await.unwrap();

    // A dry run is no greener than what can be known without reading all.
    let (status, last, streams) = restore_all(&manager, &["--dry-run"]);
    assert_eq!(
        (status, &last[..]),
        (6, "error: 16 of 20 streams can be restored, 4 cannot: see the table")
    );
    assert_eq!(outcomes(&streams)[..5], ["refused", "refused", "refused", "refused", "ready"]);
    assert_eq!(nats.api("STREAM.NAMES", Value::Null).await["total"], 2);

    let (status, last, streams) = restore_all(&manager, &[]);
    assert_eq!(last, "error: 15 of 20 streams were restored, 5 were not: see the table");
    assert_eq!(status, 5, "damage says more than a refusal");
    assert_eq!(streams.len(), STREAMS);
    for (stream, (outcome, why, out)) in streams.iter().zip(REASONS) {
        assert_eq!(stream["outcome"], outcome, "{stream}");
        assert!(stream["why"].as_str().unwrap().contains(why), "{stream}");
        assert!(stream["way_out"].as_str().unwrap().contains(out), "{stream}");
        assert!(stream["messages"].is_null(), "nothing of it is there: {stream}");
    }
    assert!(streams[4]["why"].as_str().unwrap().contains(&key), "{}", streams[4]);
    assert!(outcomes(&streams)[5..].iter().all(|outcome| *outcome == "restored"), "{streams:?}");
    archived.exact(&nats, 5..STREAMS).await;

    people_read_the_same(&manager);

    // What was mended comes back, and what is there is left alone: that in memory too, and one that goes on.
    nats.publish("S09", 1).await;
    for stream in ["S00", "T"] {
        nats.delete_stream(stream).await;
    }
    bucket.put_object(&key, &whole).await.unwrap();
    let (status, last, streams) = restore_all(&manager, &[]);
    assert_eq!(status, 6, "{last}");
    let says =
        "error: 3 of 20 streams were restored, 15 were there already, 2 were not: see the table";
    assert_eq!(last, says);
    let expected = ["restored", "restored", "refused", "refused", "restored"];
    assert_eq!(outcomes(&streams)[..5], expected);
    assert!(outcomes(&streams)[5..].iter().all(|outcome| *outcome == "unchanged"), "{streams:?}");
    assert!(
        streams[9]["why"].as_str().unwrap().contains("goes on to sequence 7"),
        "{}",
        streams[9]
    );
    archived.exact(&nats, [0, 1, 4, 7]).await;

    // On a larger server, which has lost what was in memory.
    drop(nats);
    let larger = format!("max_payload: 2M\n{}", account("max_file: 8M, max_mem: 8M"));
    let Host { nats, manager } = lab.host_with("new", &larger).await;
    let (status, last, streams) = restore_all(&manager, &[]);
    assert_eq!(status, 0, "{last}");
    for (n, outcome) in outcomes(&streams).into_iter().enumerate() {
        let expected = if [2, 3, 7].contains(&n) { "restored" } else { "unchanged" };
        assert_eq!(outcome, expected, "{}", streams[n]);
    }
    archived.exact(&nats, (0..STREAMS).filter(|n| *n != 9)).await;
}

/// A server that is too old for some streams gets the others; of two streams that have a subject in common the one
/// that was made last.
#[tokio::test(flavor = "multi_thread")]
async fn an_old_server_and_streams_that_took_turns() {
    let mut lab = lab().start().await;
    let daemon = lab.manager.tier().await;
    for (stream, more) in [
        ("FIRST", json!({ "subjects": ["turn.>"] })),
        ("AGAIN", json!({ "subjects": ["turn.a"] })),
        ("MEMORY", json!({ "storage": "memory" })),
        ("TTL", json!({ "allow_msg_ttl": true })),
        ("PLAIN", json!({})),
    ] {
        lab.nats.create(stream, more).await;
        let subject = if stream.len() == 5 && stream != "PLAIN" { "turn.a" } else { "" };
        if subject.is_empty() {
            lab.nats.publish(stream, 4).await;
        } else {
            lab.nats.client.request(subject, "".into()).await.unwrap();
        }
        let last = lab.nats.last_seq(stream).await;
        assert!(last > 0, "{stream}");
        lab.manager.reaches(stream, "nas", last).await;
        if stream == "FIRST" {
            lab.nats.delete_stream("FIRST").await;
        }
    }
    daemon.stop().await;
    lab.nats.kill();
    let Some(Host { nats: _nats, manager }) = lab.host_of("new", Version::Old).await else {
        return;
    };
    let expected = |ready: &'static str| [ready, "refused", "refused", ready, "refused"];
    let (status, last, streams) = restore_all(&manager, &["--dry-run"]);
    assert_eq!(status, 6, "{last}");
    assert_eq!(outcomes(&streams), expected("ready"), "{streams:?}");
    let (status, last, streams) = restore_all(&manager, &[]);
    assert_eq!(last, "error: 2 of 5 streams were restored, 3 were not: see the table");
    assert_eq!(status, 6);
    assert_eq!(outcomes(&streams), expected("restored"));
    for (n, why, out) in [
        (1, "`turn.a` of stream `AGAIN`, which is restored too", "--subjects"),
        (2, "kept in memory", "nats-server 2.15"),
        (4, "needs level 1", "level 1"),
    ] {
        assert!(streams[n]["why"].as_str().unwrap().contains(why), "{}", streams[n]);
        assert!(streams[n]["way_out"].as_str().unwrap().contains(out), "{}", streams[n]);
    }
    let (_, last, _) = restore_all(&manager, &[]);
    assert!(
        last.contains("0 of 5 streams were restored, 2 were there already, 3 were not"),
        "{last}"
    );
}

/// Who may not restore, or has no room, hears it before, in a dry run too; who may not ask for limits may restore.
#[tokio::test(flavor = "multi_thread")]
async fn rights_and_room_are_known_before() {
    let mut lab = lab().start().await;
    lab.nats.create("S", json!({ "max_bytes": 2_000_000 })).await;
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 4).await;
    lab.manager.reaches("S", "nas", 4).await;
    daemon.stop().await;
    lab.nats.kill();
    let user = |name: &str, deny: &str| {
        format!(
            "{{ user: {name}, password: {name}, permissions: {{ publish: {{ deny: \"{deny}\" }} }} }}"
        )
    };
    let users = [
        user("reads", "$JS.API.STREAM.RESTORE.>"),
        user("modest", "$JS.API.INFO"),
        "{ user: a, password: a }".into(),
    ];
    let account = |name: &str, limits: &str| {
        let user = format!("{{ user: {name}, password: {name} }}");
        format!("{name}: {{ users: [{user}], jetstream: {{ {limits} }} }}, ")
    };
    let accounts = format!(
        "accounts {{ {}{}A: {{ users: [{}], jetstream: enabled }} }}\nno_auth_user: a\n",
        account("full", "max_streams: 1, max_file: 8M"),
        account("small", "max_file: 1M"),
        users.join(", ")
    );
    let nats = lab.host_with("new", &accounts).await.nats;
    let manager = |name: &str| {
        let login = login(lab.dir(), name, name);
        lab.manager_with(name, |settings| {
            (settings.nats, settings.login) = (nats.url.clone(), login);
        })
    };
    let (status, error) = manager("reads").error(&["restore", "--all", "--dry-run"]);
    assert_eq!(status, 3, "{error}");
    assert!(error.contains("$JS.API.STREAM.RESTORE.S"), "{error}");
    nats.log_in("full").await.create("T", json!({})).await;
    for (user, what) in [
        ("full", "the account may have 1 streams: raise `max_streams`"),
        ("small", "its `max_bytes` is 2000000, the account has 1000000 left: raise `max_storage`"),
    ] {
        for more in [&["--dry-run"][..], &[]] {
            let (status, error) = manager(user).error(&[&["restore", "--all"], more].concat());
            assert_eq!(status, 6, "{error}");
            assert!(error.contains(what), "{error}");
        }
    }
    let output = manager("modest").run(&["restore", "--all"]);
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{said}");
    assert!(said.contains("are not checked before") && said.contains("$JS.API.INFO"), "{said}");
    wait_until("it is there", async || match nats.last_seq("S").await {
        4 => Ok(()),
        other => Err(other.to_string()),
    })
    .await;
}

/// A chain that cannot be read, and a segment that is gone, keep their own streams from coming back.
#[tokio::test(flavor = "multi_thread")]
async fn chains_of_which_some_are_damaged() {
    let mut lab = lab().layout("chains").start().await;
    for stream in ["A", "B", "C"] {
        lab.nats.create(stream, json!({})).await;
    }
    let daemon = lab.manager.tier().await;
    for stream in ["A", "B", "C"] {
        lab.nats.publish(stream, 5).await;
        lab.manager.reaches(stream, "nas", 5).await;
    }
    let before = fingerprint(&lab.nats, "C").await;
    daemon.stop().await;
    lab.nats.kill();
    let bucket = lab.bucket();
    let first = async |prefix: &str| {
        let pages = bucket.list(prefix.into(), None).await.unwrap();
        pages[0].contents[0].key.clone()
    };
    let entry = first("v1/streams/A/manifest/").await;
    let whole = bucket.get_object(&entry).await.unwrap().into_bytes();
    bucket.put_object(&entry, &whole[..whole.len() / 2]).await.unwrap();
    let segment = first("v1/streams/B/segments/").await;
    bucket.delete_object(&segment).await.unwrap();

    let Host { nats, manager } = lab.host("new").await;
    for (more, done) in [(&["--dry-run"][..], "ready"), (&[], "restored")] {
        let (status, last, streams) = restore_all(&manager, more);
        assert_eq!(status, 5, "{last}");
        assert_eq!(outcomes(&streams), ["damaged", "damaged", done]);
        for (stream, key) in streams.iter().zip([&entry, &segment]) {
            assert!(stream["why"].as_str().unwrap().contains(key), "{stream}");
            assert!(stream["way_out"].as_str().unwrap().contains("from a copy"), "{stream}");
        }
    }
    assert_eq!(fingerprint(&nats, "C").await, before);
}
