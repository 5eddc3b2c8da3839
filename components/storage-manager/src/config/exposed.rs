//! What a configuration exposes: secrets that others may read, and connections that are not encrypted.

use std::net::Ipv4Addr;

use cim_runtime::config;
use cim_runtime::nats;
use url::{Host, Url};

use super::{Config, Tiers};

impl Config {
    /// Returns the files of secrets that every user of this machine may read, in words.
    pub fn open_secrets(&self) -> Vec<String> {
        let tiers = std::iter::once(&self.secondary).chain(&self.tertiary);
        let files = tiers.map(|tier| tier.credentials_file.as_path());
        self.nats.secret_file().into_iter().chain(files).filter_map(config::open_to_all).collect()
    }

    /// Returns why nothing may be written with this configuration, where its keys only read.
    pub fn writes_in_the_clear(&self) -> Option<String> {
        let encryption = self.archive.encryption.as_ref()?;
        let lacks = encryption.tiers != Tiers::None && encryption.key_file.is_none();
        lacks.then(|| {
            "`archive.encryption` has no `key_file`, so what is written would not be encrypted: name one, as `cim-storage-manager key new` makes it, or set `tiers = \"none\"`"
                .into()
        })
    }

    /// Returns what would go over a network that others may listen on and is not encrypted, in words.
    pub fn in_the_clear(&self) -> Vec<String> {
        let tiers = [("secondary", Some(&self.secondary)), ("tertiary", self.tertiary.as_ref())];
        let tiers = tiers.into_iter().filter_map(|(name, tier)| Some((name, tier?)));
        let open = tiers.filter(|(_, tier)| is_open(&tier.endpoint, "http"));
        let mut found: Vec<_> = open
            .map(|(name, tier)| {
                format!(
                    "`{name}.endpoint` `{}` is not encrypted: who is on the way reads what is archived; use `https://`, with `{name}.tls_ca` where the certificate is of an authority of your own",
                    tier.endpoint
                )
            })
            .collect();
        let servers =
            self.nats.url.split(',').map(str::trim).filter(|_| self.nats.tls_ca.is_none());
        found.extend(servers.filter(|server| is_open(server, "nats")).map(|server| {
            format!(
                "`nats.url` `{}` is encrypted only if the server insists on it: who is on the way reads messages and password otherwise; use `tls://`",
                nats::without_login(server)
            )
        }));
        found
    }
}

/// Returns true if a URL of this scheme, which encrypts nothing, is of another machine.
fn is_open(url: &str, scheme: &str) -> bool {
    let with_scheme = if url.contains("://") { url.into() } else { format!("{scheme}://{url}") };
    let Ok(url) = Url::parse(&with_scheme) else { return false };
    let is_here = match url.host() {
        // Of schemes that it does not know the library leaves an address as it is.
        Some(Host::Domain(name)) => {
            name == "localhost" || name.parse::<Ipv4Addr>().is_ok_and(|ip| ip.is_loopback())
        }
        Some(Host::Ipv4(ip)) => ip.is_loopback(),
        Some(Host::Ipv6(ip)) => ip.is_loopback(),
        None => true,
    };
    url.scheme() == scheme && !is_here
}
