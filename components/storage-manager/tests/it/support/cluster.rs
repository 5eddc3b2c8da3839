//! Three nats-servers that form a cluster.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use cim_testing::{required_tool, wait_until};
use serde_json::Value;

use super::ports::{free_ports, listens};
use super::routes::slow_route;
use super::{Child, Nats};

/// The cluster; its servers' names are `n1`, `n2` and `n3`.
pub(crate) struct Cluster {
    servers: Vec<Server>,
}

struct Server {
    dir: PathBuf,
    port: u16,
    /// `None` while it is killed.
    child: Mutex<Option<Child>>,
}

impl Cluster {
    pub(crate) async fn start(dir: &Path) -> Self {
        Self::start_at(dir, free_ports(), None).await
    }

    /// Starts one in which messages of an account's clients go `late` from server to server; the servers' own do not.
    pub(crate) async fn start_with_slow_routes(dir: &Path, late: Duration) -> Self {
        let ports = free_ports();
        let mut advertised = [0; 3];
        for (route, advertised) in ports[3..].iter().zip(&mut advertised) {
            *advertised = slow_route(*route, late).await;
        }
        Self::start_at(dir, ports, Some(advertised)).await
    }

    async fn start_at(dir: &Path, ports: [u16; 6], advertised: Option<[u16; 3]>) -> Self {
        let (clients, routes) = ports.split_at(3);
        let advertised = advertised.as_ref().map_or(routes, |ports| ports);
        let all: Vec<_> = advertised.iter().map(|p| format!("\"nats://127.0.0.1:{p}\"")).collect();
        let all = all.join(", ");
        let servers = clients.iter().zip(routes).enumerate().map(|(at, (port, route))| {
            let name = format!("n{}", at + 1);
            let dir = dir.join(&name);
            std::fs::create_dir_all(&dir).unwrap();
            let config = format!(
                "server_name: {name}\nlisten: \"127.0.0.1:{port}\"\n\
                 jetstream {{ store_dir: \"{}\" }}\n\
                 cluster {{ name: lab, listen: \"127.0.0.1:{route}\", advertise: \"127.0.0.1:{}\",\n\
                 routes: [{all}] }}\n",
                dir.join("js").display(),
                advertised[at]
            );
            std::fs::write(dir.join("nats.conf"), config).unwrap();
            Server { dir, port: *port, child: Mutex::new(None) }
        });
        let cluster = Self { servers: servers.collect() };
        for server in &cluster.servers {
            server.start();
            wait_until("the server listens where its clients look for it", async || {
                if listens(server.pid(), server.port) {
                    Ok(())
                } else {
                    Err(server.port.to_string())
                }
            })
            .await;
        }
        cluster.connect().await;
        cluster
    }

    /// Returns the addresses for a configuration.
    pub(crate) fn urls(&self) -> Vec<String> {
        self.servers.iter().map(|s| format!("nats://127.0.0.1:{}", s.port)).collect()
    }

    /// Connects to those that run.
    pub(crate) async fn connect(&self) -> Nats {
        let running = self.servers.iter().filter(|s| s.runs());
        Nats::at(running.map(|s| format!("nats://127.0.0.1:{}", s.port)).collect()).await
    }

    /// Makes a stream, and waits until every replica of it is there.
    pub(crate) async fn create(&self, nats: &Nats, name: &str, more: Value) {
        wait_until("the cluster knows all of its servers", async || {
            let peers = nats.try_api("STREAM.INFO.NONE", Value::Null).await;
            if peers["error"]["code"] == 404 { Ok(()) } else { Err(peers.to_string()) }
        })
        .await;
        nats.create(name, more).await;
        wait_until("every replica is there", async || {
            let info = nats.try_api(&format!("STREAM.INFO.{name}"), Value::Null).await;
            let replicas = info["cluster"]["replicas"].as_array().cloned().unwrap_or_default();
            let current = replicas.iter().filter(|r| r["current"] == true).count();
            if current == 2 { Ok(()) } else { Err(info["cluster"].to_string()) }
        })
        .await;
    }

    /// Kills one (-9); its disk stays.
    pub(crate) fn kill(&self, name: &str) {
        self.server(name).kill();
    }

    /// Loses all of them, for good.
    pub(crate) fn lose(&self) {
        self.servers.iter().for_each(Server::kill);
    }

    /// Starts a killed one again.
    pub(crate) fn start_again(&self, name: &str) {
        self.server(name).start();
    }

    /// Kills a server, cuts the first block of a stream on its disk in the middle, and starts it: what
    /// was in the other half it does not have any more.
    pub(crate) fn damage(&self, name: &str, stream: &str) {
        self.kill(name);
        let blocks = self.server(name).dir.join(format!("js/jetstream/$G/streams/{stream}/msgs"));
        assert!(blocks.join("2.blk").exists(), "a block that is not the last can be cut");
        let block = std::fs::File::options().write(true).open(blocks.join("1.blk")).unwrap();
        block.set_len(block.metadata().unwrap().len() / 2).unwrap();
        self.start_again(name);
    }

    fn server(&self, name: &str) -> &Server {
        let found = self.servers.iter().find(|s| s.dir.ends_with(name));
        found.expect("there are n1, n2 and n3")
    }
}

impl Server {
    fn pid(&self) -> u32 {
        self.child.lock().unwrap().as_ref().expect("it was started").pid()
    }

    fn runs(&self) -> bool {
        self.child.lock().unwrap().is_some()
    }

    fn kill(&self) {
        drop(self.child.lock().unwrap().take());
    }

    fn start(&self) {
        let file = self.dir.join("nats.log");
        let log = std::fs::File::options().create(true).append(true).open(file).unwrap();
        let mut command = Command::new(required_tool("bin/nats-server"));
        command.arg("-c").arg(self.dir.join("nats.conf")).stdout(Stdio::null()).stderr(log);
        *self.child.lock().unwrap() = Some(Child::spawn(&mut command));
    }
}
