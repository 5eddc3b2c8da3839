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

/// Which server to start.
#[derive(Debug, Clone)]
pub struct Options {
    /// Names the server, its files and its log.
    pub name: String,
    /// Its configuration and its store lie here.
    pub dir: PathBuf,
    /// The port for clients; `None` lets the server choose.
    pub port: Option<u16>,
    /// How often JetStream syncs to disk; `None` for the server's own setting.
    pub sync_interval: Option<String>,
    /// More configuration, in the server's own language.
    pub extra: String,
}

/// A running server.
#[derive(Debug)]
pub struct Nats {
    /// The process.
    pub process: Process,
    /// Where clients connect.
    pub addr: SocketAddr,
    /// Its HTTP monitoring.
    pub monitor: SocketAddr,
    /// JetStream's directory.
    pub store: PathBuf,
}

#[derive(Deserialize)]
struct Ports {
    nats: Vec<String>,
    monitoring: Vec<String>,
}

impl Nats {
    /// Starts a server and waits until JetStream is ready.
    pub async fn start(launcher: &Launcher, tools: &Tools, options: &Options) -> Result<Self> {
        let program = tools.find(Tool::NatsServer)?;
        make_dir(&options.dir)?;
        let (dir, store) = (options.dir.display(), options.dir.join("jetstream"));
        let config = options.dir.join("nats.conf");
        let port = options.port.map_or(-1, i32::from);
        let (name, extra, store_dir) = (&options.name, &options.extra, store.display());
        let sync = options.sync_interval.as_ref().map(|s| format!(", sync_interval: \"{s}\""));
        let sync = sync.unwrap_or_default();
        write_file(
            &config,
            format!(
                "server_name: \"{name}\"\nhost: \"127.0.0.1\"\nport: {port}\nhttp: \"127.0.0.1:-1\"\n\
                 ports_file_dir: \"{dir}\"\njetstream {{ store_dir: \"{store_dir}\"{sync} }}\n{extra}\n"
            ),
        )?;
        let process = launcher.start(Spec::new(name, program).arg("--config").arg(config)).await?;
        let ports = options.dir.join(format!("nats-server_{}.ports", process.pid()));
        let ready = wait_until("the start of nats-server", READY_WITHIN, async || {
            if let Some(end) = process.ended() {
                return Ok(Err(end));
            }
            let (addr, monitor) = read_ports(&ports)?;
            // A server that could not recover a stream is not well, but it has started.
            let path = "/healthz?js-server-only=true";
            let health = http::request(monitor, "GET", path, "", Duration::from_secs(5)).await;
            match health {
                Ok(answer) if answer.status == 200 => Ok(Ok((addr, monitor))),
                Ok(answer) => Err(format!("its health check answers {}", answer.status)),
                Err(error) => Err(error.to_string()),
            }
        });
        match ready.await {
            Ok(Ok((addr, monitor))) => Ok(Self { process, addr, monitor, store }),
            Ok(Err(end)) => Err(Error::setup(format!(
                "`nats-server` ended at once ({end}): {}",
                process.last_log()
            ))),
            Err(error) => Err(Error::setup(format!("{error}: {}", process.last_log()))),
        }
    }

    /// The URL for clients on the same node.
    pub fn url(&self) -> String {
        format!("nats://{}", self.addr)
    }
}

fn read_ports(path: &Path) -> Result<(SocketAddr, SocketAddr), String> {
    let text = std::fs::read_to_string(path).map_err(|e| e.to_string())?;
    let ports: Ports = serde_json::from_str(&text).map_err(|e| e.to_string())?;
    let first = |urls: &[String]| {
        let addr = urls.first().and_then(|url| url.rsplit_once("//")?.1.parse().ok());
        addr.ok_or_else(|| format!("`{}` names no address", path.display()))
    };
    Ok((first(&ports.nats)?, first(&ports.monitoring)?))
}
