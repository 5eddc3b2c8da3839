//! What leaves the archive by rule, on real servers: never what JetStream holds, always with a word, and no object that
//! anything still needs.

use std::time::{Duration, Instant};

use cim_fake_wasabi::{Fault, Rule};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::clock::stream_of_times;
use crate::support::{Builder, Host, Lab, Manager, Minio, Nas, Nats, fingerprint, wait_until};

/// Longer than a manager waits between two looks at what its server has.
const LOOK: Duration = Duration::from_secs(10);
/// One message makes a segment, and nothing that has left stays for long.
const QUICK: &str = "[segment]\nflush_age = \"20ms\"\nflush_size = \"4KiB\"\n[seal]\ninterval = \"300ms\"\n[collect]\ngrace = \"1s\"\n";

/// A lab with tables on what leaves.
fn lab(tables: &str) -> Builder<Minio> {
    Lab::with().layout("journal").settings(format!("{QUICK}{tables}"))
}

/// What `streams --json` says of one.
fn held(manager: &Manager, from: &str, stream: &str) -> Value {
    let held = manager.json(&["streams", "--from", from]);
    let all = held["streams"].as_array().unwrap();
    all.iter().find(|held| held["stream"] == stream).cloned().unwrap_or_default()
}

fn expired(held: &Value) -> u64 {
    let runs = held["expired"].as_array().into_iter().flatten();
    runs.map(|run| run["messages"].as_u64().unwrap()).sum()
}

/// Waits until so many messages of a stream have left a tier.
async fn leave(manager: &Manager, from: &str, stream: &str, messages: u64) -> Value {
    wait_until("messages leave by rule", async || {
        let held = held(manager, from, stream);
        if expired(&held) >= messages { Ok(held) } else { Err(held.to_string()) }
    })
    .await
}

/// Verifies a tier: nothing is wrong, and so many messages have left it.
fn verified(manager: &Manager, from: &str) -> u64 {
    let report = manager.json(&["verify", "--from", from]);
    let streams = report["streams"].as_array().unwrap();
    assert!(streams.iter().all(|stream| stream["problems"] == json!([])), "{report}");
    assert!(streams.iter().all(|stream| stream["lacking"] == 0), "{report}");
    streams.iter().map(|stream| stream["expired"].as_u64().unwrap()).sum()
}

fn sequences(all: &Value) -> Vec<u64> {
    let all = all["all"].as_array().unwrap().iter();
    all.filter_map(|message| message["seq"].as_u64()).collect()
}

/// An archive of sixty messages of months ago in many segments, of which JetStream has those from 41 on.
///
/// Returns a manager that lets nothing leave.
async fn old_messages(lab: &Lab<impl Nas>) -> Manager {
    let nats = &lab.nats;
    let times: Vec<i64> = (1..=60).collect();
    stream_of_times(nats, "S", &times).await;
    let manager = lab.manager_with("first", |settings| {
        (settings.more, settings.wasabi) = (QUICK.into(), None);
    });
    let daemon = manager.tier().await;
    manager.reaches("S", "nas", 60).await;
    nats.api("STREAM.PURGE.S", json!({ "seq": 41 })).await;
    wait_until("the archive knows of the purge", async || {
        let held = held(&manager, "nas", "S");
        let first = &held["timelines"][0]["first_seq"];
        if *first == 41 { Ok(()) } else { Err(held.to_string()) }
    })
    .await;
    daemon.stop().await;
    manager
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_old_leaves_and_what_jetstream_holds_does_not() {
    let lab = lab("[[retention]]\nstreams = [\"S*\"]\nmax_age = \"1d\"\n").start().await;
    let first = old_messages(&lab).await;
    assert_eq!(verified(&first, "nas"), 0);
    let before = fingerprint(&lab.nats, "S").await;

    // What would leave is told before, and stays.
    let preview = lab.manager.json(&["retention"]);
    let shown = &preview["tiers"][0];
    let leaving = shown["messages"].as_u64().unwrap();
    assert!((1..=40).contains(&leaving) && shown["objects"].as_u64() > Some(0), "{preview}");
    assert_eq!(expired(&held(&lab.manager, "nas", "S")), 0);
    assert_eq!(first.error(&["retention"]).0, 2);

    let objects = lab.nas.files("xl.meta").len();
    let daemon = lab.manager.tier().await;
    let left = leave(&lab.manager, "nas", "S", leaving).await;
    assert_eq!(left["expired"].as_array().unwrap().len(), 1, "{left}");
    assert_eq!(left["expired"][0]["rule"], "max_age = \"1d\"");
    let kept_from = left["expired"][0]["last_seq"].as_u64().unwrap() + 1;
    assert!((2..=41).contains(&kept_from), "{left}");
    wait_until("their objects are deleted", async || {
        let now = lab.nas.files("xl.meta").len();
        if now < objects { Ok(()) } else { Err(format!("{now} of {objects}")) }
    })
    .await;
    assert_eq!(verified(&lab.manager, "nas"), leaving);
    daemon.stop().await;
    assert_eq!(verified(&lab.manager, "nas"), leaving);
    assert_eq!(lab.manager.json(&["retention"])["tiers"][0]["messages"], 0);

    let Host { nats: second, manager: there } = lab.host("second").await;
    let restored = there.json(&["restore", "S"]);
    assert_eq!(restored["streams"][0]["expired"], json!([]), "{restored}");
    assert_eq!(fingerprint(&second, "S").await, before);
    let options = ["--as", "ALL", "--subjects", "all.>", "--with-dropped"];
    let restored = there.json(&[&["restore", "S"][..], &options].concat());
    assert_eq!(restored["streams"][0]["first_seq"], kept_from, "{restored}");
    assert_eq!(restored["streams"][0]["expired"][0]["messages"], leaving, "{restored}");
    let all = fingerprint(&second, "ALL").await;
    assert_eq!(sequences(&all), (kept_from..=60).collect::<Vec<_>>());
    let said = there.run(&["query", "S", "--with-dropped", "--limit", "1"]);
    let said = String::from_utf8_lossy(&said.stderr).into_owned();
    assert!(said.contains("left the archive by `max_age = \"1d\"`"), "{said}");
}

#[tokio::test(flavor = "multi_thread")]
async fn so_many_of_the_newest_stay_also_when_it_is_killed_again_and_again() {
    let lab = lab("[[retention]]\nstreams = [\"*\"]\nmax_msgs = 35\n").faulty_nas().start().await;
    let first = old_messages(&lab).await;
    let leaving = lab.manager.json(&["retention"])["tiers"][0]["messages"].as_u64().unwrap();
    assert!((1..=25).contains(&leaving), "{leaving}");
    // Each delete takes a while, so that it dies between two of them too.
    let slow = Rule::new(Fault::Delay).operation("DeleteObject").seconds(0.2);
    lab.nas.set_faults(vec![slow]).unwrap();
    for round in 0..8 {
        let daemon = lab.manager.tier().await;
        if round > 3 {
            leave(&lab.manager, "nas", "S", leaving).await;
        }
        tokio::time::sleep(Duration::from_millis(round * 370)).await;
        daemon.kill();
        // Whatever has left, all that is named is there.
        let left = verified(&first, "nas");
        assert!(left == 0 || left == leaving, "{left} of {leaving}");
    }
    lab.nas.set_faults(Vec::new()).unwrap();
    let daemon = lab.manager.tier().await;
    leave(&lab.manager, "nas", "S", leaving).await;
    lab.nats.publish("S", 5).await;
    lab.manager.reaches("S", "nas", 65).await;
    daemon.stop().await;
    assert!(verified(&lab.manager, "nas") >= leaving);
    let before = fingerprint(&lab.nats, "S").await;
    let Host { nats: second, manager: there } = lab.host("second").await;
    there.json(&["restore", "S"]);
    assert_eq!(fingerprint(&second, "S").await, before);
}

async fn gone(manager: &Manager, stream: &str) -> Value {
    wait_until("the stream has left", async || {
        let held = held(manager, "nas", stream);
        let left = held["segments"] == 0 && expired(&held) > 0;
        if left { Ok(held) } else { Err(held.to_string()) }
    })
    .await
}

/// Waits until a manager has asked a server again and again, for so long, which streams it has: what `dropped` says and a
/// look have passed by then, by the manager's own asking.
async fn keeps_looking(nats: &Nats, span: Duration) {
    let mut asked = nats.client.subscribe("$JS.API.STREAM.NAMES").await.unwrap();
    let mut ask =
        async || tokio::time::timeout(LOOK, asked.next()).await.expect("it asks").unwrap();
    ask().await;
    let first = Instant::now();
    while first.elapsed() < span {
        ask().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_dropped_leaves_as_a_whole_and_an_empty_server_drops_none() {
    let lab = lab("[[retention]]\nstreams = [\"*\"]\ndropped = \"12s\"\n").start().await;
    for stream in ["GONE", "BACK", "STAYS"] {
        lab.nats.create(stream, json!({})).await;
        lab.nats.publish(stream, 30).await;
    }
    let daemon = lab.manager.tier().await;
    lab.manager.has_all(&lab.nats, &["GONE", "BACK", "STAYS"]).await;
    for stream in ["GONE", "BACK"] {
        lab.nats.delete_stream(stream).await;
    }
    wait_until("it is seen that they are gone", async || {
        let missing =
            ["GONE", "BACK"].map(|name| held(&lab.manager, "nas", name)["absent_since"].clone());
        if missing.iter().all(Value::is_string) { Ok(()) } else { Err(format!("{missing:?}")) }
    })
    .await;
    let log = daemon.log();
    assert!(
        log.contains("stream `GONE` is no longer in JetStream: by `dropped = \"12s\"`"),
        "{log}"
    );
    // One is restored before its time has come.
    lab.manager.json(&["restore", "BACK"]);
    let left = gone(&lab.manager, "GONE").await;
    assert_eq!((expired(&left), &left["expired"][0]["rule"]), (30, &json!("dropped = \"12s\"")));
    let back = held(&lab.manager, "nas", "BACK");
    assert_eq!((expired(&back), &back["absent_since"]), (0, &Value::Null), "{back}");
    assert_eq!(verified(&lab.manager, "nas"), 30);

    // A stream of that name has a history of its own.
    lab.nats.create("GONE", json!({})).await;
    lab.nats.publish("GONE", 7).await;
    wait_until("it is archived", async || {
        let held = held(&lab.manager, "nas", "GONE");
        let new = &held["timelines"][1];
        let there = new["last_seq"] == 7 && held["absent_since"].is_null();
        if there { Ok(()) } else { Err(held.to_string()) }
    })
    .await;
    lab.nats.delete_stream("GONE").await;
    let left = gone(&lab.manager, "GONE").await;
    assert_eq!(expired(&left), 37);
    daemon.stop().await;

    let Host { nats: second, manager: there } = lab.host("second").await;
    let (status, error) = there.error(&["restore", "GONE"]);
    assert!(status == 7 && error.contains("left the archive by `dropped = \"12s\"`"), "{error}");
    // A server that has lost all its streams has dropped none, however often the manager has looked.
    let sooner = format!("{QUICK}[[retention]]\nstreams = [\"*\"]\ndropped = \"4s\"\n");
    let there = lab.manager_with("second", |settings| {
        (settings.nats, settings.more) = (second.url.clone(), sooner);
    });
    let daemon = there.tier().await;
    keeps_looking(&second, Duration::from_secs(6)).await;
    for stream in ["BACK", "STAYS"] {
        let kept = held(&there, "nas", stream);
        assert_eq!((&kept["absent_since"], expired(&kept)), (&Value::Null, 0), "{kept}");
    }
    let restored = there.run(&["restore", "--all"]);
    let said = String::from_utf8_lossy(&restored.stderr).into_owned();
    assert!(restored.status.success() && said.contains("GONE is left out: "), "{said}");
    for stream in ["BACK", "STAYS"] {
        assert_eq!(sequences(&fingerprint(&second, stream).await).len(), 30);
    }
    daemon.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_timeline_that_was_left_goes_and_what_it_shares_stays() {
    let lab = lab("[[retention]]\nstreams = [\"*\"]\nleft_timelines = \"5s\"\n").start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    for last in [20, 40] {
        lab.nats.publish("S", 20).await;
        lab.manager.reaches("S", "nas", last).await;
    }
    daemon.stop().await;
    lab.nats.delete_stream("S").await;
    lab.manager.json(&["restore", "S", "--until-seq", "20"]);
    let daemon = lab.manager.tier().await;
    lab.nats.publish("S", 6).await;
    lab.manager.reaches("S", "nas", 26).await;
    let left = leave(&lab.manager, "nas", "S", 20).await;
    let run = &left["expired"][0];
    assert_eq!(
        (&run["timeline"], &run["first_seq"], &run["last_seq"]),
        (&json!(1), &json!(21), &json!(40))
    );
    assert_eq!(run["rule"], "left_timelines = \"5s\"");
    assert_eq!(verified(&lab.manager, "nas"), 20);
    daemon.stop().await;
    let before = fingerprint(&lab.nats, "S").await;
    let Host { nats: second, manager: there } = lab.host("second").await;
    there.json(&["restore", "S"]);
    assert_eq!(fingerprint(&second, "S").await, before);
    let (status, error) =
        there.error(&["restore", "S", "--timeline", "1", "--as", "T", "--subjects", "t.>"]);
    assert!(status == 7 && error.contains("timeline 1: all its messages"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_wasabi_lacks_stays_on_the_nas_and_what_it_keeps_comes_back_from_there() {
    let lab = lab("[[retention]]\nstreams = [\"*\"]\ntier = \"nas\"\nmax_age = \"4s\"\n")
        .wasabi()
        .start()
        .await;
    old_messages(&lab).await;
    lab.wasabi().set_faults(vec![Rule::new(Fault::Unavailable).operation("PutObject")]).unwrap();
    let daemon = lab.manager.tier().await;
    let shown = lab.manager.json(&["retention"]);
    let waiting = shown["tiers"][0]["streams"][0]["waiting"].as_u64().unwrap();
    assert!(waiting >= 1 && shown["tiers"][0]["messages"] == 0, "{shown}");
    for seq in 61..=66 {
        lab.nats.publish("S", 1).await;
        lab.manager.reaches("S", "nas", seq).await;
    }
    // `max_age` and a look have passed for those too, by the times that the server gave them; it is all there.
    lab.nats.becomes_older("S", 61, Duration::from_secs(6)).await;
    assert_eq!(expired(&held(&lab.manager, "nas", "S")), 0);
    lab.wasabi().set_faults(Vec::new()).unwrap();
    leave(&lab.manager, "nas", "S", waiting).await;
    assert_eq!(expired(&held(&lab.manager, "wasabi", "S")), 0);
    lab.manager.reaches("S", "wasabi", 66).await;
    assert!(verified(&lab.manager, "nas") >= waiting);
    assert_eq!(verified(&lab.manager, "wasabi"), 0);

    // What comes back from there is archived anew on the NAS, which had let it go.
    lab.nats.delete_stream("S").await;
    lab.manager.json(&["restore", "S", "--from", "wasabi", "--with-dropped"]);
    let all = fingerprint(&lab.nats, "S").await;
    assert_eq!(sequences(&all), (1..=66).collect::<Vec<_>>());
    wait_until("it is archived anew", async || {
        let held = held(&lab.manager, "nas", "S");
        let anew = held["timelines"].as_array().is_some_and(|all| all.len() == 2);
        if anew && held["timelines"][1]["last_seq"] == 66 { Ok(()) } else { Err(held.to_string()) }
    })
    .await;
    daemon.stop().await;
    verified(&lab.manager, "nas");
    let Host { nats: second, manager: there } = lab.host("second").await;
    there.json(&["restore", "S", "--no-fallback"]);
    assert_eq!(sequences(&fingerprint(&second, "S").await), (1..=66).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn wasabi_goes_by_its_own_table() {
    let lab = lab("[[retention]]\nstreams = [\"*\"]\ntier = \"wasabi\"\nmax_msgs = 30\n")
        .wasabi()
        .start()
        .await;
    old_messages(&lab).await;
    let daemon = lab.manager.tier().await;
    lab.manager.reaches("S", "wasabi", 60).await;
    // All that was there at first is one segment.
    wait_until("the oldest messages leave wasabi", async || {
        lab.nats.publish("S", 5).await;
        lab.nats.api("STREAM.PURGE.S", json!({ "keep": 20 })).await;
        let held = held(&lab.manager, "wasabi", "S");
        if expired(&held) > 0 { Ok(()) } else { Err(held.to_string()) }
    })
    .await;
    assert_eq!(expired(&held(&lab.manager, "nas", "S")), 0);
    assert!(verified(&lab.manager, "wasabi") >= 60);
    let last = lab.nats.last_seq("S").await;
    lab.manager.reaches("S", "wasabi", last).await;
    daemon.stop().await;
    let Host { nats: second, manager: there } = lab.host("second").await;
    there.json(&["restore", "S", "--from", "wasabi", "--no-fallback"]);
    let (before, after) = (fingerprint(&lab.nats, "S").await, fingerprint(&second, "S").await);
    let (before, after) = (sequences(&before), sequences(&after));
    assert!(after.ends_with(&before) && after[0] > 60, "{before:?} {after:?}");
}
