//! A connection to a server: login, and bytes in and out.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use cim_runtime::config::ConfigError;
use cim_runtime::nats::{Login, NatsConfig, without_login};
use serde::{Deserialize, Serialize};
use tokio::io::{
    AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadHalf, WriteHalf,
};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

use super::parse::{Op, ParseError, parse};
use crate::authorities;

/// A connection or a reader that cannot go on. The way out is always a new one.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// TCP or TLS failed.
    #[error("connection to NATS at `{address}` failed")]
    Io {
        /// The server.
        address: String,
        /// The cause.
        source: std::io::Error,
    },
    /// The server does not speak NATS.
    #[error(transparent)]
    Parse(#[from] ParseError),
    /// The server refused something.
    #[error("NATS refused: {0}")]
    Refused(String),
    /// A secret could not be read, or is not one.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A setting is wrong.
    #[error("{0}")]
    Setting(String),
    /// The consumer is gone, or its count has a gap.
    #[error("reading stream `{stream}` has to start again: {why}")]
    Restart {
        /// The stream.
        stream: String,
        /// Why.
        why: String,
    },
}

pub(super) trait Socket: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Socket for T {}

/// A logged-in connection.
pub(super) struct Connection {
    socket: Box<dyn Socket>,
    address: String,
    buffer: Vec<u8>,
    start: usize,
    /// The server's `max_payload` in bytes.
    pub max_payload: usize,
}

#[derive(Deserialize)]
struct Info {
    #[serde(default)]
    max_payload: usize,
    #[serde(default)]
    tls_required: bool,
    nonce: Option<String>,
}

#[derive(Serialize, Default)]
struct Connect {
    verbose: bool,
    pedantic: bool,
    tls_required: bool,
    name: &'static str,
    lang: &'static str,
    version: &'static str,
    protocol: u8,
    headers: bool,
    no_responders: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pass: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    auth_token: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    jwt: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    nkey: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    sig: Option<String>,
}

/// The time that a server may take to answer a login.
const LOGIN: Duration = Duration::from_secs(5);
const READ: usize = 1 << 18;

impl Connection {
    /// Connects to the first server of `nats.url` that answers.
    pub async fn open(config: &NatsConfig) -> Result<Self, WireError> {
        let mut last = WireError::Setting("`nats.url` is empty".into());
        for server in config.url.split(',').map(str::trim).filter(|s| !s.is_empty()) {
            let login = tokio::time::timeout(LOGIN, Self::login(config, server));
            last = match login.await {
                Ok(Ok(connection)) => return Ok(connection),
                Ok(Err(error)) => error,
                Err(_) => {
                    let source = std::io::Error::from(std::io::ErrorKind::TimedOut);
                    WireError::Io { address: without_login(server), source }
                }
            };
        }
        Err(last)
    }

    async fn login(config: &NatsConfig, server: &str) -> Result<Self, WireError> {
        let with_scheme =
            if server.contains("://") { server.into() } else { format!("nats://{server}") };
        let url = url::Url::parse(&with_scheme).map_err(|error| {
            WireError::Setting(format!("`{}` is not a NATS URL: {error}", without_login(server)))
        })?;
        let host = url.host_str().unwrap_or("127.0.0.1").trim_matches(['[', ']']).to_owned();
        let port = url.port().unwrap_or(4222);
        let address = format!("{host}:{port}");
        let io = |source| WireError::Io { address: address.clone(), source };
        let tcp = TcpStream::connect((host.as_str(), port)).await.map_err(io)?;
        tcp.set_nodelay(true).map_err(io)?;
        let mut connection = Self {
            socket: Box::new(tcp),
            address: address.clone(),
            buffer: Vec::with_capacity(4 * READ),
            start: 0,
            max_payload: 1 << 20,
        };
        let info: Info = connection.info().await?;
        let tls = info.tls_required || url.scheme() == "tls" || config.tls_ca.is_some();
        if tls {
            if connection.start < connection.buffer.len() {
                // Not even encrypted, and after the handshake it would pass for the server's.
                let why = "it said more before the handshake than INFO".into();
                return Err(WireError::Refused(why));
            }
            let name = ServerName::try_from(host).map_err(|error| {
                WireError::Setting(format!("`{}`: {error}", without_login(server)))
            })?;
            let plain = std::mem::replace(&mut connection.socket, Box::new(tokio::io::empty()));
            let secure = connector(config)?.connect(name, plain).await.map_err(io)?;
            connection.socket = Box::new(secure);
        }
        connection.max_payload = info.max_payload.max(1 << 16);
        let connect = Self::credentials(config, &url, info.nonce.as_deref(), tls)?;
        let connect = serde_json::to_string(&connect).expect("plain fields are JSON");
        connection.send(format!("CONNECT {connect}\r\nPING\r\n").as_bytes()).await?;
        connection.wait_for_pong().await?;
        Ok(connection)
    }

    fn credentials(
        config: &NatsConfig,
        url: &url::Url,
        nonce: Option<&str>,
        tls_required: bool,
    ) -> Result<Connect, WireError> {
        let mut connect = Connect {
            tls_required,
            name: "cim-storage-manager reader",
            lang: "rust",
            version: env!("CARGO_PKG_VERSION"),
            protocol: 1,
            headers: true,
            no_responders: true,
            ..Connect::default()
        };
        if !url.username().is_empty() {
            connect.user = Some(url.username().into());
            connect.pass = url.password().map(Into::into);
        }
        let login = config.login()?;
        if !matches!(login, Login::None) {
            let answer = login.answer(nonce.unwrap_or_default().as_bytes());
            connect.user = answer.username;
            connect.pass = answer.password;
            connect.auth_token = answer.token;
            connect.jwt = answer.jwt;
            connect.nkey = answer.nkey;
            connect.sig = answer.signature.map(|signature| encoded(&signature));
        }
        Ok(connect)
    }

    async fn info(&mut self) -> Result<Info, WireError> {
        loop {
            if let Some((op, used)) = parse(&self.buffer[self.start..])? {
                let info = match op {
                    Op::Info(json) => serde_json::from_slice(json).map_err(|error| {
                        WireError::Refused(format!("its INFO is not JSON: {error}"))
                    }),
                    _ => Err(WireError::Refused("it did not begin with INFO".into())),
                };
                self.start += used;
                return info;
            }
            self.fill().await?;
        }
    }

    async fn wait_for_pong(&mut self) -> Result<(), WireError> {
        loop {
            while let Some((op, used)) = parse(&self.buffer[self.start..])? {
                let outcome = match op {
                    Op::Pong => Some(Ok(())),
                    Op::Err(text) => Some(Err(refused(text))),
                    _ => None,
                };
                self.start += used;
                if let Some(outcome) = outcome {
                    return outcome;
                }
            }
            self.fill().await?;
        }
    }

    async fn send(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let sent = async {
            self.socket.write_all(bytes).await?;
            self.socket.flush().await
        };
        sent.await.map_err(|source| WireError::Io { address: self.address.clone(), source })
    }

    async fn fill(&mut self) -> Result<(), WireError> {
        fill(&mut self.socket, &mut self.buffer, &mut self.start, &self.address).await
    }

    /// Sends lines of the protocol, and returns what the user may not do of that, in the server's words.
    async fn refusals(mut self, lines: &str) -> Result<Vec<String>, WireError> {
        self.send(format!("{lines}PING\r\n").as_bytes()).await?;
        let mut said = Vec::new();
        loop {
            while let Some((op, used)) = parse(&self.buffer[self.start..])? {
                let answer = match op {
                    Op::Pong => return Ok(said),
                    Op::Err(text) => Some(String::from_utf8_lossy(text).into_owned()),
                    _ => None,
                };
                self.start += used;
                match answer {
                    Some(text) if is_denial(&text) => said.push(text),
                    Some(text) => return Err(refused(text.as_bytes())),
                    None => {}
                }
            }
            self.fill().await?;
        }
    }

    /// Takes it apart: what was read and not used, and the two directions.
    pub(super) fn split(self) -> (Incoming, WriteHalf<Box<dyn Socket>>) {
        let (read, write) = tokio::io::split(self.socket);
        let Self { address, buffer, start, .. } = self;
        (Incoming { socket: read, address, buffer, start }, write)
    }
}

/// A server's operations on a logged-in connection.
pub(super) struct Incoming {
    socket: ReadHalf<Box<dyn Socket>>,
    address: String,
    buffer: Vec<u8>,
    start: usize,
}

impl Incoming {
    /// Returns the server.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Returns the bytes that were read and not used.
    pub fn bytes(&self) -> &[u8] {
        &self.buffer[self.start..]
    }

    /// Takes so many bytes for used.
    pub fn consume(&mut self, used: usize) {
        self.start += used;
    }

    /// Reads more.
    pub async fn fill(&mut self) -> Result<(), WireError> {
        fill(&mut self.socket, &mut self.buffer, &mut self.start, &self.address).await
    }
}

/// Reads more behind what was not used yet.
async fn fill(
    socket: &mut (impl AsyncRead + Unpin),
    buffer: &mut Vec<u8>,
    start: &mut usize,
    address: &str,
) -> Result<(), WireError> {
    // What is left is less than one message: moving it is cheap.
    buffer.drain(..std::mem::take(start));
    if buffer.is_empty() {
        // One large message is no reason to keep its room for good.
        buffer.shrink_to(4 * READ);
    }
    buffer.reserve(READ);
    let error = |source| WireError::Io { address: address.into(), source };
    match socket.read_buf(buffer).await {
        Ok(0) => Err(error(std::io::ErrorKind::UnexpectedEof.into())),
        Ok(_) => Ok(()),
        Err(source) => Err(error(source)),
    }
}

/// Sends lines of the protocol over a connection of their own, and returns what the user may not do of that, in the
/// server's words. It says so before it answers what comes last, so nothing is waited for.
pub async fn refusals(config: &NatsConfig, lines: &str) -> Result<Vec<String>, WireError> {
    let connection = Connection::open(config).await?;
    let address = connection.address.clone();
    let said = tokio::time::timeout(LOGIN, connection.refusals(lines)).await;
    said.unwrap_or_else(|_| {
        let source = std::io::ErrorKind::TimedOut.into();
        Err(WireError::Io { address, source })
    })
}

/// Returns true if a server's error is of one thing that a user may not do.
pub(super) fn is_denial(text: &str) -> bool {
    text.to_ascii_lowercase().contains("permissions violation")
}

pub(super) fn refused(text: &[u8]) -> WireError {
    WireError::Refused(String::from_utf8_lossy(text).trim_matches('\'').into())
}

fn connector(config: &NatsConfig) -> Result<TlsConnector, WireError> {
    let mut roots = RootCertStore::empty();
    let trusted = match &config.tls_ca {
        Some(path) => authorities::read(path)?,
        None => authorities::system(),
    };
    roots.add_parsable_certificates(trusted);
    let tls = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(tls)))
}

/// Encodes a signature as `CONNECT` carries it.
fn encoded(signature: &[u8]) -> String {
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use tokio::net::TcpListener;

    use super::*;

    /// Without a key one can still add, on the way, to what is sent before there is one.
    #[tokio::test]
    async fn what_comes_in_the_clear_behind_info_is_not_believed() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("tls://{}", listener.local_addr().unwrap());
        let server = tokio::spawn(async move {
            let (mut socket, _) = listener.accept().await.unwrap();
            let forged = "INFO {\"tls_required\":true}\r\nPONG\r\nMSG a 1 $JS.ACK.S.c.1.900.1.1.0 1\r\nx\r\n";
            socket.write_all(forged.as_bytes()).await.unwrap();
            let mut said = Vec::new();
            socket.read_to_end(&mut said).await.unwrap();
            said
        });
        let config = format!("url = \"{url}\"\n");
        let config = cim_runtime::config::parse(Path::new("nats.toml"), &config).unwrap();
        let error = Connection::open(&config).await.err().unwrap().to_string();
        assert_eq!(error, "NATS refused: it said more before the handshake than INFO");
        assert_eq!(server.await.unwrap(), b"", "not even a login is sent");
    }
}
