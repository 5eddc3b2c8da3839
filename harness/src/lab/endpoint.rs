//! A NATS URL and the login for it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use nkeys::KeyPair;

use crate::error::{Context as _, Error, Result};

/// A NATS server's URL and, if the server asks for one, the nkey to log in with.
#[derive(Clone)]
pub struct Endpoint {
    /// `nats://host:port`; a cluster's servers separated by commas.
    pub url: String,
    nkey: Option<Arc<Nkey>>,
}

struct Nkey {
    seed: String,
    pair: KeyPair,
}

impl Endpoint {
    /// Reads the nkey seed from the first line of a file.
    pub fn with_nkey(url: String, seed_file: &Path) -> Result<Self> {
        let shown = seed_file.display();
        let text = std::fs::read_to_string(seed_file);
        let text = text.setup(|| format!("cannot read the nkey seed `{shown}`"))?;
        let seed = text.lines().next().unwrap_or_default().trim().to_owned();
        Self::with_seed(url, seed)
            .map_err(|_| Error::setup(format!("`{shown}` does not begin with an nkey seed")))
    }

    /// Makes an endpoint whose login is this seed.
    pub(crate) fn with_seed(url: String, seed: String) -> Result<Self, nkeys::error::Error> {
        let pair = KeyPair::from_seed(&seed)?;
        Ok(Self { url, nkey: Some(Arc::new(Nkey { seed, pair })) })
    }

    /// Returns the same login at another URL.
    #[must_use]
    pub fn at(&self, url: String) -> Self {
        Self { url, nkey: self.nkey.clone() }
    }

    /// Returns the URL of each server.
    pub fn servers(&self) -> Vec<&str> {
        self.url.split(',').collect()
    }

    /// Returns the seed, for the client library.
    pub(crate) fn seed(&self) -> Option<&str> {
        self.nkey.as_ref().map(|nkey| nkey.seed.as_str())
    }

    /// Returns the public key and the signed nonce of a login by hand, or `None` without a key.
    pub(crate) fn sign(&self, nonce: &str) -> Option<(String, String)> {
        let pair = &self.nkey.as_ref()?.pair;
        // A pair that was made from a seed can sign.
        let signature = pair.sign(nonce.as_bytes()).ok()?;
        let encoded = base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(signature);
        Some((pair.public_key(), encoded))
    }
}

impl From<&str> for Endpoint {
    fn from(url: &str) -> Self {
        Self { url: url.to_owned(), nkey: None }
    }
}

impl From<&String> for Endpoint {
    fn from(url: &String) -> Self {
        url.as_str().into()
    }
}

impl From<&Endpoint> for Endpoint {
    fn from(endpoint: &Endpoint) -> Self {
        endpoint.clone()
    }
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.nkey.as_ref().map(|nkey| nkey.pair.public_key());
        f.debug_struct("Endpoint").field("url", &self.url).field("nkey", &key).finish()
    }
}

impl PartialEq for Endpoint {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url && self.seed() == other.seed()
    }
}

impl Eq for Endpoint {}
