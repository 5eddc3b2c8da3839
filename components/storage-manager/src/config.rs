//! The configuration file; docs/storage-manager.md explains every key.

mod archive; // layout, journal, encryption
mod exposed; // secrets and connections that others may read
pub mod lock; // object lock
pub mod retention; // how long what is archived is kept
mod s3; // a tier's bucket
mod streams; // globs of names
mod tables; // small ones

use std::path::Path;
use std::time::Duration;

use cim_runtime::config::{self, ConfigError};
use cim_runtime::nats::NatsConfig;
use serde::Deserialize;

use self::retention::RetentionConfig;
use crate::authorities;

pub use self::archive::{ArchiveConfig, EncryptionConfig, Layout, Tiers};
pub use self::s3::S3Config;
pub use self::streams::{StreamMatcher, StreamsConfig};
pub use self::tables::{
    CollectConfig, ConsumersConfig, HealConfig, MemoryConfig, NodeConfig, SealConfig, SegmentConfig,
};

/// Where a host's own configuration is.
pub const DEFAULT_FILE: &str = "/etc/cim/storage-manager.toml";

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The writer.
    #[serde(default)]
    pub node: NodeConfig,
    /// The address of NATS and the login.
    pub nats: NatsConfig,
    /// The streams.
    #[serde(default)]
    pub streams: StreamsConfig,
    /// The layout of the archive.
    #[serde(default)]
    pub archive: ArchiveConfig,
    /// When a segment is made.
    #[serde(default)]
    pub segment: SegmentConfig,
    /// When segments are sealed.
    #[serde(default)]
    pub seal: SealConfig,
    /// When replaced segments are deleted.
    #[serde(default)]
    pub collect: CollectConfig,
    /// The time for which the archive is kept.
    #[serde(default)]
    pub retention: Vec<RetentionConfig>,
    /// The pace at which consumers are asked for their state of single messages.
    #[serde(default)]
    pub consumers: ConsumersConfig,
    /// When what lies on the NAS is looked at.
    #[serde(default)]
    pub heal: HealConfig,
    /// The memory that messages may take.
    #[serde(default)]
    pub memory: MemoryConfig,
    /// The NAS.
    pub secondary: S3Config,
    /// Wasabi.
    pub tertiary: Option<S3Config>,
}

impl Config {
    /// Returns how far Wasabi may be behind: what is younger than two intervals may be on its way.
    pub fn wasabi_may_lag(&self) -> Duration {
        (self.seal.interval * 2).max(Duration::from_mins(10))
    }

    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let config: Self = config::load(path)?;
        let refuse = |message: String| ConfigError::Parse {
            path: path.into(),
            place: String::new(),
            message,
        };
        if config.segment.flush_size.bytes() > config.memory.budget.bytes() {
            return Err(refuse(format!(
                "`segment.flush_size` ({:?}) is above `memory.budget` ({:?}): a segment could never fill",
                config.segment.flush_size, config.memory.budget
            )));
        }
        if let Some(ca) = &config.nats.tls_ca {
            authorities::read(ca)?;
        }
        let encrypts = |encryption: &EncryptionConfig| encryption.tiers != Tiers::None;
        if config.archive.layout == Layout::Chains
            && config.archive.encryption.as_ref().is_some_and(encrypts)
        {
            return Err(refuse(
                "`archive.encryption` wants `archive.layout = \"journal\"`: chains are not encrypted; set `archive.encryption.tiers = \"none\"` to read only"
                    .into(),
            ));
        }
        let journal = config.archive.layout == Layout::Journal;
        let wrong = retention::wrong(&config.retention, journal, config.tertiary.is_some());
        if let Some(wrong) = wrong {
            return Err(refuse(wrong));
        }
        if config.tertiary.as_ref().is_some_and(|tertiary| config.secondary.is_same(tertiary)) {
            return Err(refuse(format!(
                "`secondary` and `tertiary` are the same bucket, `{}` at `{}`: losing it would lose both; give `tertiary` another service",
                config.secondary.bucket, config.secondary.endpoint
            )));
        }
        Ok(config)
    }
}

#[cfg(test)]
mod tests {
    use cim_runtime::error::chain;

    use super::*;

    fn load(nats: &str, secondary: &str, tertiary: &str) -> Result<Config, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("cim.toml");
        let table = |tier: &str, endpoint: &str| {
            format!(
                "[{tier}]\nendpoint = \"{endpoint}\"\nbucket = \"archive\"\ncredentials_file = \"f\"\n"
            )
        };
        let tertiary =
            if tertiary.is_empty() { String::new() } else { table("tertiary", tertiary) };
        let text = format!("[nats]\n{nats}\n{}{tertiary}", table("secondary", secondary));
        std::fs::write(&path, text).unwrap();
        let loaded = Config::load(&path);
        loaded.map_err(|error| chain(&error).replace(&dir.path().display().to_string(), "DIR"))
    }

    const NATS: &str = "url = \"nats://127.0.0.1\"";

    #[test]
    fn an_endpoint_is_scheme_host_and_port() {
        for good in [
            "http://127.0.0.1:9000",
            "http://nas.home",
            "https://s3.example.com/",
            "https://[fd00::1]:9000",
        ] {
            let endpoint = load(NATS, good, "").unwrap().secondary.endpoint;
            assert_eq!(endpoint, good.trim_end_matches('/'));
        }
        let error = load(NATS, "http://labuser:hunter2@nas", "").unwrap_err();
        assert!(error.contains("`http://nas` is no endpoint"), "{error}");
        assert!(error.contains("`credentials_file`") && !error.contains("hunter2"), "{error}");
        let bad = ["127.0.0.1:9000", " http://nas", "s3://nas", "http://nas/s3"];
        for bad in bad.into_iter().chain(["nas", "", "http://", "https://nas?x=1"]) {
            let error = load(NATS, bad, "").unwrap_err();
            assert!(error.contains(&format!("`{bad}` is no endpoint: write scheme")), "{error}");
        }
    }

    #[test]
    fn a_server_is_one_of_nats() {
        for good in ["nats://h", "h:4222", "tls://h, nats://u:p@h", "nats://[::1]:4222,"] {
            load(&format!("url = \"{good}\""), "http://nas", "").unwrap();
        }
        for bad in ["", " , ", "http://h:8222", "nats://a,ws://b:80", "nats:// h"] {
            let error = load(&format!("url = \"{bad}\""), "http://nas", "").unwrap_err();
            assert!(error.contains("write it like `nats://127.0.0.1:4222`"), "{bad}: {error}");
        }
    }

    #[test]
    fn no_time_at_all_is_no_time_limit() {
        let error = load(NATS, "http://nas\"\ntimeout = \"0s", "").unwrap_err();
        assert!(error.contains("expected a duration above zero"), "{error}");
    }

    #[test]
    fn one_bucket_is_not_two_tiers() {
        let error = load(NATS, "http://nas:80", "http://NAS/").unwrap_err();
        assert!(error.contains("are the same bucket, `archive` at `http://nas:80`"), "{error}");
        load(NATS, "http://nas:80", "http://nas:81").unwrap();
    }

    #[test]
    fn an_authority_that_is_none_is_told_before_anything_is_asked() {
        let error = load(&format!("{NATS}\ntls_ca = \"/no/ca.pem\""), "http://nas", "");
        let error = error.unwrap_err();
        assert!(error.starts_with("cannot read certificates `/no/ca.pem`: No such"), "{error}");
    }

    #[test]
    fn what_goes_over_a_network_in_the_clear_is_named() {
        let clear = |nats: &str, secondary: &str, tertiary: &str| {
            load(nats, secondary, tertiary).unwrap().in_the_clear()
        };
        let here = "url = \"nats://127.0.0.1:1,localhost,nats://[::1]:4222\"";
        assert!(clear(here, "http://127.0.0.2:9000", "https://s3.example.com").is_empty());
        assert!(clear("url = \"tls://10.0.0.1\"", "http://localhost", "http://[::1]").is_empty());
        let far = "url = \"tls://10.0.0.1,nats://u:hunter2@10.0.0.2:4222,10.0.0.3\"";
        insta::assert_snapshot!(clear(far, "http://nas:9000", "http://10.0.0.9").join("\n"), @"
        `secondary.endpoint` `http://nas:9000` is not encrypted: who is on the way reads what is archived; use `https://`, with `secondary.tls_ca` where the certificate is of an authority of your own
        `tertiary.endpoint` `http://10.0.0.9` is not encrypted: who is on the way reads what is archived; use `https://`, with `tertiary.tls_ca` where the certificate is of an authority of your own
        `nats.url` `nats://10.0.0.2:4222` is encrypted only if the server insists on it: who is on the way reads messages and password otherwise; use `tls://`
        `nats.url` `10.0.0.3` is encrypted only if the server insists on it: who is on the way reads messages and password otherwise; use `tls://`
        ");
    }
}
