//! What leaves the archive by rule, on real servers: never what JetStream holds, always with a word, and no object that
//! anything still needs.

use std::path::Path;
use std::time::Duration;

use cim_fake_wasabi::{Fault, Rule};
use serde_json::{Value, json};

use crate::clock::stream_of_times;
use crate::support::{Daemon, Manager, Minio, Nats, Settings, fake_s3, fingerprint, wait_until};

/// One message makes a segment, and nothing that has left stays for long.
const QUICK: &str = "[segment]\nflush_age = \"20ms\"\nflush_size = \"4KiB\"\n[seal]\ninterval = \"300ms\"\n[collect]\ngrace = \"1s\"\n";

fn settings(nats: &Nats, nas: &str, tables: &str) -> Settings {
    let mut settings = Settings::new(&nats.url, nas);
    settings.layout = "journal".into();
    settings.more = format!("{QUICK}{tables}");
    settings
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
async fn old_messages(dir: &Path, nats: &Nats, nas: &str) -> Manager {
    let times: Vec<i64> = (1..=60).collect();
    stream_of_times(nats, "S", &times).await;
    let manager = Manager::new(dir, "first", &settings(nats, nas, ""));
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
    let dir = tempfile::tempdir().unwrap();
    let (minio, nats) =
        (Minio::start(dir.path()).await, Nats::start(&dir.path().join("host")).await);
    let first = old_messages(dir.path(), &nats, &minio.url).await;
    assert_eq!(verified(&first, "nas"), 0);
    let before = fingerprint(&nats, "S").await;
    let tables = "[[retention]]\nstreams = [\"S*\"]\nmax_age = \"1d\"\n";
    let manager = Manager::new(dir.path(), "host", &settings(&nats, &minio.url, tables));

    // What would leave is told before, and stays.
    let preview = manager.json(&["retention"]);
    let shown = &preview["tiers"][0];
    let leaving = shown["messages"].as_u64().unwrap();
    assert!((1..=40).contains(&leaving) && shown["objects"].as_u64() > Some(0), "{preview}");
    assert_eq!(expired(&held(&manager, "nas", "S")), 0);
    assert_eq!(first.error(&["retention"]).0, 2);

    let objects = minio.files("xl.meta").len();
    let daemon = manager.tier().await;
    let left = leave(&manager, "nas", "S", leaving).await;
    assert_eq!(left["expired"].as_array().unwrap().len(), 1, "{left}");
    assert_eq!(left["expired"][0]["rule"], "max_age = \"1d\"");
    let kept_from = left["expired"][0]["last_seq"].as_u64().unwrap() + 1;
    assert!((2..=41).contains(&kept_from), "{left}");
    wait_until("their objects are deleted", async || {
        let now = minio.files("xl.meta").len();
        if now < objects { Ok(()) } else { Err(format!("{now} of {objects}")) }
    })
    .await;
    assert_eq!(verified(&manager, "nas"), leaving);
    daemon.stop().await;
    assert_eq!(verified(&manager, "nas"), leaving);
    assert_eq!(manager.json(&["retention"])["tiers"][0]["messages"], 0);

    let second = Nats::start(&dir.path().join("second")).await;
    let there = Manager::new(dir.path(), "second", &settings(&second, &minio.url, ""));
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
    let dir = tempfile::tempdir().unwrap();
    let (nas, nats) =
        (fake_s3(dir.path(), "nas").await, Nats::start(&dir.path().join("host")).await);
    let url = nas.s3_url();
    let first = old_messages(dir.path(), &nats, &url).await;
    let tables = "[[retention]]\nstreams = [\"*\"]\nmax_msgs = 35\n";
    let manager = Manager::new(dir.path(), "host", &settings(&nats, &url, tables));
    let leaving = manager.json(&["retention"])["tiers"][0]["messages"].as_u64().unwrap();
    assert!((1..=25).contains(&leaving), "{leaving}");
    // Each delete takes a while, so that it dies between two of them too.
    let slow = Rule::new(Fault::Delay).operation("DeleteObject").seconds(0.2);
    nas.set_faults(vec![slow]).unwrap();
    for round in 0..8 {
        let daemon = manager.tier().await;
        if round > 3 {
            leave(&manager, "nas", "S", leaving).await;
        }
        tokio::time::sleep(Duration::from_millis(round * 370)).await;
        daemon.kill();
        // Whatever has left, all that is named is there.
        let left = verified(&first, "nas");
        assert!(left == 0 || left == leaving, "{left} of {leaving}");
    }
    nas.set_faults(Vec::new()).unwrap();
    let daemon = manager.tier().await;
    leave(&manager, "nas", "S", leaving).await;
    nats.publish("S", 5).await;
    manager.reaches("S", "nas", 65).await;
    daemon.stop().await;
    assert!(verified(&manager, "nas") >= leaving);
    let before = fingerprint(&nats, "S").await;
    let second = Nats::start(&dir.path().join("second")).await;
    let there = Manager::new(dir.path(), "second", &settings(&second, &url, ""));
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

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_was_dropped_leaves_as_a_whole_and_an_empty_server_drops_none() {
    let dir = tempfile::tempdir().unwrap();
    let (minio, nats) =
        (Minio::start(dir.path()).await, Nats::start(&dir.path().join("host")).await);
    for stream in ["GONE", "BACK", "STAYS"] {
        nats.create(stream, json!({})).await;
        nats.publish(stream, 30).await;
    }
    let tables = "[[retention]]\nstreams = [\"*\"]\ndropped = \"12s\"\n";
    let manager = Manager::new(dir.path(), "host", &settings(&nats, &minio.url, tables));
    let daemon = manager.tier().await;
    manager.has_all(&nats, &["GONE", "BACK", "STAYS"]).await;
    for stream in ["GONE", "BACK"] {
        nats.api(&format!("STREAM.DELETE.{stream}"), Value::Null).await;
    }
    wait_until("it is seen that they are gone", async || {
        let missing =
            ["GONE", "BACK"].map(|name| held(&manager, "nas", name)["absent_since"].clone());
        if missing.iter().all(Value::is_string) { Ok(()) } else { Err(format!("{missing:?}")) }
    })
    .await;
    let log = daemon.log();
    assert!(
        log.contains("stream `GONE` is not in JetStream any more: by `dropped = \"12s\"`"),
        "{log}"
    );
    // One is restored before its time has come.
    manager.json(&["restore", "BACK"]);
    let left = gone(&manager, "GONE").await;
    assert_eq!((expired(&left), &left["expired"][0]["rule"]), (30, &json!("dropped = \"12s\"")));
    let back = held(&manager, "nas", "BACK");
    assert_eq!((expired(&back), &back["absent_since"]), (0, &Value::Null), "{back}");
    assert_eq!(verified(&manager, "nas"), 30);

    // A stream of that name has a history of its own.
    nats.create("GONE", json!({})).await;
    nats.publish("GONE", 7).await;
    wait_until("it is archived", async || {
        let held = held(&manager, "nas", "GONE");
        let new = &held["timelines"][1];
        let there = new["last_seq"] == 7 && held["absent_since"].is_null();
        if there { Ok(()) } else { Err(held.to_string()) }
    })
    .await;
    nats.api("STREAM.DELETE.GONE", Value::Null).await;
    let left = gone(&manager, "GONE").await;
    assert_eq!(expired(&left), 37);
    daemon.stop().await;

    let second = Nats::start(&dir.path().join("second")).await;
    let there = Manager::new(dir.path(), "second", &settings(&second, &minio.url, tables));
    let (status, error) = there.error(&["restore", "GONE"]);
    assert!(status == 7 && error.contains("left the archive by `dropped = \"12s\"`"), "{error}");
    // A server that has lost all its streams has dropped none.
    let daemon = there.tier().await;
    wait_until("the empty server was looked at", async || {
        tokio::time::sleep(Duration::from_secs(14)).await;
        Ok(())
    })
    .await;
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
    let dir = tempfile::tempdir().unwrap();
    let (minio, nats) =
        (Minio::start(dir.path()).await, Nats::start(&dir.path().join("host")).await);
    nats.create("S", json!({})).await;
    let tables = "[[retention]]\nstreams = [\"*\"]\nleft_timelines = \"5s\"\n";
    let manager = Manager::new(dir.path(), "host", &settings(&nats, &minio.url, tables));
    let daemon = manager.tier().await;
    for last in [20, 40] {
        nats.publish("S", 20).await;
        manager.reaches("S", "nas", last).await;
    }
    daemon.stop().await;
    nats.api("STREAM.DELETE.S", Value::Null).await;
    manager.json(&["restore", "S", "--until-seq", "20"]);
    let daemon = manager.tier().await;
    nats.publish("S", 6).await;
    manager.reaches("S", "nas", 26).await;
    let left = leave(&manager, "nas", "S", 20).await;
    let run = &left["expired"][0];
    assert_eq!(
        (&run["timeline"], &run["first_seq"], &run["last_seq"]),
        (&json!(1), &json!(21), &json!(40))
    );
    assert_eq!(run["rule"], "left_timelines = \"5s\"");
    assert_eq!(verified(&manager, "nas"), 20);
    daemon.stop().await;
    let before = fingerprint(&nats, "S").await;
    let second = Nats::start(&dir.path().join("second")).await;
    let there = Manager::new(dir.path(), "second", &settings(&second, &minio.url, ""));
    there.json(&["restore", "S"]);
    assert_eq!(fingerprint(&second, "S").await, before);
    let (status, error) =
        there.error(&["restore", "S", "--timeline", "1", "--as", "T", "--subjects", "t.>"]);
    assert!(status == 7 && error.contains("timeline 1: all its messages"), "{error}");
}

/// Starts the storage manager with a Wasabi, which keeps what the NAS lets go.
async fn with_wasabi(
    dir: &Path,
    nats: &Nats,
    nas: &str,
    wasabi: &str,
    tables: &str,
) -> (Manager, Daemon) {
    let mut settings = settings(nats, nas, tables);
    settings.wasabi = Some(wasabi.into());
    let manager = Manager::new(dir, "host", &settings);
    let daemon = manager.tier().await;
    (manager, daemon)
}

#[tokio::test(flavor = "multi_thread")]
async fn what_wasabi_lacks_stays_on_the_nas_and_what_it_keeps_comes_back_from_there() {
    let dir = tempfile::tempdir().unwrap();
    let (nas, wasabi) = (Minio::start(dir.path()).await, fake_s3(dir.path(), "wasabi").await);
    let nats = Nats::start(&dir.path().join("host")).await;
    old_messages(dir.path(), &nats, &nas.url).await;
    wasabi.set_faults(vec![Rule::new(Fault::Unavailable).operation("PutObject")]).unwrap();
    let tables = "[[retention]]\nstreams = [\"*\"]\ntier = \"nas\"\nmax_age = \"4s\"\n";
    let url = wasabi.s3_url();
    let (manager, daemon) = with_wasabi(dir.path(), &nats, &nas.url, &url, tables).await;
    let shown = manager.json(&["retention"]);
    let waiting = shown["tiers"][0]["streams"][0]["waiting"].as_u64().unwrap();
    assert!(waiting >= 1 && shown["tiers"][0]["messages"] == 0, "{shown}");
    // Some looks later it is all there.
    for seq in 61..=66 {
        nats.publish("S", 1).await;
        manager.reaches("S", "nas", seq).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(expired(&held(&manager, "nas", "S")), 0);
    wasabi.set_faults(Vec::new()).unwrap();
    leave(&manager, "nas", "S", waiting).await;
    assert_eq!(expired(&held(&manager, "wasabi", "S")), 0);
    manager.reaches("S", "wasabi", 66).await;
    assert!(verified(&manager, "nas") >= waiting);
    assert_eq!(verified(&manager, "wasabi"), 0);

    // What comes back from there is archived anew on the NAS, which had let it go.
    nats.api("STREAM.DELETE.S", Value::Null).await;
    manager.json(&["restore", "S", "--from", "wasabi", "--with-dropped"]);
    let all = fingerprint(&nats, "S").await;
    assert_eq!(sequences(&all), (1..=66).collect::<Vec<_>>());
    wait_until("it is archived anew", async || {
        let held = held(&manager, "nas", "S");
        let anew = held["timelines"].as_array().is_some_and(|all| all.len() == 2);
        if anew && held["timelines"][1]["last_seq"] == 66 { Ok(()) } else { Err(held.to_string()) }
    })
    .await;
    daemon.stop().await;
    verified(&manager, "nas");
    let second = Nats::start(&dir.path().join("second")).await;
    let there = Manager::new(dir.path(), "second", &settings(&second, &nas.url, ""));
    there.json(&["restore", "S"]);
    assert_eq!(sequences(&fingerprint(&second, "S").await), (1..=66).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread")]
async fn wasabi_goes_by_its_own_table() {
    let dir = tempfile::tempdir().unwrap();
    let (nas, wasabi) = (Minio::start(dir.path()).await, fake_s3(dir.path(), "wasabi").await);
    let nats = Nats::start(&dir.path().join("host")).await;
    old_messages(dir.path(), &nats, &nas.url).await;
    let tables = "[[retention]]\nstreams = [\"*\"]\ntier = \"wasabi\"\nmax_msgs = 30\n";
    let url = wasabi.s3_url();
    let (manager, daemon) = with_wasabi(dir.path(), &nats, &nas.url, &url, tables).await;
    manager.reaches("S", "wasabi", 60).await;
    // All that was there at first is one segment.
    wait_until("the oldest messages leave wasabi", async || {
        nats.publish("S", 5).await;
        nats.api("STREAM.PURGE.S", json!({ "keep": 20 })).await;
        let held = held(&manager, "wasabi", "S");
        if expired(&held) > 0 { Ok(()) } else { Err(held.to_string()) }
    })
    .await;
    assert_eq!(expired(&held(&manager, "nas", "S")), 0);
    assert!(verified(&manager, "wasabi") >= 60);
    let last = nats.last_seq("S").await;
    manager.reaches("S", "wasabi", last).await;
    daemon.stop().await;
    let second = Nats::start(&dir.path().join("second")).await;
    let mut settings = settings(&second, &nas.url, "");
    settings.wasabi = Some(url);
    let there = Manager::new(dir.path(), "second", &settings);
    there.json(&["restore", "S", "--from", "wasabi", "--no-fallback"]);
    let (before, after) = (fingerprint(&nats, "S").await, fingerprint(&second, "S").await);
    let (before, after) = (sequences(&before), sequences(&after));
    assert!(after.ends_with(&before) && after[0] > 60, "{before:?} {after:?}");
}
