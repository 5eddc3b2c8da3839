//! A nats-server with JetStream.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use async_nats::HeaderMap;
use serde_json::{Value, json};

use super::Child;
use super::tools::{tool, wait_until};
use super::version::Version;

pub(crate) struct Nats {
    pub(crate) url: String,
    pub(crate) client: async_nats::Client,
    dir: PathBuf,
    version: Version,
    seed: Option<String>,
    /// Further lines of its configuration.
    more: String,
    child: Option<Child>,
}

impl Nats {
    /// `None`, said aloud, where the old server is not there and need not be.
    pub(crate) async fn start_version(dir: &Path, version: Version) -> Option<Self> {
        Self::start_as(dir, version, None, "").await
    }

    /// The current server, with further lines of configuration.
    pub(crate) async fn start_with(dir: &Path, more: &str) -> Self {
        let started = Self::start_as(dir, Version::Current, None, more).await;
        started.expect("the current server is a must")
    }

    /// The same with further lines of configuration.
    pub(crate) async fn start_version_with(
        dir: &Path,
        version: Version,
        more: &str,
    ) -> Option<Self> {
        Self::start_as(dir, version, None, more).await
    }

    /// With `seed`, the server lets in the user of that nkey and nobody else.
    async fn start_as(
        dir: &Path,
        version: Version,
        seed: Option<String>,
        more: &str,
    ) -> Option<Self> {
        let program = version.program()?;
        std::fs::create_dir_all(dir).unwrap();
        let log = std::fs::File::create(dir.join("nats.log")).unwrap();
        let config = dir.join("nats.conf");
        let users = seed.as_deref().map(|seed| {
            let key = nkeys::KeyPair::from_seed(seed).unwrap().public_key();
            format!("authorization {{ users = [ {{ nkey: \"{key}\" }} ] }}\n")
        });
        std::fs::write(&config, format!("{}{more}\n", users.unwrap_or_default())).unwrap();
        let child = Command::new(&program)
            .arg("-c")
            .arg(config)
            .args(["-js", "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"])
            .arg(dir)
            .arg("-sd")
            .arg(dir.join("js"))
            .stdout(Stdio::null())
            .stderr(log)
            .spawn()
            .unwrap();
        // The server names the file after itself.
        let name = program.file_name().unwrap().to_str().unwrap();
        let ports = dir.join(format!("{name}_{}.ports", child.id()));
        let child = Child(child);
        let url = wait_until("nats-server says its port", async || {
            let text = std::fs::read_to_string(&ports).map_err(|e| e.to_string())?;
            let ports: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
            ports["nats"][0].as_str().map(str::to_owned).ok_or(text)
        })
        .await;
        let client = wait_until("JetStream answers", async || {
            let options = seed.clone().map(async_nats::ConnectOptions::with_nkey);
            let client = options.unwrap_or_default().connect(&url).await;
            let client = client.map_err(|e| e.to_string())?;
            client.request("$JS.API.INFO", "".into()).await.map_err(|e| e.to_string())?;
            Ok(client)
        })
        .await;
        let (dir, more) = (dir.into(), more.into());
        Some(Self { url, client, dir, version, seed, more, child: Some(child) })
    }

    /// A connection to a server, or to the first of several, that somebody else started.
    pub(crate) async fn at(urls: Vec<String>) -> Self {
        let client = wait_until("JetStream answers", async || {
            let client = async_nats::ConnectOptions::new().ignore_discovered_servers();
            let client = client.connect(urls.clone()).await.map_err(|e| e.to_string())?;
            let request = client.request("$JS.API.STREAM.NAMES", "".into());
            let answer = tokio::time::timeout(std::time::Duration::from_secs(2), request).await;
            let answer = answer.map_err(|e| e.to_string())?.map_err(|e| e.to_string())?;
            let answer = String::from_utf8_lossy(&answer.payload).into_owned();
            if answer.contains("\"error\"") { Err(answer) } else { Ok(client) }
        })
        .await;
        let (dir, version) = (PathBuf::new(), Version::Current);
        let more = String::new();
        Self { url: urls.join(","), client, dir, version, seed: None, more, child: None }
    }

    /// Another user's connection to the same server, with the user's name for a password.
    pub(crate) async fn log_in(&self, user: &str) -> Self {
        let options = async_nats::ConnectOptions::with_user_and_password(user.into(), user.into());
        let client = options.connect(&self.url).await.unwrap();
        let (dir, more) = (PathBuf::new(), String::new());
        Self {
            url: self.url.clone(),
            client,
            dir,
            version: self.version,
            seed: None,
            more,
            child: None,
        }
    }

    pub(crate) async fn start(dir: &Path) -> Self {
        Self::start_version(dir, Version::Current).await.expect("the current server is a must")
    }

    /// A server for the user of one nkey.
    pub(crate) async fn start_for(dir: &Path, user: &nkeys::KeyPair) -> Self {
        let seed = user.seed().unwrap();
        Self::start_as(dir, Version::Current, Some(seed), "")
            .await
            .expect("the current server is a must")
    }

    /// A server without JetStream, for those who answer in its place; and a connection to it.
    pub(crate) async fn without_jetstream(dir: &Path) -> (Child, async_nats::Client) {
        let mut command = Command::new(tool("bin/nats-server"));
        command.args(["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"]).arg(dir);
        let child = Child(command.stderr(Stdio::null()).spawn().unwrap());
        let ports = dir.join(format!("nats-server_{}.ports", child.0.id()));
        let client = wait_until("nats-server answers", async || {
            let text = std::fs::read_to_string(&ports).map_err(|e| e.to_string())?;
            let ports: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
            let url = ports["nats"][0].as_str().ok_or(text)?;
            async_nats::connect(url).await.map_err(|e| e.to_string())
        });
        (child, client.await)
    }

    /// Has it read a configuration with these further lines.
    pub(crate) fn reload(&self, more: &str) {
        std::fs::write(self.dir.join("nats.conf"), format!("{more}\n")).unwrap();
        let pid = self.child.as_ref().expect("it runs").0.id().to_string();
        assert!(Command::new("kill").args(["-HUP", &pid]).status().unwrap().success());
    }

    /// Killed -9 and started again on the same store.
    pub(crate) async fn crash_and_start(self) -> Self {
        self.crash_and_start_after(|_| ()).await
    }

    /// The same, with something done to the files of its streams while it is down.
    pub(crate) async fn crash_and_start_after(self, between: impl FnOnce(&Path)) -> Self {
        let Self { dir, version, seed, more, child, .. } = self;
        drop(child);
        between(&dir.join("js/jetstream/$G/streams"));
        Self::start_as(&dir, version, seed, &more).await.expect("it was there before")
    }

    /// kill -9, the newest messages of a stream cut off its last block, and a start on the same disk.
    pub(crate) async fn lose_the_end(mut self, stream: &str) -> Self {
        self.child = None;
        let block = self.dir.join(format!("js/jetstream/$G/streams/{stream}/msgs/1.blk"));
        let block = std::fs::File::options().write(true).open(block).unwrap();
        block.set_len(block.metadata().unwrap().len() / 2).unwrap();
        self.crash_and_start().await
    }

    /// Stops it in the middle of what it does: it answers no one until it is killed.
    pub(crate) fn freeze(&self) {
        let pid = self.child.as_ref().expect("it runs").0.id().to_string();
        assert!(Command::new("kill").args(["-STOP", &pid]).status().unwrap().success());
    }

    /// Asks the JetStream API; its error is the test's.
    pub(crate) async fn api(&self, what: &str, body: Value) -> Value {
        let answer = self.try_api(what, body).await;
        assert!(answer["error"].is_null(), "{what}: {answer}");
        answer
    }

    pub(crate) async fn try_api(&self, what: &str, body: Value) -> Value {
        let body = if body.is_null() { String::new() } else { body.to_string() };
        match self.client.request(format!("$JS.API.{what}"), body.into()).await {
            Ok(answer) => serde_json::from_slice(&answer.payload).unwrap(),
            // A cluster that elects does not answer.
            Err(error) => json!({ "error": { "description": error.to_string() } }),
        }
    }

    /// Makes a stream on `<lowercase name>.>`, with further settings.
    pub(crate) async fn create(&self, name: &str, more: Value) {
        let mut config = json!({
            "name": name,
            "subjects": [format!("{}.>", name.to_lowercase())],
            "retention": "limits", "max_consumers": -1, "max_msgs": -1, "max_bytes": -1,
            "discard": "old", "max_age": 0, "max_msg_size": -1, "storage": "file", "num_replicas": 1,
        });
        for (key, value) in more.as_object().unwrap() {
            config[key] = value.clone();
        }
        self.api(&format!("STREAM.CREATE.{name}"), config).await;
    }

    /// Publishes `count` messages of several shapes on three subjects and waits for their acks.
    pub(crate) async fn publish(&self, stream: &str, count: usize) {
        let prefix = stream.to_lowercase();
        let mut acks = Vec::new();
        self.is_heard(stream).await;
        for n in 0..count {
            let subject = format!("{prefix}.{}", ["a", "b.c", "größe"][n % 3]);
            let payload = vec![u8::try_from(n % 251).unwrap(); [0, 1, 100, 3000][n % 4]];
            let jetstream = async_nats::jetstream::new(self.client.clone());
            let ack = if n % 2 == 0 {
                let mut headers = HeaderMap::new();
                headers.insert("Nats-Msg-Id", format!("{prefix}-{n}-{}", uuid::Uuid::now_v7()));
                headers.append("Zeta", "last");
                headers.append("alpha", "first");
                headers.append("alpha", "second");
                jetstream.publish_with_headers(subject, headers, payload.into()).await.unwrap()
            } else {
                jetstream.publish(subject, payload.into()).await.unwrap()
            };
            acks.push(ack);
        }
        for ack in acks {
            ack.await.unwrap();
        }
    }

    /// Waits until the server that this is connected to knows who takes a stream's messages: of another server of a
    /// cluster it hears that a moment after the stream is there.
    async fn is_heard(&self, stream: &str) {
        // The stream takes no message with such an expectation.
        let subject = format!("{}.probe", stream.to_lowercase());
        wait_until("the stream's leader is heard", async || {
            let mut headers = HeaderMap::new();
            headers.insert("Nats-Expected-Stream", "another");
            let asked = self.client.request_with_headers(subject.clone(), headers, "".into());
            match asked.await {
                Ok(_) => Ok(()),
                Err(error) => Err(error.to_string()),
            }
        })
        .await;
    }

    /// Messages that are as small as can be.
    pub(crate) async fn publish_bare(&self, subject: &'static str, count: usize) {
        let jetstream = async_nats::jetstream::new(self.client.clone());
        let mut acks = Vec::new();
        self.is_heard(subject.split('.').next().unwrap()).await;
        for _ in 0..count {
            acks.push(jetstream.publish(subject, "".into()).await.unwrap());
        }
        for ack in acks {
            ack.await.unwrap();
        }
    }

    pub(crate) async fn delete(&self, stream: &str, seqs: &[u64]) {
        for seq in seqs {
            self.api(&format!("STREAM.MSG.DELETE.{stream}"), json!({ "seq": seq })).await;
        }
    }

    pub(crate) async fn info(&self, stream: &str) -> Value {
        self.api(&format!("STREAM.INFO.{stream}"), Value::Null).await
    }

    pub(crate) async fn last_seq(&self, stream: &str) -> u64 {
        self.info(stream).await["state"]["last_seq"].as_u64().unwrap()
    }
}

/// Everything about a stream that an exact restore must bring back: configuration, counts, every
/// sequence's message (raw header bytes, payload, time, or that it is gone), consumers' positions.
pub(crate) async fn fingerprint(nats: &Nats, stream: &str) -> Value {
    let info = nats.info(stream).await;
    let state = &info["state"];
    let (first, last) = (state["first_seq"].as_u64().unwrap(), state["last_seq"].as_u64().unwrap());
    let mut messages = Vec::new();
    for seq in first.max(1)..=last {
        let answer = nats.try_api(&format!("STREAM.MSG.GET.{stream}"), json!({ "seq": seq })).await;
        messages.push(answer["message"].clone());
    }
    let listed = nats.api(&format!("CONSUMER.LIST.{stream}"), Value::Null).await;
    let consumers: Vec<Value> = listed["consumers"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|c| c["config"]["durable_name"].is_string())
        .map(|c| {
            let position = |p: &Value| json!([p["consumer_seq"], p["stream_seq"]]);
            json!({
                "config": c["config"],
                "delivered": position(&c["delivered"]),
                "ack_floor": position(&c["ack_floor"]),
            })
        })
        .collect();
    json!({
        "config": info["config"],
        "first_seq": first,
        "last_seq": last,
        "messages": state["messages"],
        "bytes": state["bytes"],
        "all": messages,
        "consumers": consumers,
    })
}
