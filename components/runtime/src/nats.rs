//! How a service reaches NATS.

use std::path::PathBuf;
use std::time::Duration;

use serde::Deserialize;

use crate::config::ConfigError;

mod inbox;
mod login;

pub use inbox::InboxPrefix;
pub use login::{Login, Nkey};

/// The `[nats]` table of a configuration. It names one way to log in at most: [`NatsConfig::login`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsConfig {
    /// Servers, comma-separated, tried in this order: `nats://host:4222`, `tls://host:4222`.
    pub url: String,
    /// User name, with `password_file`.
    pub user: Option<String>,
    /// File whose first line is the password.
    pub password_file: Option<PathBuf>,
    /// File whose first line is the token.
    pub token_file: Option<PathBuf>,
    /// A `.creds` file: JWT and seed.
    pub credentials_file: Option<PathBuf>,
    /// File whose first line is the seed of a user's nkey, `SU…`.
    pub nkey_file: Option<PathBuf>,
    /// PEM file of the authorities to trust instead of the system's.
    pub tls_ca: Option<PathBuf>,
    /// What subjects for answers begin with: a user may be allowed to hear its own inbox alone.
    #[serde(default)]
    pub inbox_prefix: InboxPrefix,
}

/// NATS could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// A secret could not be read, or the table asks for two ways to log in.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The credentials file could not be read.
    #[error("cannot read NATS credentials `{}`", path.display())]
    Credentials {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// No server answered, or it refused.
    #[error(
        "cannot connect to NATS at `{url}`: check `nats.url`, that the server runs, and the credentials"
    )]
    Connect {
        /// What was tried.
        url: String,
        /// Why.
        source: async_nats::ConnectError,
    },
}

impl NatsConfig {
    /// Connects; reconnects by itself from then on. `name` is what the server's monitoring shows.
    pub async fn connect(&self, name: &str) -> Result<async_nats::Client, NatsError> {
        let mut options = async_nats::ConnectOptions::new()
            .name(name)
            .retain_servers_order()
            .custom_inbox_prefix(&self.inbox_prefix)
            .connection_timeout(Duration::from_secs(5))
            .request_timeout(Some(Duration::from_secs(10)))
            .ping_interval(Duration::from_secs(10))
            .event_callback(|event| async move {
                match event {
                    async_nats::Event::Connected => tracing::debug!("connected to NATS"),
                    async_nats::Event::Disconnected => tracing::warn!("NATS connection lost"),
                    other => tracing::debug!("NATS: {other}"),
                }
            });
        options = match self.login()? {
            Login::Nobody => options,
            Login::Password { user, password } => options.user_and_password(user, password),
            Login::Token(token) => options.token(token),
            Login::Credentials(path) => options
                .credentials_file(&path)
                .await
                .map_err(|source| NatsError::Credentials { path, source })?,
            Login::Nkey(nkey) => options.nkey(nkey.seed().into()),
        };
        if let Some(ca) = &self.tls_ca {
            options = options.add_root_certificates(ca.clone());
        }
        let servers: Vec<&str> = self.url.split(',').map(str::trim).collect();
        options
            .connect(servers)
            .await
            .map_err(|source| NatsError::Connect { url: self.url.clone(), source })
    }
}
