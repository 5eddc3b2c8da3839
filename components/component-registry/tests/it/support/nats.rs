//! A nats-server with JetStream.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use async_nats::jetstream::{self, consumer};
use cim_core::envelope::Envelope;
use futures_util::StreamExt as _;
use serde_json::Value;

/// A condition is waited for so long; a busy machine may need it.
const LIMIT: Duration = Duration::from_secs(120);

/// Waits until `attempt` succeeds; what failed last is said at the limit.
pub(crate) async fn wait_until<T>(
    what: &str,
    attempt: impl AsyncFnMut() -> Result<T, String>,
) -> T {
    cim_testing::wait_until_within(what, LIMIT, attempt).await
}

pub(crate) struct Nats {
    pub(crate) url: String,
    pub(crate) client: async_nats::Client,
    pub(crate) dir: tempfile::TempDir,
    child: Child,
}

impl Nats {
    pub(crate) async fn start() -> Self {
        Self::start_with("").await
    }

    /// Starts a server with these lines of configuration.
    pub(crate) async fn start_with(configuration: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let program = cim_testing::required_tool("bin/nats-server");
        let log = std::fs::File::create(dir.path().join("nats.log")).unwrap();
        std::fs::write(dir.path().join("nats.conf"), configuration).unwrap();
        let child = Command::new(&program)
            .arg("-c")
            .arg(dir.path().join("nats.conf"))
            .args(["-js", "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"])
            .arg(dir.path())
            .arg("-sd")
            .arg(dir.path().join("js"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        let name = program.file_name().unwrap().to_str().unwrap();
        let ports = dir.path().join(format!("{name}_{}.ports", child.id()));
        let url = wait_until("nats-server says its port", async || {
            let text = std::fs::read_to_string(&ports).map_err(|e| e.to_string())?;
            let ports: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
            ports["nats"][0].as_str().map(str::to_owned).ok_or(text)
        })
        .await;
        let client = wait_until("JetStream answers", async || {
            let client = async_nats::connect(&url).await.map_err(|e| e.to_string())?;
            client.request("$JS.API.INFO", "".into()).await.map_err(|e| e.to_string())?;
            Ok(client)
        })
        .await;
        Self { url, client, dir, child }
    }

    pub(crate) fn jetstream(&self) -> jetstream::Context {
        jetstream::new(self.client.clone())
    }

    /// Makes the stream of events, as the inventory declares it.
    pub(crate) async fn events_stream(&self) -> jetstream::stream::Stream {
        let config = jetstream::stream::Config {
            name: "EVENTS".into(),
            subjects: vec!["cim.event.>".into()],
            allow_direct: true,
            ..Default::default()
        };
        self.jetstream().get_or_create_stream(config).await.unwrap()
    }

    /// Returns every event of the registry, in order.
    pub(crate) async fn events(&self) -> Vec<Envelope> {
        let mut stream = self.events_stream().await;
        let count = stream.info().await.unwrap().state.messages;
        if count == 0 {
            return Vec::new();
        }
        let config =
            consumer::pull::Config { ack_policy: consumer::AckPolicy::None, ..Default::default() };
        let consumer = stream.create_consumer(config).await.unwrap();
        let messages = consumer.messages().await.unwrap();
        let count = usize::try_from(count).unwrap();
        let read = messages
            .take(count)
            .map(|message| serde_json::from_slice(&message.unwrap().payload).expect("an envelope"));
        read.collect().await
    }

    /// Returns the views in the bucket by key, without positions.
    pub(crate) async fn views(&self) -> Vec<(String, Value)> {
        let bucket = self.jetstream().get_key_value("component-registry").await.unwrap();
        let mut keys: Vec<String> =
            bucket.keys().await.unwrap().map(Result::unwrap).collect().await;
        keys.sort();
        let mut views = Vec::new();
        for key in keys {
            if key.starts_with("component.") || key.starts_with("capability.") {
                let value = bucket.get(&key).await.unwrap().unwrap();
                let value: Value = serde_json::from_slice(&value).unwrap();
                views.push((key, value["value"].clone()));
            }
        }
        views
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
