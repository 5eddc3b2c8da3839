//! A pipeline of four stages beside a bare loop of consume and publish, in the same run. Measures; judges nothing.
//!
//! `CIM_PIPELINE_EVENTS=events.ndjson cargo test -p cim-pipeline-engine --test it throughput -- --ignored --nocapture`

use std::time::Instant;

use async_nats::jetstream::{self, consumer, stream};
use futures_util::StreamExt as _;
use serde_json::json;

use crate::stream::{server, start};

const EVENTS: usize = 5_000;
const DEFINITION: &str = r#"
pipeline = "four"
format = 1
dead = "out.dead"
[input]
stream = "IN"
key = ".data.repository.full_name // \"none\""
[[stage]]
name = "own"
kind = "filter"
expression = ".data.repository != null"
[[stage]]
name = "brief"
kind = "map"
expression = "{type, repo: .data.repository.full_name, owner: .data.repository.owner.login, action: .data.action}"
[[stage]]
name = "team"
kind = "enrich"
lookup = ".owner"
table = { Codertocat = "cat" }
expression = ". + {team: ($entry // \"other\")}"
[[stage]]
name = "kind"
kind = "branch"
cases = { opened = ".action == \"opened\"" }
[[output]]
name = "all"
from = ["kind.opened", "kind.else"]
subject = "out.all"
"#;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures: run it by name"]
async fn four_stages_beside_a_bare_loop() {
    let folder = tempfile::tempdir().unwrap();
    let (_server, url, client) = server(folder.path()).await;
    let context = jetstream::new(client);
    std::fs::write(folder.path().join("p.toml"), DEFINITION).unwrap();
    for (name, subject) in [("IN", "in.>"), ("OUT", "out.>"), ("BARE", "bare")] {
        let config = stream::Config {
            name: name.into(),
            subjects: vec![subject.into()],
            ..Default::default()
        };
        context.create_stream(config).await.unwrap();
    }
    let made = |n: usize| {
        json!({"type": "push", "data": {"action": "opened", "repository": {"full_name": format!("r{}", n % 9), "owner": {"login": "o"}}}}).to_string()
    };
    let lines: Vec<String> = match std::env::var("CIM_PIPELINE_EVENTS") {
        Ok(file) => std::fs::read_to_string(file).unwrap().lines().map(str::to_owned).collect(),
        Err(_) => (0..100).map(made).collect(),
    };
    let bytes: usize = lines.iter().cycle().take(EVENTS).map(String::len).sum();
    for event in lines.iter().cycle().take(EVENTS) {
        context.publish("in.a", event.clone().into()).await.unwrap().await.unwrap();
    }

    let begin = Instant::now();
    assert!(start(folder.path(), &url).wait().unwrap().success());
    let pipeline = begin.elapsed().as_secs_f64();

    let begin = Instant::now();
    let config =
        consumer::pull::Config { ack_policy: consumer::AckPolicy::None, ..Default::default() };
    let input = context.get_stream("IN").await.unwrap().create_consumer(config).await.unwrap();
    let mut messages = input.messages().await.unwrap().take(EVENTS).chunks(256);
    while let Some(chunk) = messages.next().await {
        let mut acks = Vec::new();
        for message in chunk {
            acks.push(context.publish("bare", message.unwrap().message.payload).await.unwrap());
        }
        for ack in acks {
            ack.await.unwrap();
        }
    }
    let bare = begin.elapsed().as_secs_f64();
    let build = if cfg!(debug_assertions) { "dev build" } else { "release build" };
    let rate = |seconds: f64| EVENTS as f64 / seconds;
    println!(
        "{EVENTS} events, {bytes} bytes, {build}: pipeline {:.0}/s with its start, bare loop {:.0}/s, ratio {:.2}",
        rate(pipeline),
        rate(bare),
        bare / pipeline
    );
}
