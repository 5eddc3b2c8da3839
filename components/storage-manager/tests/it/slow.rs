//! Restores that take long: from far away, from a service that pauses, while segments are merged.

use std::sync::Arc;
use std::time::{Duration, Instant};

use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, pull};
use cim_core::archive::key::Chain;
use cim_core::archive::{ArchiveKey, LastMessage, StreamRecord, StreamState, Watermark};
use cim_core::names::StreamName;
use cim_fake_wasabi::{FakeWasabi, Fault, Rule};
use cim_storage_manager::chain::{self, Committer, Draft};
use cim_storage_manager::jetstream::JetStream;
use cim_storage_manager::restore::{self, Options, Progress, Source};
use cim_storage_manager::s3::Store;
use cim_storage_manager::segment::{Columns, Finished, Message, SegmentWriter};
use futures_util::{StreamExt as _, stream};
use jiff::Timestamp;
use serde_json::json;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

use crate::support::{Lab, NOWHERE, Nats, Version, fingerprint, noise, wait_until};

/// A host whose NAS is lost, and a Wasabi; `None`, said aloud, where this version of nats-server is not there.
async fn lab(version: Version) -> Option<Lab<FakeWasabi>> {
    let mut lab = Lab::with().faulty_nas().wasabi().version(version).start_if_there().await?;
    lab.configure(|settings| settings.nas = NOWHERE.into());
    Some(lab)
}

/// A message's time, subject, headers and payload; every third sequence is a gap.
struct Made {
    time: i64,
    subject: String,
    headers: &'static [u8],
    payload: Vec<u8>,
}

impl Made {
    fn of(name: &str, seq: u64, bytes: usize) -> Option<Self> {
        let headers: &[u8] = if seq.is_multiple_of(2) { b"" } else { b"NATS/1.0\r\nk: v\r\n\r\n" };
        (!seq.is_multiple_of(3)).then(|| Self {
            time: 1_700_000_000_000_000_000 + i64::try_from(seq).unwrap() * 1_000_000_007,
            subject: format!("{}.{}", name.to_lowercase(), seq % 7),
            headers,
            // Whatever is compressed is sent later.
            payload: noise(seq, bytes),
        })
    }

    fn message(&self, seq: u64) -> Message<'_> {
        let (subject, payload) = (self.subject.as_bytes(), &self.payload[..]);
        Message { seq, time: self.time, subject, headers: self.headers, payload }
    }
}

/// A segment of that many sequences.
fn segment(name: &str, first: u64, sequences: u64, bytes: usize) -> Finished {
    let (mut writer, mut columns) = (SegmentWriter::new(1), Columns::default());
    for seq in first..first + sequences {
        if let Some(made) = Made::of(name, seq, bytes) {
            columns.push(made.message(seq));
        }
        if columns.bytes() >= 4 << 20 {
            writer.append(std::mem::take(&mut columns)).unwrap();
        }
    }
    writer.append(columns).unwrap();
    writer.finish(&name.parse().unwrap(), 1, false).unwrap()
}

/// Archives a stream of segments of so many sequences with payloads of so many bytes; the last sequence.
async fn archive(store: &Arc<Store>, name: &str, storage: &str, parts: &[(u64, usize)]) -> u64 {
    let stream: StreamName = name.parse().unwrap();
    let mut first = 1;
    let segments = parts.iter().map(|&(sequences, bytes)| {
        let segment = segment(name, first, sequences, bytes);
        first += sequences;
        segment
    });
    let uploads = segments.map(async |Finished { segment, file }| {
        let key = ArchiveKey::parse(&segment.key).unwrap();
        store.put(&key, file).await.unwrap();
        segment
    });
    let segments: Vec<_> = stream::iter(uploads).buffered(16).collect().await;
    let last: LastMessage = segments.last().unwrap().last.clone();
    let (first_seq, last_seq) = (segments[0].first_seq, last.seq);
    let messages = segments.iter().map(|segment| segment.messages).sum();
    let bytes = segments.iter().map(|segment| segment.bytes).sum();
    let config = json!({
        "name": name, "subjects": [format!("{}.>", name.to_lowercase())], "retention": "limits",
        "storage": storage, "max_consumers": -1, "max_msgs": -1, "max_bytes": -1, "max_age": 0,
        "max_msg_size": -1, "discard": "old", "num_replicas": 1,
    });
    let record = json!({ "created": "2026-01-01T00:00:00Z", "config": config }).to_string();
    let record: StreamRecord = serde_json::from_str(&record).unwrap();
    let state = StreamState { first_seq, last_seq, messages, bytes };
    let draft = Draft {
        add: segments,
        watermark: Watermark { seq: last_seq, last: Some(last) },
        ..Draft::first(record, state, Vec::new())
    };
    let mut committer =
        Committer::new(Arc::clone(store), Chain::Manifest, stream, "test".into(), None);
    committer.commit(draft, &CancellationToken::new()).await.unwrap();
    last_seq
}

/// The server has those messages, to the last byte, and no others.
async fn is_there(nats: &Nats, name: &str, last_seq: u64, bytes: impl Fn(u64) -> usize) {
    let jetstream = async_nats::jetstream::new(nats.client.clone());
    let consumer = pull::Config {
        ack_policy: AckPolicy::None,
        deliver_policy: DeliverPolicy::All,
        ..pull::Config::default()
    };
    let stream = jetstream.get_stream(name).await.unwrap();
    let consumer = stream.create_consumer(consumer).await.unwrap();
    let mut found = consumer.messages().await.unwrap();
    for seq in 1..=last_seq {
        let Some(made) = Made::of(name, seq, bytes(seq)) else { continue };
        let message = found.next().await.unwrap().unwrap();
        let info = message.info().unwrap();
        assert_eq!(info.stream_sequence, seq, "{name}");
        let time = i64::try_from(info.published.unix_timestamp_nanos()).unwrap();
        assert_eq!(time, made.time, "{name} {seq}");
        assert_eq!(message.subject.as_str(), made.subject, "{name} {seq}");
        assert!(message.payload == made.payload, "{name} {seq}");
        let header = message.headers.as_ref().and_then(|headers| headers.get("k"));
        assert_eq!(
            header.map(async_nats::HeaderValue::as_str),
            (!made.headers.is_empty()).then_some("v")
        );
    }
    let state = nats.info(name).await["state"].clone();
    assert_eq!(state["last_seq"], last_seq, "{name}: {state}");
    assert_eq!(state["messages"], last_seq - last_seq / 3, "{name}: {state}");
}

/// A stream to which little came in a year, and a service that is 100 ms away.
#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_small_segments_from_far_away() {
    let lab = lab(Version::Current).await.expect("it is a must");
    let there = lab.wasabi_store();
    let last_seq = archive(&there, "QUIET", "file", &vec![(75, 80); 2000]).await;
    lab.wasabi().set_faults(vec![Rule::new(Fault::Delay).seconds(0.1)]).unwrap();
    let begun = Instant::now();
    let report = lab.manager.json(&["restore", "QUIET", "--from", "wasabi"]);
    let took = begun.elapsed();
    assert_eq!(report["streams"][0]["messages"], 100_000, "{report}");
    // One after the other would be 200 s.
    assert!(took < Duration::from_secs(20), "it took {took:?}");
    is_there(&lab.nats, "QUIET", last_seq, |_| 80).await;
}

/// A service that does not give out one segment for 12 s. Where the server has begun it hears something
/// all the same, and where there is nothing yet it has not begun.
async fn pauses(version: Version, name: &str, storage: &str, first_seq: u64) {
    let Some(mut lab) = lab(version).await else { return };
    let there = lab.wasabi_store();
    // The server has got a block of 8 MiB, and not all of the next one.
    let bytes = |seq| if seq <= 300 { 60_000 } else { 50 };
    let last_seq = archive(&there, name, storage, &[(300, 60_000), (50, 50), (51, 50)]).await;
    // Two requests that are given up after 5 s, and one that is answered after 2.5 s.
    let late = format!("*/{first_seq:020}-*.parquet");
    let pause = Rule::new(Fault::Timeout).keys(&late).count(2);
    let delay = Rule::new(Fault::Delay).keys(late).seconds(2.5);
    lab.wasabi().set_faults(vec![delay, pause]).unwrap();
    let manager = lab.manager_with("waits", |_| ());
    let begun = Instant::now();
    let restored = tokio::task::spawn_blocking({
        let name = name.to_owned();
        move || manager.json(&["restore", &name, "--from", "wasabi"])
    });
    let report = restored.await.unwrap();
    assert!(begun.elapsed() > Duration::from_secs(12), "there was no pause: {report}");
    is_there(&lab.nats, name, last_seq, bytes).await;
    if storage == "file" {
        lab.nats.crash_and_start().await;
        is_there(&lab.nats, name, last_seq, bytes).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_pauses() {
    tokio::join!(
        pauses(Version::Current, "BEGIN", "file", 1),
        pauses(Version::Current, "FILE", "file", 301),
        pauses(Version::Current, "MEMORY", "memory", 301),
        pauses(Version::Old, "OLD", "file", 301),
    );
}

/// The plan is an hour old, and its small segments were merged and deleted since.
#[tokio::test(flavor = "multi_thread")]
async fn segments_that_are_merged_meanwhile() {
    // It is a chain's segments that are merged.
    let lab =
        Lab::with().layout("chains").settings("[segment]\nflush_age = \"30ms\"\n").start().await;
    lab.nats.create("S", json!({})).await;
    let daemon = lab.manager.tier().await;
    for round in 1..=5 {
        lab.nats.publish("S", 20).await;
        lab.manager.reaches("S", "nas", 20 * round).await;
    }
    lab.nats.delete("S", &[31, 32]).await;
    daemon.stop().await;
    let stream: StreamName = "S".parse().unwrap();
    let tier = lab.store();
    let state = chain::load(&tier, Chain::Manifest, &stream).await.unwrap().unwrap();
    let later = Timestamp::now() + Duration::from_secs(3600);
    let mut plans = [("AGAIN", None), ("UNTIL", Some(later))].map(|(name, until_time)| {
        let subjects = Some(vec![format!("{}.>", name.to_lowercase())]);
        let rename = Some(name.parse().unwrap());
        let options = Options { rename, subjects, until_time, ..Options::default() };
        restore::plan(&stream, &state, &options).unwrap()
    });
    let jetstream = JetStream::new(lab.nats.client.clone());
    let source = Source::new(Arc::clone(&tier), None);
    let fences = restore::Fences::default();
    let looks = restore::Looks { again: false, locked: false };
    restore::check(&jetstream, &source, &mut plans[..1], fences, looks).await.unwrap();
    let before = fingerprint(&lab.nats, "S").await;

    let quick = "[seal]\ninterval = \"100ms\"\n[collect]\ngrace = \"1ms\"\n";
    let later = lab.manager_with("later", |settings| settings.more = quick.into());
    let daemon = later.tier().await;
    let replaced: Vec<_> =
        plans[0].pieces.iter().map(|(segment, ..)| segment.key.clone()).collect();
    assert!(replaced.len() >= 5, "{replaced:?}");
    wait_until("the small segments are gone", async || {
        let listed = tier.list("v1/streams/S/segments/", false).await.map_err(|e| e.to_string())?;
        let there = listed.iter().filter(|object| replaced.contains(&object.key)).count();
        if there == 0 { Ok(()) } else { Err(format!("{there} are there")) }
    })
    .await;
    daemon.stop().await;

    for plan in plans {
        let (target, progress) = (plan.target.to_string(), Arc::new(Progress::default()));
        let never = CancellationToken::new();
        let outcome = restore::restore(&jetstream, &source, plan, &progress, &never).await.unwrap();
        assert_eq!(outcome.messages, 98, "{target}");
        let after = fingerprint(&lab.nats, &target).await;
        assert_eq!(after["all"], before["all"], "{target}");
        assert_eq!((&after["first_seq"], &after["last_seq"]), (&json!(1), &json!(100)));
    }
}

/// A line to an S3 service on which a second has `BYTES_A_SECOND`, however many connections share them.
async fn slow_line(to: String) -> String {
    const BYTES_A_SECOND: usize = 1 << 20;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let line = Arc::new(Mutex::new(()));
    tokio::spawn(async move {
        loop {
            let (client, _) = listener.accept().await.unwrap();
            let service = TcpStream::connect(to.trim_start_matches("http://")).await.unwrap();
            let (mut asks, mut hears) = client.into_split();
            let (mut answers, mut takes) = service.into_split();
            tokio::spawn(async move { tokio::io::copy(&mut asks, &mut takes).await });
            let line = Arc::clone(&line);
            tokio::spawn(async move {
                let mut buffer = vec![0; BYTES_A_SECOND / 64];
                loop {
                    let read = answers.read(&mut buffer).await.unwrap_or(0);
                    let free = line.lock().await;
                    tokio::time::sleep(
                        Duration::from_secs(1).mul_f64(read as f64 / BYTES_A_SECOND as f64),
                    )
                    .await;
                    drop(free);
                    if read == 0 || hears.write_all(&buffer[..read]).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    url
}

/// Each of many files at once takes longer than one request may be silent for.
#[tokio::test(flavor = "multi_thread")]
async fn a_line_that_many_files_share() {
    let lab = lab(Version::Current).await.expect("it is a must");
    let there = lab.wasabi_store();
    let last_seq = archive(&there, "SHARED", "file", &[(30, 60_000); 8]).await;
    let line = slow_line(lab.wasabi().s3_url()).await;
    let manager = lab.manager_with("far", |settings| settings.wasabi = Some(line));
    let begun = Instant::now();
    let report = tokio::task::spawn_blocking(move || {
        manager.json(&["restore", "SHARED", "--from", "wasabi"])
    });
    let report = report.await.unwrap();
    // More than 9 MiB; were each of them given up and asked for again, it would be a minute and more.
    let took = begun.elapsed().as_secs();
    assert!((7..30).contains(&took), "{took} s: {report}");
    is_there(&lab.nats, "SHARED", last_seq, |_| 60_000).await;
}

/// The largest segments that there are as a rule, and more of them than may be held.
#[tokio::test(flavor = "multi_thread")]
async fn large_segments_do_not_take_more_memory() {
    let lab = lab(Version::Current).await.expect("it is a must");
    let there = lab.wasabi_store();
    let last_seq = archive(&there, "LARGE", "file", &[(51_000, 1000); 6]).await;
    let mut restoring = lab.manager.spawn(&["restore", "LARGE", "--from", "wasabi"]);
    let status = format!("/proc/{}/status", restoring.pid());
    let mut peak = 0;
    wait_until("the stream is restored", async || {
        let status = std::fs::read_to_string(&status).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
        let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
        peak = peak.max(kib.unwrap_or(0));
        restoring.try_wait().ok_or_else(|| format!("{peak} KiB"))
    })
    .await;
    is_there(&lab.nats, "LARGE", last_seq, |_| 1000).await;
    assert!((10 << 10..128 << 10).contains(&peak), "{peak} KiB");
}
