//! `stream` on a real server: killed again and again, it publishes every output once.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::{self, consumer, stream};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use crate::program::run_in;

const LIMIT: Duration = Duration::from_secs(120);
const EVENTS: usize = 3_000;
const DEFINITION: &str = r#"
pipeline = "p"
format = 1
dead = "dead.p"
[input]
stream = "IN"
subject = "in.>"
time = ".t"
key = ".k"
lateness = "3s"
[[stage]]
name = "double"
kind = "map"
expression = "if .v == 77 then error(\"poison\") else .v *= 2 end"
[[stage]]
name = "sum"
kind = "aggregate"
window = "10s"
expression = "{key, sum: ([.values[].v] | add)}"
[[output]]
name = "each"
from = "double"
subject = "out.each"
[[output]]
name = "sums"
from = "sum"
subject = "out.sums"
"#;

pub(crate) struct Server(Child);

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) async fn server(folder: &Path) -> (Server, String, async_nats::Client) {
    let program = cim_testing::required_tool("bin/nats-server");
    let child = Command::new(&program)
        .args(["-js", "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"])
        .arg(folder)
        .arg("-sd")
        .arg(folder.join("js"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let name = program.file_name().unwrap().to_str().unwrap();
    let ports = folder.join(format!("{name}_{}.ports", child.id()));
    let server = Server(child);
    let (url, client) = cim_testing::wait_until_within("JetStream answers", LIMIT, async || {
        let text = std::fs::read_to_string(&ports).map_err(|error| error.to_string())?;
        let ports: Value = serde_json::from_str(&text).map_err(|error| error.to_string())?;
        let url = ports["nats"][0].as_str().ok_or(text)?.to_owned();
        let client = async_nats::connect(&url).await.map_err(|error| error.to_string())?;
        client.request("$JS.API.INFO", "".into()).await.map_err(|error| error.to_string())?;
        Ok((url, client))
    })
    .await;
    (server, url, client)
}

pub(crate) fn start(folder: &Path, url: &str) -> Child {
    Command::new(env!("CARGO_BIN_EXE_cim-pipeline-engine"))
        .args(["stream", "p.toml", "--create", "--drain", "--nats-url", url])
        .current_dir(folder)
        .env_clear()
        .spawn()
        .unwrap()
}

/// Returns id and value of every message of a stream's subject.
async fn read(stream: &stream::Stream, subject: &str) -> Vec<(String, Value)> {
    let config = consumer::pull::Config {
        ack_policy: consumer::AckPolicy::None,
        filter_subject: subject.into(),
        ..Default::default()
    };
    let mut consumer = stream.create_consumer(config).await.unwrap();
    let count = consumer.info().await.unwrap().num_pending;
    let messages = consumer.messages().await.unwrap().take(usize::try_from(count).unwrap());
    let read = messages.map(|message| {
        let message = message.unwrap();
        let id = message.headers.as_ref().unwrap().get("Nats-Msg-Id").unwrap().to_string();
        (id, serde_json::from_slice(&message.payload).unwrap())
    });
    read.collect().await
}

/// Waits until the server knows none of the ids that it has seen so far.
async fn forgotten(context: &jetstream::Context, probe: &str) {
    let publish = async || {
        let mut headers = async_nats::HeaderMap::new();
        headers.insert("Nats-Msg-Id", probe);
        let ack = context.publish_with_headers("out.probe", headers, "".into()).await.unwrap();
        ack.await.unwrap().duplicate
    };
    assert!(!publish().await);
    cim_testing::wait_until_within("the server forgets an id", LIMIT, async || {
        if publish().await { Err("it knows it".into()) } else { Ok(()) }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_is_killed_publishes_every_output_once() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, url, client) = server(folder.path()).await;
    let context = jetstream::new(client);
    std::fs::write(folder.path().join("p.toml"), DEFINITION).unwrap();
    let make = async |name: &str, subject: &str| {
        // The shortest that a server takes: its memory of ids helps little here.
        let duplicate_window = Duration::from_millis(100);
        let config = stream::Config {
            name: name.into(),
            subjects: vec![subject.into()],
            duplicate_window,
            ..Default::default()
        };
        context.create_stream(config).await.unwrap()
    };
    make("IN", "in.>").await;
    let mut out = make("OUT", "out.>").await;
    let dead = make("DEAD", "dead.>").await;
    let events: Vec<_> =
        (0..EVENTS).map(|n| json!({"t": n / 10, "k": n % 3, "v": n % 100}).to_string()).collect();
    let mut acks = Vec::new();
    for event in &events {
        acks.push(context.publish("in.a", event.clone().into()).await.unwrap());
    }
    for ack in acks {
        ack.await.unwrap();
    }

    let mut killed = 0;
    for least in [1, 300, 700, 1_000, 1_700, 2_400] {
        let mut process = start(folder.path(), &url);
        let ended = cim_testing::wait_until_within("there is more output", LIMIT, async || {
            let ended = process.try_wait().unwrap();
            let there = out.info().await.unwrap().state.messages;
            if ended.is_some() || there > least { Ok(ended) } else { Err(there.to_string()) }
        })
        .await;
        if ended.is_none() {
            process.kill().unwrap();
            process.wait().unwrap();
            killed += 1;
            forgotten(&context, &format!("probe-{killed}")).await;
        }
    }
    assert!(killed > 2, "it was killed {killed} times");
    let done = start(folder.path(), &url).wait().unwrap();
    assert!(done.success(), "{done}");

    // The same over a file; there the last windows are closed, since no event will come.
    std::fs::write(folder.path().join("in.ndjson"), events.join("\n")).unwrap();
    let (status, lines, _) = run_in(folder.path(), &["run", "p.toml", "--file", "in.ndjson"]);
    assert_eq!(status, Some(0));
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let of = |output: &str| -> Vec<Value> {
        lines
            .iter()
            .filter(|line| line["output"] == output)
            .map(|line| line["value"].clone())
            .collect()
    };
    let values =
        |read: &[(String, Value)]| read.iter().map(|(_, value)| value.clone()).collect::<Vec<_>>();
    let each = read(&out, "out.each").await;
    assert_eq!(values(&each), of("each"));
    let sums = values(&read(&out, "out.sums").await);
    assert!(sums.len() > 80, "{}", sums.len());
    assert_eq!(sums, of("sums")[..sums.len()]);
    assert_eq!(read(&dead, "dead.p").await.len(), EVENTS / 100);
    let ids: std::collections::BTreeSet<_> = each.iter().map(|(id, _)| id).collect();
    assert_eq!(ids.len(), EVENTS - EVENTS / 100);
    assert_eq!(each[0].0, "p/each/IN:1");
}
