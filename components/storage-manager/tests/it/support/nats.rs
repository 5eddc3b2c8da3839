//! A nats-server with JetStream: its process, and a client of it.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use cim_testing::{required_tool, wait_until};
use serde_json::Value;

use super::Child;
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
    pub(crate) async fn start(dir: &Path) -> Self {
        Self::start_with(dir, "").await
    }

    /// Starts the current server, with further lines of configuration.
    pub(crate) async fn start_with(dir: &Path, more: &str) -> Self {
        let started = Self::start_as(dir, Version::Current, None, more).await;
        started.expect("the current server is a must")
    }

    /// Starts a server of a version; `None`, said aloud, where it is not there and need not be.
    pub(crate) async fn start_version(dir: &Path, version: Version, more: &str) -> Option<Self> {
        Self::start_as(dir, version, None, more).await
    }

    /// Starts a server for the user of one nkey.
    pub(crate) async fn start_for(dir: &Path, user: &nkeys::KeyPair) -> Self {
        let seed = user.seed().unwrap();
        let started = Self::start_as(dir, Version::Current, Some(seed), "").await;
        started.expect("the current server is a must")
    }

    /// With `seed`, the server lets in the user of that nkey and no other one.
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
        let child = Child::spawn(
            Command::new(&program)
                .arg("-c")
                .arg(config)
                .args(["-js", "-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"])
                .arg(dir)
                .arg("-sd")
                .arg(dir.join("js"))
                .stdout(Stdio::null())
                .stderr(log),
        );
        // The server names the file after itself.
        let name = program.file_name().unwrap().to_str().unwrap();
        let ports = dir.join(format!("{name}_{}.ports", child.pid()));
        let url = wait_until("nats-server says its port", async || address(&ports)).await;
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

    /// Connects to a server, or to the first of several, that were started elsewhere.
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
        Self::connected(urls.join(","), client, Version::Current)
    }

    /// Connects to the same server as another user, with the user's name for a password.
    pub(crate) async fn log_in(&self, user: &str) -> Self {
        let options = async_nats::ConnectOptions::with_user_and_password(user.into(), user.into());
        let client = options.connect(&self.url).await.unwrap();
        Self::connected(self.url.clone(), client, self.version)
    }

    /// Returns a client of a server that is not this one's.
    fn connected(url: String, client: async_nats::Client, version: Version) -> Self {
        let (dir, more) = (PathBuf::new(), String::new());
        Self { url, client, dir, version, seed: None, more, child: None }
    }

    /// Starts a server without JetStream, for tests that answer in its place; and connects to it.
    pub(crate) async fn without_jetstream(dir: &Path) -> (Child, async_nats::Client) {
        let mut command = Command::new(required_tool("bin/nats-server"));
        command.args(["-a", "127.0.0.1", "-p", "-1", "--ports_file_dir"]).arg(dir);
        let child = Child::spawn(command.stderr(Stdio::null()));
        let ports = dir.join(format!("nats-server_{}.ports", child.pid()));
        let client = wait_until("nats-server answers", async || {
            async_nats::connect(address(&ports)?).await.map_err(|e| e.to_string())
        });
        (child, client.await)
    }

    fn child(&self) -> &Child {
        self.child.as_ref().expect("it runs, and is this one's")
    }

    /// Returns the folder of its streams' files.
    pub(crate) fn streams(&self) -> PathBuf {
        self.dir.join("js/jetstream/$G/streams")
    }

    /// Returns what it has logged.
    pub(crate) fn log(&self) -> String {
        std::fs::read_to_string(self.dir.join("nats.log")).unwrap()
    }

    /// Has it read a configuration with these further lines.
    pub(crate) fn reload(&self, more: &str) {
        std::fs::write(self.dir.join("nats.conf"), format!("{more}\n")).unwrap();
        self.child().signal("HUP");
    }

    /// Loses the host: kill -9, and it does not come back.
    pub(crate) fn kill(&mut self) {
        self.child.take().expect("it runs, and is this one's");
    }

    /// Kills it (-9) and starts it again on the same disk.
    pub(crate) async fn crash_and_start(&mut self) {
        self.crash_and_start_after(|_| ()).await;
    }

    /// The same, with something done to the files of its streams while it is down.
    pub(crate) async fn crash_and_start_after(&mut self, between: impl FnOnce(&Path)) {
        self.kill();
        between(&self.streams());
        let started = Self::start_as(&self.dir, self.version, self.seed.clone(), &self.more).await;
        *self = started.expect("it was there before");
    }

    /// Kills it (-9), cuts the newest messages of a stream off its last block, and starts it on the same disk.
    pub(crate) async fn lose_the_end(&mut self, stream: &str) {
        self.crash_and_start_after(|streams| {
            let block = streams.join(stream).join("msgs/1.blk");
            let block = std::fs::File::options().write(true).open(block).unwrap();
            block.set_len(block.metadata().unwrap().len() / 2).unwrap();
        })
        .await;
    }

    /// Stops it in the middle of its work: it answers no more until it is killed.
    pub(crate) fn freeze(&self) {
        self.child().signal("STOP");
    }
}

/// Returns the address in a server's file of ports.
fn address(ports: &Path) -> Result<String, String> {
    let text = std::fs::read_to_string(ports).map_err(|e| e.to_string())?;
    let ports: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    ports["nats"][0].as_str().map(str::to_owned).ok_or(text)
}
