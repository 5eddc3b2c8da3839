//! `restore --all` of many streams, which are read together.

use std::time::Duration;

use async_nats::Subscriber;
use cim_fake_wasabi::{Fault, Rule};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::support::{Host, Lab, Nats, fingerprint, noise, rotten, struck, wait_until};

const STREAMS: usize = 30;
/// Entries come often, so that there are many.
const OFTEN: &str = "[segment]\nflush_age = \"20ms\"\n";

fn name(n: usize) -> String {
    format!("S{n:02}")
}

async fn publish_large(nats: &Nats, stream: &str, seed: &mut u64, count: usize) {
    let subject = format!("{}.large", stream.to_lowercase());
    for _ in 0..count {
        *seed += 1;
        nats.put(subject.clone(), noise(*seed, 64 << 10)).await;
    }
}

/// The streams of a report that were restored, which come by name.
fn restored(report: &Value) -> Vec<String> {
    with(report, "restored")
}

/// The streams of a report with an outcome.
fn with(report: &Value, outcome: &str) -> Vec<String> {
    let streams = report["streams"].as_array().unwrap().iter();
    let streams = streams.filter(|stream| stream["outcome"] == outcome);
    streams.map(|stream| stream["stream"].as_str().unwrap().to_owned()).collect()
}

async fn there(nats: &Nats) -> Vec<String> {
    let names = nats.api("STREAM.NAMES", Value::Null).await;
    let mut names: Vec<String> =
        serde_json::from_value(names["streams"].clone()).unwrap_or_default();
    names.sort();
    names
}

/// The restores that a server began and ended, from its advisories.
struct Restores(Subscriber);

impl Restores {
    async fn watch(nats: &Nats) -> Self {
        let advisories = nats.client.subscribe("$JS.EVENT.ADVISORY.STREAM.*.*").await.unwrap();
        nats.client.flush().await.unwrap();
        Self(advisories)
    }

    /// Waits until so many have ended; none may have begun before the one before it had.
    async fn one_after_the_other(mut self, count: usize) {
        let (mut under_way, mut ended) = (None, 0);
        while ended < count {
            let next = tokio::time::timeout(Duration::from_secs(20), self.0.next()).await;
            let subject = next.expect("advisories come").unwrap().subject;
            let (rest, stream) = subject.rsplit_once('.').unwrap();
            match rest.rsplit_once('.').unwrap().1 {
                "RESTORE_CREATE" => {
                    assert_eq!(under_way.replace(stream.to_owned()), None, "beside `{stream}`");
                }
                "RESTORE_COMPLETE" => {
                    assert_eq!(under_way.take().as_deref(), Some(stream));
                    ended += 1;
                }
                _ => {}
            }
        }
    }
}

/// Streams of all sizes: quiet ones, which share what is merged, one that has more than is read together, one
/// in memory, one with a consumer, one with gaps. The last three have something in entries of their own.
#[tokio::test(flavor = "multi_thread")]
async fn many_streams_come_back_exactly() {
    let mut lab = Lab::with().layout("journal").settings(OFTEN).start().await;
    let mut seed = 0;
    for n in 0..STREAMS {
        let storage = if n == 11 { "memory" } else { "file" };
        lab.nats.create(&name(n), json!({ "storage": storage })).await;
    }
    let daemon = lab.manager.tier().await;
    publish_large(&lab.nats, &name(7), &mut seed, 100).await;
    wait_until("entries are merged", async || {
        for n in 0..STREAMS {
            lab.nats.publish(&name(n), 1 + n % 3).await;
        }
        publish_large(&lab.nats, &name(13), &mut seed, 2).await;
        let shared = lab.nas.files("/shared/1/").len();
        if shared > 0 { Ok(()) } else { Err("none is yet".to_owned()) }
    })
    .await;
    lab.nats.delete(&name(5), &[2, 3, 7]).await;
    lab.nats.api(
        &format!("CONSUMER.DURABLE.CREATE.{}.C", name(9)),
        json!({ "stream_name": name(9), "config": { "durable_name": "C", "ack_policy": "explicit" } }),
    )
    .await;
    for n in 0..STREAMS {
        lab.manager.reaches(&name(n), "nas", lab.nats.last_seq(&name(n)).await).await;
    }
    let known = lab.nas.files("/v2/journal/main/entries/");
    for n in STREAMS - 3..STREAMS {
        lab.nats.publish(&name(n), 40).await;
        lab.manager.reaches(&name(n), "nas", lab.nats.last_seq(&name(n)).await).await;
    }
    daemon.stop().await;
    let mut before = Vec::new();
    for n in 0..STREAMS {
        before.push(fingerprint(&lab.nats, &name(n)).await);
    }
    lab.nats.kill();
    let exact = async |nats: &Nats, streams: &mut dyn Iterator<Item = usize>| {
        for n in streams {
            assert_eq!(fingerprint(nats, &name(n)).await, before[n], "{}", name(n));
        }
    };

    let Host { nats, manager } = lab.host("new").await;
    let restores = Restores::watch(&nats).await;
    let report = manager.json(&["restore", "--all"]);
    // Several at once have taken a server down.
    restores.one_after_the_other(STREAMS).await;
    assert_eq!(restored(&report), (0..STREAMS).map(name).collect::<Vec<_>>());
    exact(&nats, &mut (0..STREAMS)).await;
    let sum = |key: &str| -> u64 {
        report["streams"].as_array().unwrap().iter().map(|s| s[key].as_u64().unwrap()).sum()
    };
    // Each object is read for all streams together, not once for each stream that has a part in it.
    let (requests, segments) = (sum("s3_requests"), sum("segments"));
    assert!(requests * 3 < segments, "{requests} requests for {segments} segments");
    drop(nats);

    // An object in the middle has rotted, in which few streams have a part.
    let Host { nats, manager } = lab.host("damaged").await;
    let bucket = lab.bucket();
    let entry = |path: &std::path::PathBuf| {
        let object = path.parent().unwrap().file_name().unwrap().to_str().unwrap();
        format!("v2/journal/main/entries/{object}")
    };
    let mut objects = lab.nas.files("/v2/journal/main/entries/").into_iter();
    let key = entry(&objects.find(|path| !known.contains(path)).unwrap());
    let whole = bucket.get_object(&key).await.unwrap().into_bytes();
    bucket.put_object(&key, &rotten(&whole)).await.unwrap();
    let output = manager.run(&["restore", "--all", "--json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(5), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let come = restored(&report);
    let left = with(&report, "damaged");
    let last =
        format!("error: {} of {STREAMS} streams were restored, {} w", come.len(), left.len());
    assert!(said.contains(&last) && said.ends_with(": see the table\n"), "{said}");
    assert_eq!(come.len() + left.len(), STREAMS, "every stream is in it: {report}");
    for stream in report["streams"].as_array().unwrap() {
        let why = stream["why"].as_str().unwrap_or_default();
        assert_eq!(why.contains(&key), stream["outcome"] == "damaged", "{stream}");
    }
    assert_eq!(come, there(&nats).await, "what is said to be there is there, and nothing else");
    let harmed: Vec<usize> = (0..STREAMS).filter(|n| !come.contains(&name(*n))).collect();
    assert!(!harmed.is_empty() && harmed.iter().all(|n| *n >= STREAMS - 3), "{harmed:?}");
    exact(&nats, &mut (0..STREAMS).filter(|n| !harmed.contains(n))).await;
    bucket.put_object(&key, &whole).await.unwrap();
    let names: Vec<String> = harmed.iter().copied().map(name).collect();
    let again: Vec<&str> =
        std::iter::once("restore").chain(names.iter().map(String::as_str)).collect();
    manager.json(&again);
    exact(&nats, &mut (0..STREAMS)).await;
    // That in memory has another creation time, and is the same for all that.
    let report = manager.json(&["restore", "--all"]);
    assert_eq!(with(&report, "unchanged"), (0..STREAMS).map(name).collect::<Vec<_>>());
}

/// What was under way is gone from the server, what was done stays, and the next run does the rest.
#[tokio::test(flavor = "multi_thread")]
async fn interrupted_in_the_middle_of_many() {
    const LARGE: usize = 4;
    let mut lab = Lab::with()
        .layout("journal")
        .settings("[segment]\nflush_age = \"1s\"\nflush_size = \"5MiB\"\n")
        .faulty_nas()
        .start()
        .await;
    let daemon = lab.manager.tier().await;
    let archive = lab.bucket();
    let mut seed = 0;
    for n in (0..LARGE).rev() {
        lab.nats.create(&name(n), json!({})).await;
        wait_until("it has a segment of its own", async || {
            publish_large(&lab.nats, &name(n), &mut seed, 82).await;
            lab.manager.reaches(&name(n), "nas", lab.nats.last_seq(&name(n)).await).await;
            let segments = format!("v1/streams/{}/segments/", name(n));
            let listed = archive.list(segments, None).await.unwrap();
            let there = listed.iter().any(|page| !page.contents.is_empty());
            if there { Ok(()) } else { Err("it has none".to_owned()) }
        })
        .await;
    }
    daemon.stop().await;
    let mut before = Vec::new();
    for n in 0..LARGE {
        before.push(fingerprint(&lab.nats, &name(n)).await);
    }
    lab.nats.kill();

    let Host { nats, manager } = lab.host("new").await;
    let late = |n| {
        let segments = format!("v1/streams/{}/segments/*", name(n));
        Rule::new(Fault::Delay).operation("GetObject").keys(&segments).seconds(60.0)
    };
    lab.nas.set_faults((1..LARGE).map(late).collect()).unwrap();
    let restore = manager.spawn(&["restore", "--all"]);
    wait_until("a segment is late and one stream is there", async || {
        let late = struck(&lab.nas, "delay");
        let there = there(&nats).await;
        if late > 0 && there.len() == 1 { Ok(()) } else { Err(format!("{late}, {there:?}")) }
    })
    .await;
    restore.signal("INT");
    let output = restore.output();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert!(said.contains(&format!("1 of {LARGE} streams were restored")), "{said}");
    assert_eq!(there(&nats).await, [name(0)]);
    assert_eq!(fingerprint(&nats, &name(0)).await, before[0]);
    lab.nas.set_faults(Vec::new()).unwrap();
    let report = manager.json(&["restore", "--all"]);
    assert_eq!(restored(&report), (1..LARGE).map(name).collect::<Vec<_>>());
    for (n, before) in before.iter().enumerate() {
        assert_eq!(&fingerprint(&nats, &name(n)).await, before, "{}", name(n));
    }
    // One that goes on has all that the archive has, one that was made anew is in the way, as ever.
    nats.publish(&name(2), 1).await;
    let report = manager.json(&["restore", "--all"]);
    assert_eq!(with(&report, "unchanged").len(), LARGE, "{report}");
    assert!(report["streams"][2]["why"].as_str().unwrap().contains("goes on to"), "{report}");
    nats.api(&format!("STREAM.DELETE.{}", name(2)), Value::Null).await;
    nats.create(&name(2), json!({})).await;
    publish_large(&nats, &name(2), &mut seed, 1).await;
    let output = manager.run(&["restore", "--all", "--json"]);
    assert_eq!(output.status.code(), Some(6));
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(with(&report, "refused"), [name(2)]);
    let why = report["streams"][2]["why"].as_str().unwrap();
    assert!(why.contains(&format!("stream `{}` exists", name(2))), "{why}");
    assert!(why.contains("ends at sequence 1, the archive at "), "{why}");
}

/// A stream of which the server has everything when it is interrupted is there, and is counted.
#[tokio::test(flavor = "multi_thread")]
async fn interrupted_while_the_server_answers() {
    let mut lab = Lab::with().layout("journal").settings(OFTEN).start().await;
    let daemon = lab.manager.tier().await;
    for n in 0..3 {
        lab.nats.create(&name(n), json!({})).await;
        lab.nats.publish(&name(n), 20).await;
        lab.manager.reaches(&name(n), "nas", 20).await;
    }
    let before = fingerprint(&lab.nats, &name(0)).await;
    daemon.stop().await;
    lab.nats.kill();
    let nats = lab.host("new").await.nats;
    let gate = Gate::in_front_of(&nats.url).await;
    let manager = lab.manager_with("new", |settings| {
        settings.nats = format!("nats://127.0.0.1:{}", gate.port);
    });
    let restore = manager.spawn(&["restore", "--all"]);
    gate.seen(&format!("$JS.SNAPSHOT.RESTORE.{}.", name(0))).await;
    restore.signal("INT");
    gate.seen("this restore was given up").await;
    gate.open();
    let output = restore.output();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(130), "{said}");
    assert_eq!(there(&nats).await, [name(0)]);
    assert!(said.contains("1 of 3 streams were restored"), "{said}");
    assert_eq!(fingerprint(&nats, &name(0)).await, before);
    let report = manager.json(&["restore", "--all"]);
    assert_eq!(restored(&report), [name(1), name(2)]);
}

/// What lies in front of a server, and keeps its answers back from the first chunk of a snapshot on.
struct Gate {
    port: u16,
    sent: watch::Receiver<Vec<u8>>,
    open: watch::Sender<bool>,
}

impl Gate {
    async fn in_front_of(url: &str) -> Self {
        let server = url.trim_start_matches("nats://").to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let (to, sent) = watch::channel(Vec::new());
        let (open, opened) = watch::channel(true);
        let gate = open.clone();
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let (mut from_client, mut to_client) = client.into_split();
                let server = TcpStream::connect(&server).await.unwrap();
                let (mut from_server, mut to_server) = server.into_split();
                let (to, gate, mut opened) = (to.clone(), gate.clone(), opened.clone());
                tokio::spawn(async move {
                    let mut bytes = vec![0; 64 << 10];
                    while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
                        let first = !contains(&to.borrow(), CHUNK);
                        to.send_modify(|sent| sent.extend_from_slice(&bytes[..read]));
                        if first && contains(&to.borrow(), CHUNK) {
                            gate.send_replace(false);
                        }
                        if to_server.write_all(&bytes[..read]).await.is_err() {
                            break;
                        }
                    }
                });
                tokio::spawn(async move {
                    let mut bytes = vec![0; 64 << 10];
                    while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
                        if opened.wait_for(|open| *open).await.is_err()
                            || to_client.write_all(&bytes[..read]).await.is_err()
                        {
                            break;
                        }
                    }
                });
            }
        });
        Self { port, sent, open }
    }

    /// Waits until the client has sent this.
    async fn seen(&self, what: &str) {
        let mut sent = self.sent.clone();
        let seen = sent.wait_for(|sent| contains(sent, what));
        let seen = tokio::time::timeout(Duration::from_mins(1), seen).await;
        drop(seen.expect("it is sent in time").unwrap());
    }

    fn open(&self) {
        self.open.send_replace(true);
    }
}

const CHUNK: &str = "$JS.SNAPSHOT.RESTORE.";

fn contains(bytes: &[u8], what: &str) -> bool {
    bytes.windows(what.len()).any(|window| window == what.as_bytes())
}

/// A refusal that only the server knows of keeps one stream from coming back, not the others.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_the_server_refuses() {
    let mut lab = Lab::with().layout("journal").settings(OFTEN).start().await;
    let daemon = lab.manager.tier().await;
    for n in 0..3 {
        lab.nats.create(&name(n), json!({})).await;
        lab.nats.publish(&name(n), 5).await;
        lab.manager.reaches(&name(n), "nas", 5).await;
    }
    publish_large(&lab.nats, "S01", &mut 0, 100).await;
    lab.manager.reaches("S01", "nas", 105).await;
    daemon.stop().await;
    lab.nats.kill();

    // How much a server takes, other than the account, no user is told.
    let Host { nats, manager } = lab.host_with("new", "jetstream { max_file: 4M }").await;
    let report = manager.json(&["restore", "--all", "--dry-run"]);
    assert_eq!(with(&report, "ready"), ["S00", "S01", "S02"]);
    assert_eq!(there(&nats).await, [""; 0]);
    let output = manager.run(&["restore", "--all", "--json"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(6), "{said}");
    let says = "error: 2 of 3 streams were restored, 1 was not: see the table";
    assert!(said.contains(says), "{said}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(restored(&report), ["S00", "S02"]);
    assert_eq!(with(&report, "refused"), ["S01"]);
    assert!(report["streams"][1]["way_out"].as_str().unwrap().contains("`max_file`"), "{report}");
    assert_eq!(there(&nats).await, ["S00", "S02"]);
}
