//! The pieces of a lab: supervised processes, links, nats-server, MinIO.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::common::{Lab, eventually, lab, processes_with, skipped};
use cim_harness::lab::link::{Broken, Conditions, Link};
use cim_harness::lab::nats::{self, Nats};
use cim_harness::lab::process::{End, Signal, Spec};
use cim_harness::lab::s3::{self, Kind, Service};
use cim_harness::lab::tools::Tool;
use cim_harness::lab::wait::wait_until;
use cim_harness::oracle::wire::{From, Wire};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, timeout};

fn shell(script: &str) -> Spec {
    Spec::new("shell", "/bin/sh").arg("-c").arg(script)
}

#[tokio::test]
async fn a_program_tells_how_it_ended() {
    let lab = lab();
    let process = lab.launcher.start(shell("echo out; echo err >&2; exit 7")).await.unwrap();
    assert_eq!(process.wait().await, End::Exit(7));
    assert_eq!(process.last_log(), "out | err");
    let process = lab.launcher.start(shell("kill -SEGV $$")).await.unwrap();
    assert_eq!(process.wait().await, End::Signal(11));
    let process = lab.launcher.start(shell("exec sleep 1000")).await.unwrap();
    assert_eq!(process.kill().await, End::Signal(9));
    let stubborn = shell("trap '' TERM; echo deaf; while :; do sleep 1; done");
    let stubborn = lab.launcher.start(Spec { name: "stubborn".into(), ..stubborn }).await.unwrap();
    // Before the shell has set its trap, it would end by the signal.
    while stubborn.last_log() != "deaf" {
        assert_eq!(stubborn.ended(), None);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(stubborn.stop(Duration::from_millis(50)).await, End::Signal(9));
}

#[tokio::test]
async fn a_program_that_is_not_there_is_an_error_of_one_line() {
    let lab = lab();
    let error = lab.launcher.start(Spec::new("x", "/no/such/program")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "cannot start `/no/such/program`: No such file or directory (os error 2)"
    );
}

#[tokio::test]
async fn dropping_a_program_kills_it_with_its_children() {
    let lab = lab();
    let mark = format!("4242{}", std::process::id());
    let script = format!("sleep {mark} & sleep {mark}");
    let process = lab.launcher.start(shell(&script)).await.unwrap();
    let sleep = format!("sleep {mark}");
    eventually("the start of both", 10, || processes_with(&sleep).len() >= 2);
    drop(process);
    eventually("the end of both", 10, || processes_with(&sleep).is_empty());
    assert!(lab.launcher.all_ended(Duration::from_secs(5)).await);
}

#[tokio::test]
async fn a_paused_program_does_nothing_until_it_goes_on() {
    let lab = lab();
    let file = lab.dir.path().join("ticks");
    let script = format!("while :; do echo >> {}; sleep 0.01; done", file.display());
    let process = lab.launcher.start(shell(&script)).await.unwrap();
    let size = || std::fs::metadata(&file).map_or(0, |m| m.len());
    eventually("the first tick", 10, || size() > 0);
    process.signal(Signal::Stop).await;
    let state = || std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    eventually("the stop", 10, || state().contains(") T "));
    let before = size();
    process.signal(Signal::Continue).await;
    eventually("another tick", 10, || size() > before);
    assert!(process.usage().unwrap().peak_rss > 0);
}

/// Starts a server that answers every byte with itself.
async fn echo() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                drop(tokio::io::copy(&mut read, &mut write).await);
            });
        }
    });
    addr
}

async fn round_trip(stream: &mut TcpStream, bytes: &[u8]) -> std::io::Result<Duration> {
    let began = Instant::now();
    let (mut read, mut write) = stream.split();
    let mut back = vec![0; bytes.len()];
    tokio::try_join!(write.write_all(bytes), read.read_exact(&mut back).map_ok_unit())?;
    assert_eq!(back, bytes);
    Ok(began.elapsed())
}

trait MapOkUnit {
    async fn map_ok_unit(self) -> std::io::Result<()>;
}

impl<F: Future<Output = std::io::Result<usize>>> MapOkUnit for F {
    async fn map_ok_unit(self) -> std::io::Result<()> {
        self.await.map(drop)
    }
}

#[tokio::test]
async fn a_link_carries_everything_in_order() {
    let link = Link::open(Some(echo().await), Conditions::default()).await.unwrap();
    let mut stream = TcpStream::connect(link.addr()).await.unwrap();
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    round_trip(&mut stream, &bytes).await.unwrap();
    assert_eq!(link.traffic(), (3_000_000, 3_000_000));
}

#[tokio::test]
async fn a_link_delays_and_throttles_while_connections_are_open() {
    let link = Link::open(Some(echo().await), Conditions::default()).await.unwrap();
    let mut stream = TcpStream::connect(link.addr()).await.unwrap();
    round_trip(&mut stream, b"x").await.unwrap();
    link.set(Conditions { delay: "50ms".parse().unwrap(), ..Conditions::default() });
    let took = round_trip(&mut stream, b"x").await.unwrap();
    assert!(took >= Duration::from_millis(100), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
    let slow = Conditions { bandwidth: Some("1MiB".parse().unwrap()), ..Conditions::default() };
    link.set(slow);
    let took = round_trip(&mut stream, &vec![7; 512 * 1024]).await.unwrap();
    assert!(took >= Duration::from_millis(450), "{took:?}");
    link.set(Conditions::default());
    round_trip(&mut stream, &vec![7; 512 * 1024]).await.unwrap();
}

#[tokio::test]
async fn a_cut_link_resets_and_refuses_and_heals() {
    let link = Link::open(Some(echo().await), Conditions::default()).await.unwrap();
    let mut stream = TcpStream::connect(link.addr()).await.unwrap();
    round_trip(&mut stream, b"x").await.unwrap();
    link.set(Conditions { cut: true, ..Conditions::default() });
    let cut = async { while round_trip(&mut stream, b"x").await.is_ok() {} };
    timeout(Duration::from_secs(10), cut).await.unwrap();
    let mut refused = TcpStream::connect(link.addr()).await.unwrap();
    timeout(Duration::from_secs(10), round_trip(&mut refused, b"x")).await.unwrap().unwrap_err();
    link.set(Conditions::default());
    let mut healed = TcpStream::connect(link.addr()).await.unwrap();
    round_trip(&mut healed, b"x").await.unwrap();
}

#[tokio::test]
async fn a_black_hole_answers_nothing_and_gives_back_what_it_swallowed() {
    let link = Link::open(Some(echo().await), Conditions::default()).await.unwrap();
    let mut stream = TcpStream::connect(link.addr()).await.unwrap();
    round_trip(&mut stream, b"x").await.unwrap();
    link.set(Conditions { black_hole: true, ..Conditions::default() });
    let mut trip = Box::pin(round_trip(&mut stream, b"held"));
    timeout(Duration::from_millis(300), &mut trip).await.unwrap_err();
    link.set(Conditions::default());
    timeout(Duration::from_secs(10), trip).await.unwrap().unwrap();
}

/// Starts a server that takes requests of `size` bytes, counts arrived bytes, and answers each with one byte.
async fn counting(size: usize) -> (std::net::SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let addr = listener.local_addr().unwrap();
    let arrived = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&arrived);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let count = Arc::clone(&count);
            tokio::spawn(async move {
                let (mut buffer, mut of_request) = (vec![0; 4096], 0);
                while let Ok(length) = stream.read(&mut buffer).await {
                    if length == 0 {
                        return;
                    }
                    count.fetch_add(length, Ordering::SeqCst);
                    of_request += length;
                    while of_request >= size {
                        of_request -= size;
                        drop(stream.write_all(b"+").await);
                    }
                }
            });
        }
    });
    (addr, arrived)
}

/// Sends a request of `size` bytes and waits for its answer.
async fn request(stream: &mut TcpStream, size: usize) -> std::io::Result<u8> {
    stream.write_all(&vec![7; size]).await?;
    timeout(Duration::from_secs(10), stream.read_u8()).await.unwrap()
}

#[tokio::test]
async fn a_link_that_loses_answers_carries_the_requests() {
    let (addr, arrived) = counting(100).await;
    let every = Conditions { lose_answer_every: NonZeroU32::new(3), ..Conditions::default() };
    let link = Link::open(Some(addr), every).await.unwrap();
    for round in 0..2 {
        let mut stream = TcpStream::connect(link.addr()).await.unwrap();
        for _ in 0..2 {
            assert_eq!(request(&mut stream, 100).await.unwrap(), b'+');
        }
        request(&mut stream, 100).await.unwrap_err();
        assert_eq!(arrived.load(Ordering::SeqCst), 300 * (round + 1), "every request was done");
        assert_eq!(link.broken(), Broken { answers: round as u64 + 1, requests: 0 });
    }
    link.set(Conditions::default());
    let mut stream = TcpStream::connect(link.addr()).await.unwrap();
    for _ in 0..6 {
        assert_eq!(request(&mut stream, 100).await.unwrap(), b'+');
    }
}

#[tokio::test]
async fn a_link_tears_a_request_after_so_many_bytes() {
    let (addr, arrived) = counting(1000).await;
    let link = Link::open(Some(addr), Conditions::default()).await.unwrap();
    let mut stream = TcpStream::connect(link.addr()).await.unwrap();
    // Earlier requests do not count.
    assert_eq!(request(&mut stream, 1000).await.unwrap(), b'+');
    let tear = Conditions { tear_after: Some("1500".parse().unwrap()), ..Conditions::default() };
    link.set(tear);
    assert_eq!(request(&mut stream, 1000).await.unwrap(), b'+');
    request(&mut stream, 1000).await.unwrap_err();
    assert_eq!(link.broken(), Broken { answers: 0, requests: 1 });
    assert!((2000..=2500).contains(&arrived.load(Ordering::SeqCst)), "{arrived:?}");
    // Every connection may pass as many bytes.
    let mut stream = TcpStream::connect(link.addr()).await.unwrap();
    assert_eq!(request(&mut stream, 1000).await.unwrap(), b'+');
    link.set(Conditions::default());
    assert_eq!(request(&mut stream, 1000).await.unwrap(), b'+');
}

#[tokio::test]
async fn nats_keeps_its_streams_over_a_kill_and_its_port() {
    let lab = lab();
    let mut options = nats::Options {
        name: "n".into(),
        server_name: "n".into(),
        dir: lab.dir.path().join("n"),
        port: None,
        sync_interval: None,
        joined: nats::Joined::default(),
        extra: "max_payload: 100000".into(),
    };
    let server = Nats::start(&lab.launcher, &lab.tools, &options).await.unwrap();
    let mut wire = Wire::connect(&server.url()).await.unwrap();
    let config = json!({ "name": "S", "subjects": ["s.>"], "storage": "file" });
    wire.api("STREAM.CREATE.S", &config).await.unwrap();
    wire.request("s.1", b"kept").await.unwrap();
    assert_eq!(server.process.kill().await, End::Signal(9));
    options.port = Some(server.addr.port());
    let again = Nats::start(&lab.launcher, &lab.tools, &options).await.unwrap();
    assert_eq!(again.addr, server.addr);
    let wire = Wire::connect(&again.url()).await.unwrap();
    let message = wire.read("S", From::Start).await.unwrap().next().await.unwrap();
    assert_eq!((message.seq, message.delivery.payload.as_ref()), (1, b"kept".as_ref()));
}

#[tokio::test]
async fn a_server_that_cannot_start_says_why() {
    let lab = lab();
    let options = nats::Options {
        name: "n".into(),
        server_name: "n".into(),
        dir: lab.dir.path().join("n"),
        port: None,
        sync_interval: None,
        joined: nats::Joined::default(),
        extra: "no_such_setting_of_a_server: {".into(),
    };
    let error = Nats::start(&lab.launcher, &lab.tools, &options).await.unwrap_err().to_string();
    assert!(error.starts_with("`nats-server` ended at once (exit status 1): "), "{error}");
}

#[tokio::test]
async fn the_wire_reads_what_is_there_to_the_byte() {
    let lab = lab();
    let options = nats::Options {
        name: "n".into(),
        server_name: "n".into(),
        dir: lab.dir.path().join("n"),
        port: None,
        sync_interval: None,
        joined: nats::Joined::default(),
        extra: String::new(),
    };
    let server = Nats::start(&lab.launcher, &lab.tools, &options).await.unwrap();
    let mut wire = Wire::connect(&server.url()).await.unwrap();
    let config = json!({ "name": "S", "subjects": ["s.>"], "storage": "file" });
    wire.api("STREAM.CREATE.S", &config).await.unwrap();
    let client = async_nats::connect(server.url()).await.unwrap();
    let context = async_nats::jetstream::new(client);
    // More than two batches of the reader.
    let mut acks = Vec::new();
    for n in 0..12_000_u32 {
        let mut headers = async_nats::HeaderMap::new();
        headers.append("N", n.to_string().as_str());
        let payload = n.to_string().into();
        let subject = format!("s.{}", n % 7);
        let ack = context.publish_with_headers(subject, headers, payload).await.unwrap();
        acks.push(ack);
        if acks.len() == 1000 {
            for ack in acks.drain(..) {
                ack.await.unwrap();
            }
        }
    }
    wire.api("STREAM.MSG.DELETE.S", &json!({ "seq": 5000, "no_erase": true })).await.unwrap();
    let mut reader =
        Wire::connect(&server.url()).await.unwrap().read("S", From::Start).await.unwrap();
    let (mut seqs, mut middle) = (Vec::new(), None);
    loop {
        let message = reader.next().await.unwrap();
        let n = message.seq - 1;
        assert_eq!(message.delivery.payload, n.to_string());
        assert_eq!(message.delivery.subject, format!("s.{}", n % 7));
        assert_eq!(message.delivery.headers, format!("NATS/1.0\r\nN: {n}\r\n\r\n"));
        if message.seq == 6000 {
            middle = Some(message.time);
        }
        seqs.push(message.seq);
        if message.pending == 0 {
            break;
        }
    }
    let expected: Vec<u64> = (1..=12_000).filter(|seq| *seq != 5000).collect();
    assert_eq!(seqs, expected);
    let first = async |from| {
        let wire = Wire::connect(&server.url()).await.unwrap();
        wire.read("S", from).await.unwrap().next().await.unwrap()
    };
    assert_eq!(first(From::Sequence(5000)).await.seq, 5001);
    let by_time = first(From::Time(middle.unwrap())).await;
    assert!(by_time.seq <= 6000 && by_time.time == middle.unwrap());
    let error = wire.api("STREAM.INFO.NONE", &Value::Null).await.unwrap_err();
    assert_eq!(error.to_string(), "`STREAM.INFO.NONE`: stream not found");
}

fn nas(lab: &Lab, kind: Kind) -> s3::Options {
    s3::Options {
        name: "nas".into(),
        kind,
        dir: lab.dir.path().join("nas"),
        bucket: "lab".into(),
        credentials: None,
        seed: 0,
    }
}

/// Kills the service and starts it again on its disk, where the object must be.
async fn is_kept_over_a_kill(lab: &Lab, service: Service, options: s3::Options) {
    service.process.kill().await;
    let keys = (service.access.access_key.clone(), service.access.secret_key.clone());
    drop(service);
    let options = s3::Options { credentials: Some(keys), ..options };
    let again = Service::start(&lab.launcher, &lab.tools, &options).await.unwrap();
    let object = again.access.client().unwrap().get_object("a/b").await.unwrap();
    assert_eq!(object.as_slice(), b"kept");
}

#[tokio::test]
async fn minio_keeps_its_objects_over_a_kill_and_counts_requests() {
    let lab = lab();
    let options = nas(&lab, Kind::Minio);
    let service = Service::start(&lab.launcher, &lab.tools, &options).await.unwrap();
    let bucket = service.access.client().unwrap();
    bucket.put_object("a/b", b"kept").await.unwrap();
    let counted = wait_until("MinIO's count of requests", Duration::from_secs(30), async || {
        match service.requests().await {
            Some(count) if count > 0 => Ok(count),
            other => Err(format!("{other:?}")),
        }
    });
    assert!(counted.await.unwrap() >= 1);
    is_kept_over_a_kill(&lab, service, options).await;
}

/// Checks the services that `ci/setup --nas` installs, where it was run.
#[tokio::test]
async fn other_services_keep_their_objects_over_a_kill() {
    for (kind, tool) in [(Kind::Versitygw, Tool::Versitygw), (Kind::Seaweedfs, Tool::Weed)] {
        let lab = lab();
        if let Err(error) = lab.tools.find(tool) {
            skipped("other_services_keep_their_objects_over_a_kill", &error.to_string());
            continue;
        }
        let options = nas(&lab, kind);
        let service = Service::start(&lab.launcher, &lab.tools, &options).await.unwrap();
        let bucket = service.access.client().unwrap();
        bucket.put_object("a/b", b"kept").await.unwrap();
        is_kept_over_a_kill(&lab, service, options).await;
        // SeaweedFS has sockets in /tmp, named after its ports.
        let ports = std::fs::read_to_string(lab.dir.path().join("nas/lab-ports.json"));
        let ports: Vec<std::net::SocketAddr> =
            serde_json::from_str(&ports.unwrap_or_else(|_| "[]".into())).unwrap();
        let ends: Vec<_> = ports.iter().map(|port| format!("-{}.sock", port.port())).collect();
        let left = std::fs::read_dir("/tmp").unwrap().filter(|entry| {
            let name = entry.as_ref().unwrap().file_name();
            ends.iter().any(|end| name.to_string_lossy().ends_with(&**end))
        });
        assert_eq!(left.count(), 0, "sockets");
    }
}
