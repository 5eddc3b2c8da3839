//! A NATS server that is queried.

use std::time::Duration;

use async_nats::{Client, ConnectOptions};
use cim_core::inventory::{Inventory, Role};
use serde_json::{Map, Value, json};

use super::{Login, key};
use crate::error::{Context as _, Error, Result};

/// The limit for every answer of a server.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// A server's address.
#[derive(Debug, Clone)]
pub(super) struct Address {
    /// The host that it runs on, if the inventory says so.
    pub(super) host: Option<String>,
    pub(super) url: String,
}

/// A server with a successful login.
pub(super) struct Server {
    client: Client,
    pub(super) version: String,
}

/// A stream as it is on a server.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) config: Map<String, Value>,
    pub(super) state: Value,
}

/// Returns the servers to ask: the named one, or every host's.
pub(super) fn addresses(inventory: &Inventory, login: &Login) -> Result<Vec<Address>> {
    if let Some(url) = &login.nats {
        return Ok(vec![Address { host: None, url: url.clone() }]);
    }
    let hosts = inventory.hosts_of(Role::Host).filter_map(|(name, host)| {
        let nats = host.nats.as_ref()?;
        let scheme = if nats.tls.is_some() { "tls" } else { "nats" };
        let url = format!("{scheme}://{}:{}", host.address, nats.port);
        Some(Address { host: Some(name.to_string()), url })
    });
    let hosts: Vec<_> = hosts.collect();
    if hosts.is_empty() {
        return Err(Error::Usage(
            "the inventory has no host that runs NATS: add one, name a server with `--nats`, or check the file alone with `--offline`".into(),
        ));
    }
    Ok(hosts)
}

impl Server {
    pub(super) async fn connect(url: &str, login: &Login) -> Result<Self> {
        let mut options = ConnectOptions::new()
            .name("cim-harness inventory")
            .connection_timeout(ANSWER_WITHIN)
            .request_timeout(Some(ANSWER_WITHIN));
        if let Some(path) = &login.nkey {
            options = options.nkey(key::seed(path)?);
        }
        if let Some(path) = &login.ca {
            // Otherwise it would be read late, and its error would blame the server.
            std::fs::File::open(path).map_err(|error| {
                Error::Usage(format!("cannot read authorities `{}`: {error}", path.display()))
            })?;
            options = options.add_root_certificates(path.clone());
        }
        let client = options.connect(url).await.setup(|| {
            let key = if login.nkey.is_some() {
                "check the address and the key"
            } else {
                "check the address; if the server asks for a key, give `--nkey`"
            };
            let ca = match (&login.ca, url.starts_with("tls:")) {
                (None, true) => ", and if the system does not trust its certificate, give `--ca`",
                _ => "",
            };
            format!("cannot reach NATS at `{url}`: {key}{ca}")
        })?;
        let version = client.server_info().version;
        Ok(Self { client, version })
    }

    /// Asks JetStream; a refusal is an error with the server's words.
    pub(super) async fn ask(&self, subject: &str, body: &Value) -> Result<Value> {
        let payload = if body.is_null() { String::new() } else { body.to_string() };
        let cannot = || format!("NATS does not answer `{subject}`");
        let answer = self.client.request(subject.to_owned(), payload.into()).await.setup(cannot)?;
        let answer: Value = serde_json::from_slice(&answer.payload).setup(cannot)?;
        match answer["error"]["description"].as_str() {
            Some(why) => {
                let way_out = way_out(answer["error"]["err_code"].as_u64());
                Err(Error::step(format!("NATS refused `{subject}`: {why}{way_out}")))
            }
            None => Ok(answer),
        }
    }

    /// Returns every stream, buckets' included.
    pub(super) async fn streams(&self) -> Result<Vec<Found>> {
        let streams = self.pages("$JS.API.STREAM.LIST", "streams").await?;
        let found = streams.into_iter().filter_map(|mut stream| {
            let config = stream["config"].as_object()?.clone();
            Some(Found { config, state: stream["state"].take() })
        });
        Ok(found.collect())
    }

    /// Returns every consumer of a stream.
    pub(super) async fn consumers(&self, stream: &str) -> Result<Vec<Value>> {
        self.pages(&format!("$JS.API.CONSUMER.LIST.{stream}"), "consumers").await
    }

    /// Returns all items of a list, which comes page by page.
    async fn pages(&self, subject: &str, what: &str) -> Result<Vec<Value>> {
        let mut all = Vec::new();
        loop {
            let page = self.ask(subject, &json!({ "offset": all.len() })).await?;
            let more = page[what].as_array().map(Vec::as_slice).unwrap_or_default();
            all.extend_from_slice(more);
            let total = page["total"].as_u64().unwrap_or_default();
            if more.is_empty() || all.len() as u64 >= total {
                return Ok(all);
            }
        }
    }
}

/// Returns a hint for errors of the server that lack one, by the `error_code` of its errors.json.
fn way_out(code: Option<u64>) -> &'static str {
    match code {
        Some(10047) => {
            ": `maxBytes` is more than its `max_file_store` has left: lower the one, or raise the other"
        }
        Some(10028) => {
            ": `maxBytes` is more than its `max_memory_store` has left: lower the one, or raise the other"
        }
        _ => "",
    }
}
