//! Connections to NATS.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use crate::config::{ConfigError, if_copied};
use crate::error::chain;
use crate::retry::Backoff;

mod inbox;
mod login;

pub use inbox::InboxPrefix;
pub use login::{Login, Nkey};

/// The `[nats]` table of a configuration. It names one way to log in at most: [`NatsConfig::login`].
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NatsConfig {
    /// Servers, comma-separated, tried in this order: `nats://host:4222`, `tls://host:4222`.
    #[serde(deserialize_with = "servers")]
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
    /// The prefix of subjects for answers: a user may be allowed to subscribe to its own inbox alone.
    #[serde(default)]
    pub inbox_prefix: InboxPrefix,
}

/// Reads the servers, and refuses a text that is none: it would otherwise be reported as a server without an answer.
fn servers<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let url = String::deserialize(deserializer)?;
    let named = || url.split(',').map(str::trim).filter(|server| !server.is_empty());
    let is_one = |server: &str| {
        let scheme = server.split_once("://").map_or("nats", |(scheme, _)| scheme);
        matches!(scheme, "nats" | "tls") && !server.contains(char::is_whitespace)
    };
    let wrong = named().find(|server| !is_one(server));
    if named().next().is_some() && wrong.is_none() {
        return Ok(url);
    }
    let shown = without_login(wrong.unwrap_or_default());
    Err(D::Error::custom(format!(
        "`{shown}` is no server of NATS: write it like `nats://127.0.0.1:4222` or `tls://nats.example.com:4222`"
    )))
}

/// NATS could not be reached.
#[derive(Debug, thiserror::Error)]
pub enum NatsError {
    /// A secret could not be read, or the table asks for two ways to log in.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// No server answered, or it refused.
    #[error(
        "cannot connect to NATS at `{url}`: check `nats.url`, that the server runs, and the credentials"
    )]
    Connect {
        /// The URL.
        url: String,
        /// The reason.
        source: async_nats::ConnectError,
    },
    /// It was to be encrypted, and the server has no certificate.
    #[error(
        "NATS at `{0}` answers in clear text: write `nats://`, and leave `tls_ca` out, or give the server a certificate"
    )]
    Clear(String),
}

impl NatsError {
    /// Reports whether waiting may help: the server may be starting.
    pub fn is_transient(&self) -> bool {
        use async_nats::ConnectErrorKind::{Dns, Io, TimedOut};
        matches!(self, Self::Connect { source, .. } if matches!(source.kind(), Io | Dns | TimedOut))
    }
}

impl NatsConfig {
    /// Connects; reconnects by itself from then on. `name` is what the server's monitoring shows.
    pub async fn connect(&self, name: &str) -> Result<async_nats::Client, NatsError> {
        // A broken secret is reported now as the configuration's error, not later as the server's refusal.
        let login = self.login()?;
        let refused = Arc::new(Refused::new(self));
        let mut options = async_nats::ConnectOptions::new();
        if !matches!(login, Login::None) {
            // Read for each connection: secrets are replaced while this process runs.
            let (config, unread) = (self.clone(), Arc::clone(&refused));
            options = async_nats::ConnectOptions::with_auth_callback(move |nonce| {
                let answer = config.login().map(|login| login.answer(&nonce)).map_err(|error| {
                    let error = chain(&error);
                    unread.say(&error);
                    async_nats::AuthError::new(error)
                });
                async { answer }
            });
        }
        options = options
            .name(name)
            .retain_servers_order()
            .custom_inbox_prefix(&self.inbox_prefix)
            .connection_timeout(Duration::from_secs(5))
            .request_timeout(Some(Duration::from_secs(10)))
            .ping_interval(Duration::from_secs(10))
            .reconnect_delay_callback(reconnect_delay)
            .event_callback(move |event| {
                refused.hear(&event);
                async {}
            });
        if let Some(ca) = &self.tls_ca {
            options = options.add_root_certificates(ca.clone()).require_tls(true);
        }
        let servers: Vec<&str> = self.url.split(',').map(str::trim).collect();
        options.connect(servers).await.map_err(|source| match chain(&source) {
            why if why.contains(CLEAR) => NatsError::Clear(self.servers()),
            _ => NatsError::Connect { url: self.servers(), source },
        })
    }
}

impl NatsConfig {
    /// Returns the servers of `url`, without passwords.
    pub fn servers(&self) -> String {
        let servers: Vec<_> =
            self.url.split(',').map(|server| without_login(server.trim())).collect();
        servers.join(",")
    }
}

/// Returns a server's URL without the name and the password that may be in it.
pub fn without_login(server: &str) -> String {
    let (scheme, rest) =
        server.split_once("://").map_or(("", server), |(scheme, rest)| (scheme, rest));
    let host = rest.rsplit_once('@').map_or(rest, |(_, host)| host);
    if scheme.is_empty() { host.into() } else { format!("{scheme}://{host}") }
}

/// Returns the wait before reconnecting after `tries` tries: two seconds at most, because messages wait to be
/// archived.
fn reconnect_delay(tries: usize) -> Duration {
    let backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(2) };
    if tries <= 1 {
        Duration::ZERO
    } else {
        backoff.after(u32::try_from(tries - 1).unwrap_or(u32::MAX))
    }
}

/// A refused login, logged once.
struct Refused {
    with: String,
    besides: &'static str,
    said: AtomicBool,
}

impl Refused {
    fn new(config: &NatsConfig) -> Self {
        let file = config.secret_file().map(|file| format!(" with `{}`", file.display()));
        let besides = config.secret_file().map(if_copied).unwrap_or_default();
        Self { with: file.unwrap_or_default(), besides, said: AtomicBool::new(false) }
    }

    /// Logs the events of a connection.
    fn hear(&self, event: &async_nats::Event) {
        use async_nats::{ClientError, Event};
        match event {
            Event::Connected if self.said.swap(false, Ordering::Relaxed) => {
                tracing::info!("NATS accepts the login{}", self.with);
            }
            Event::Connected => tracing::debug!("connected to NATS"),
            Event::Disconnected => tracing::warn!("connection to NATS lost, reconnecting"),
            // Only the refusal of a login, not the end of a connection: the next login may already be a new one.
            Event::ClientError(ClientError::Other(why)) if why == REFUSED => self.say(why),
            other => tracing::debug!("NATS: {other}"),
        }
    }

    fn say(&self, why: &str) {
        if !self.said.swap(true, Ordering::Relaxed) {
            tracing::warn!(
                "NATS refuses the login{}: {why}. The login is read again and retried until it is accepted{}",
                self.with,
                self.besides
            );
        }
    }
}

/// The error of TLS for a first answer that is not TLS.
const CLEAR: &str = "InvalidContentType";
/// The client's text for a refused login.
const REFUSED: &str = "authorization violation";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_are_not_shown() {
        for (url, shown) in [
            ("nats://a:b@c@host:4222", "nats://host:4222"),
            ("token@host", "host"),
            ("tls://host", "tls://host"),
            ("[::1]:4222", "[::1]:4222"),
        ] {
            assert_eq!(without_login(url), shown);
        }
    }

    #[test]
    fn a_try_to_connect_again_waits_two_seconds_at_most() {
        assert_eq!(reconnect_delay(1), Duration::ZERO);
        assert!((2..100).all(|tries| reconnect_delay(tries) <= Duration::from_secs(2)));
    }
}
