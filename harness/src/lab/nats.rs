//! A nats-server with JetStream and a store of its own.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::http;
use super::process::{Launcher, Process, Spec};
use super::tools::{Tool, Tools};
use super::wait::wait_until;
use crate::error::{Error, Result, make_dir, write_file};

const READY_WITHIN: Duration = Duration::from_secs(20);
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// The options of a server.
#[derive(Debug, Clone)]
pub struct Options {
    /// The name of its process and its log.
    pub name: String,
    /// Its name to other servers: a machine that replaces a lost one has the same.
    pub server_name: String,
    /// The directory of its configuration and its store.
    pub dir: PathBuf,
    /// The port for clients; `None` lets the server choose.
    pub port: Option<u16>,
    /// The interval at which JetStream syncs to disk; `None` for the server's default.
    pub sync_interval: Option<String>,
    /// Its connections to other servers; alone by default.
    pub joined: Joined,
    /// Extra configuration, in the server's own language.
    pub extra: String,
}

impl Options {
    /// Returns a server's configuration; `listen` holds the lines about where it listens.
    pub(crate) fn config(&self, listen: &str, store: &Path) -> String {
        let (name, extra, store) = (&self.server_name, &self.extra, store.display());
        let sync = self.sync_interval.as_ref().map(|s| format!(", sync_interval: \"{s}\""));
        let domain = self.joined.domain.as_ref().map(|d| format!(", domain: \"{d}\""));
        let (sync, domain) = (sync.unwrap_or_default(), domain.unwrap_or_default());
        let joined = self.joined.config();
        format!(
            "server_name: \"{name}\"\n{listen}\n\
             jetstream {{ store_dir: \"{store}\"{sync}{domain} }}\n{joined}{extra}\n"
        )
    }
}

/// A server's connections to others.
#[derive(Debug, Clone, Default)]
pub struct Joined {
    /// Of a cluster's server: the addresses of the routes to all its servers, itself included.
    pub routes: Vec<SocketAddr>,
    /// The address that gossip gives other servers for this one. They have a route already, so it
    /// leads nowhere.
    pub hearsay: Option<SocketAddr>,
    /// Its JetStream domain, for clients that reach it through another server.
    pub domain: Option<String>,
    /// True if leaf nodes may connect to it.
    pub hub: bool,
    /// Of a leaf node: the addresses of the links to the hub's servers.
    pub remotes: Vec<SocketAddr>,
}

impl Joined {
    /// Returns the `cluster` and `leafnodes` blocks of the configuration.
    fn config(&self) -> String {
        let urls = |scheme: &str, addrs: &[SocketAddr]| {
            let urls: Vec<_> = addrs.iter().map(|addr| format!("\"{scheme}://{addr}\"")).collect();
            urls.join(", ")
        };
        let cluster = if self.routes.is_empty() {
            String::new()
        } else {
            let routes = urls("nats", &self.routes);
            let hearsay = self.hearsay.map(|addr| format!("advertise: \"{addr}\", "));
            let hearsay = hearsay.unwrap_or_default();
            format!(
                "cluster {{ name: lab, listen: \"127.0.0.1:-1\", no_advertise: true, {hearsay}\
                 routes: [{routes}] }}\n"
            )
        };
        let leaf_nodes = match (self.hub, self.remotes.is_empty()) {
            (true, _) => "leafnodes { listen: \"127.0.0.1:-1\", no_advertise: true }\n".to_owned(),
            (false, true) => String::new(),
            (false, false) => {
                let remotes = urls("nats-leaf", &self.remotes);
                format!("leafnodes {{ remotes: [{{ urls: [{remotes}] }}] }}\n")
            }
        };
        cluster + &leaf_nodes
    }
}

/// A running server.
#[derive(Debug)]
pub struct Nats {
    /// The process.
    pub process: Process,
    /// The address for clients.
    pub addr: SocketAddr,
    /// Its HTTP monitoring.
    pub monitor: SocketAddr,
    /// The address for routes from its cluster.
    pub routes: Option<SocketAddr>,
    /// The address for leaf nodes.
    pub leaf_nodes: Option<SocketAddr>,
    /// JetStream's directory.
    pub store: PathBuf,
}

#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
    monitoring: Vec<String>,
    #[serde(default)]
    cluster: Vec<String>,
}

struct Addrs {
    nats: SocketAddr,
    monitor: SocketAddr,
    cluster: Option<SocketAddr>,
}

impl Nats {
    /// Starts a server and waits until JetStream is ready. A cluster's server may have no peers
    /// yet; see [`Self::in_step`].
    pub async fn start(launcher: &Launcher, tools: &Tools, options: &Options) -> Result<Self> {
        let program = tools.find(Tool::NatsServer)?;
        make_dir(&options.dir)?;
        let (dir, store) = (options.dir.display(), options.dir.join("jetstream"));
        let config = options.dir.join("nats.conf");
        let port = options.port.map_or(-1, i32::from);
        let listen = format!(
            "host: \"127.0.0.1\"\nport: {port}\nhttp: \"127.0.0.1:-1\"\nports_file_dir: \"{dir}\""
        );
        write_file(&config, options.config(&listen, &store))?;
        let process =
            launcher.start(Spec::new(&options.name, program).arg("--config").arg(config)).await?;
        let ports = options.dir.join(format!("nats-server_{}.ports", process.pid()));
        let ready = wait_until("the start of nats-server", READY_WITHIN, async || {
            if let Some(end) = process.ended() {
                return Ok(Err(end));
            }
            let addrs = read_ports(&ports)?;
            // A server that could not recover a stream is unhealthy, but it has started.
            healthy(addrs.monitor, "?js-server-only=true").await?;
            let leaf_nodes =
                if options.joined.hub { Some(leaf_port(addrs.monitor).await?) } else { None };
            Ok(Ok((addrs, leaf_nodes)))
        });
        match ready.await {
            Ok(Ok((Addrs { nats: addr, monitor, cluster: routes }, leaf_nodes))) => {
                Ok(Self { process, addr, monitor, routes, leaf_nodes, store })
            }
            Ok(Err(end)) => Err(Error::setup(format!(
                "`nats-server` ended at once ({end}): {}",
                process.last_log()
            ))),
            Err(error) => Err(Error::setup(format!("{error}: {}", process.last_log()))),
        }
    }

    /// Waits until it knows its cluster's leader.
    pub async fn in_step(&self, within: Duration) -> Result<()> {
        let what = format!("`{}` finding its cluster", self.process.name());
        wait_until(&what, within, async || healthy(self.monitor, "?js-meta-only=true").await).await
    }

    /// Returns the URL for clients on the same node.
    pub fn url(&self) -> String {
        format!("nats://{}", self.addr)
    }
}

pub(crate) async fn healthy(monitor: SocketAddr, of: &str) -> Result<(), String> {
    let path = format!("/healthz{of}");
    match http::request(monitor, "GET", &path, "", ANSWER_WITHIN).await {
        Ok(answer) if answer.status == 200 => Ok(()),
        Ok(answer) => Err(format!("its health check answers {}", answer.status)),
        Err(error) => Err(error.to_string()),
    }
}

/// Returns the port for leaf nodes, which the file of ports leaves out.
async fn leaf_port(monitor: SocketAddr) -> Result<SocketAddr, String> {
    #[derive(Deserialize)]
    struct Vars {
        leaf: Leaf,
    }
    #[derive(Deserialize)]
    struct Leaf {
        port: u16,
    }
    let answer = http::request(monitor, "GET", "/varz", "", ANSWER_WITHIN).await;
    let answer = answer.map_err(|e| e.to_string())?;
    let vars: Vars = serde_json::from_str(&answer.body).map_err(|e| e.to_string())?;
    match vars.leaf.port {
        0 => Err("it does not listen for leaf nodes yet".into()),
        port => Ok((monitor.ip(), port).into()),
    }
}

fn read_ports(path: &Path) -> Result<Addrs, String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let ports: Ports = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let first = |urls: &[String]| {
        let addr = urls.first().and_then(|url| url.rsplit_once("//")?.1.parse().ok());
        addr.ok_or_else(|| format!("`{}` names no address", path.display()))
    };
    let cluster = if ports.cluster.is_empty() { None } else { Some(first(&ports.cluster)?) };
    Ok(Addrs { nats: first(&ports.nats)?, monitor: first(&ports.monitoring)?, cluster })
}
