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
        let dir = tempfile::tempdir().unwrap();
        let program = cim_testing::required_tool("bin/nats-server");
        let child = Command::new(&program)
            .args(["-js", "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"])
            .arg(dir.path())
            .arg("-sd")
            .arg(dir.path().join("js"))
            .stdout(Stdio::null())
            .stderr(Stdio::null())
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

    /// Returns every event, in order.
    pub(crate) async fn events(&self) -> Vec<Envelope> {
        let mut stream = self.jetstream().get_stream("EVENTS").await.unwrap();
        let count = stream.info().await.unwrap().state.messages;
        if count == 0 {
            return Vec::new();
        }
        let config =
            consumer::pull::Config { ack_policy: consumer::AckPolicy::None, ..Default::default() };
        let messages = stream.create_consumer(config).await.unwrap().messages().await.unwrap();
        let count = usize::try_from(count).unwrap();
        let read = messages
            .take(count)
            .map(|message| serde_json::from_slice(&message.unwrap().payload).expect("an envelope"));
        read.collect().await
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
