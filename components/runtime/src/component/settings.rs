//! The settings of a component: options, each with its environment variable.

use std::net::SocketAddr;
use std::path::PathBuf;

use cim_core::names::{ConsumerName, NodeName, StoreName, StreamName};
use clap::Args;
use serde::Deserialize;

use crate::config;
use crate::nats::NatsConfig;

/// The settings.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// Servers of NATS, comma-separated
    #[arg(
        long,
        env = "CIM_NATS_URL",
        default_value = "nats://127.0.0.1:4222",
        value_name = "URL",
        global = true
    )]
    nats_url: String,
    /// File with the seed of this component's nkey
    #[arg(long, env = "CIM_NATS_NKEY_FILE", value_name = "FILE", global = true)]
    nats_nkey_file: Option<PathBuf>,
    /// PEM file of the authorities to trust instead of the system's
    #[arg(long, env = "CIM_NATS_TLS_CA", value_name = "FILE", global = true)]
    nats_tls_ca: Option<PathBuf>,
    /// Prefix of subjects for answers [default: NATS's own]
    #[arg(long, env = "CIM_NATS_INBOX_PREFIX", value_name = "PREFIX", global = true)]
    nats_inbox_prefix: Option<String>,
    /// TOML file with a table `[nats]` as in docs/storage-manager.md, instead of the options above
    #[arg(long, env = "CIM_NATS_CONFIG", value_name = "FILE", global = true)]
    nats_config: Option<PathBuf>,
    /// Stream that holds the component's events
    #[arg(
        long,
        env = "CIM_EVENTS_STREAM",
        default_value = "EVENTS",
        value_name = "STREAM",
        global = true
    )]
    pub(super) stream: StreamName,
    /// Key-value bucket for views, snapshot and notes [default: the component's name]
    #[arg(long, env = "CIM_VIEWS_BUCKET", value_name = "BUCKET", global = true)]
    pub(super) bucket: Option<StoreName>,
    /// Name of the consumer that reads the events; each process has one [default: the component's name]
    #[arg(long, env = "CIM_EVENTS_READER", value_name = "CONSUMER", global = true)]
    pub(super) reader: Option<ConsumerName>,
    /// Name of this process in the registry, beside the component's [default: the machine's name]
    #[arg(long, env = "CIM_INSTANCE", value_name = "NAME", global = true)]
    pub(super) instance: Option<NodeName>,
    /// Do not register at the component registry
    #[arg(long, global = true)]
    pub(super) no_register: bool,
    /// Address of health and metrics; port 0 takes a free one and logs it
    #[arg(
        long,
        env = "CIM_HTTP_LISTEN",
        default_value = "127.0.0.1:9464",
        value_name = "ADDRESS",
        global = true
    )]
    pub(super) listen: SocketAddr,
    /// Events between two snapshots
    #[arg(
        long,
        env = "CIM_SNAPSHOT_EVERY",
        default_value_t = 10_000,
        value_name = "EVENTS",
        global = true
    )]
    pub(super) snapshot_every: u64,
    /// Sequence of an event that cannot be read and is to be left out; may be given again
    #[arg(long, value_name = "SEQUENCE", global = true)]
    pub(super) skip: Vec<u64>,
    /// Make stream and bucket where they are missing, on a machine of one's own
    #[arg(long, global = true)]
    pub(super) create: bool,
    /// Filter of the log: `info`, `cim_runtime=debug`, …
    #[arg(long, env = "CIM_LOG", default_value = "info", value_name = "FILTER", global = true)]
    pub(super) log: String,
}

#[derive(Deserialize)]
struct File {
    nats: NatsConfig,
}

impl Settings {
    /// Returns the way to NATS.
    ///
    /// # Errors
    /// When the file or an option cannot be used.
    pub(super) fn nats(&self) -> Result<NatsConfig, String> {
        if let Some(path) = &self.nats_config {
            let file: File = config::load(path).map_err(|error| crate::error::chain(&error))?;
            return Ok(file.nats);
        }
        let mut nats = toml::Table::new();
        nats.insert("url".into(), self.nats_url.clone().into());
        let path = |path: &PathBuf| toml::Value::from(path.to_string_lossy().into_owned());
        if let Some(file) = &self.nats_nkey_file {
            nats.insert("nkey_file".into(), path(file));
        }
        if let Some(file) = &self.nats_tls_ca {
            nats.insert("tls_ca".into(), path(file));
        }
        if let Some(prefix) = &self.nats_inbox_prefix {
            nats.insert("inbox_prefix".into(), prefix.clone().into());
        }
        nats.try_into().map_err(|error: toml::de::Error| error.message().to_owned())
    }
}
