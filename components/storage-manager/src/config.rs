//! The configuration file; docs/storage-manager.md explains every key.

pub mod lock;
pub mod retention;

use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cim_core::names::{BucketName, JournalName};
use cim_runtime::config::{self, ConfigError, Size, duration};
use cim_runtime::nats::{self, NatsConfig};
use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};
use url::{Host, Url};

use self::lock::ObjectLock;
use self::retention::RetentionConfig;
use crate::authorities;
use crate::s3::Tier;

/// Where a host's own configuration is.
pub const DEFAULT_FILE: &str = "/etc/cim/storage-manager.toml";

/// The whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// Who writes.
    #[serde(default)]
    pub node: NodeConfig,
    /// How to reach NATS.
    pub nats: NatsConfig,
    /// Which streams.
    #[serde(default)]
    pub streams: StreamsConfig,
    /// How the archive is laid out.
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
    /// How long what is archived is kept.
    #[serde(default)]
    pub retention: Vec<RetentionConfig>,
    /// How often consumers are asked for what they know of single messages.
    #[serde(default)]
    pub consumers: ConsumersConfig,
    /// When what lies on the NAS is looked at.
    #[serde(default)]
    pub heal: HealConfig,
    /// How much memory messages may take.
    #[serde(default)]
    pub memory: MemoryConfig,
    /// The NAS.
    pub secondary: S3Config,
    /// Wasabi.
    pub tertiary: Option<S3Config>,
}

/// `[node]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// Who writes, for people who read the manifest.
    #[serde(deserialize_with = "node_name")]
    pub name: String,
}

impl Default for NodeConfig {
    fn default() -> Self {
        let hostname = std::fs::read_to_string("/proc/sys/kernel/hostname");
        let name = hostname.map_or_else(|_| "host".into(), |name| name.trim().to_owned());
        Self { name }
    }
}

/// `[streams]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct StreamsConfig {
    /// Globs of stream names.
    #[serde(deserialize_with = "included")]
    pub include: Vec<String>,
    /// Globs of stream names that are left out all the same.
    #[serde(deserialize_with = "globs")]
    pub exclude: Vec<String>,
}

impl Default for StreamsConfig {
    fn default() -> Self {
        Self { include: vec!["*".into()], exclude: Vec::new() }
    }
}

/// Which stream names the globs match.
#[derive(Debug, Clone)]
pub struct StreamMatcher {
    include: GlobSet,
    exclude: GlobSet,
}

impl StreamMatcher {
    /// Whether a stream is to be tiered.
    pub fn matches(&self, name: &str) -> bool {
        self.include.is_match(name) && !self.exclude.is_match(name)
    }
}

/// `[archive]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ArchiveConfig {
    /// Where what is fresh goes.
    pub layout: Layout,
    /// The journal's name: managers that share a bucket have one each.
    pub journal: JournalName,
    /// Servers that are no more: their streams are gone on with, though those here share nothing with them.
    pub succeeds: Vec<String>,
    /// With which keys it is encrypted and read.
    pub encryption: Option<EncryptionConfig>,
}

/// `[archive.encryption]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct EncryptionConfig {
    /// Which tiers get what is encrypted.
    #[serde(default)]
    pub tiers: Tiers,
    /// The key that writes, and reads.
    pub key_file: Option<PathBuf>,
    /// Keys that read: those before, or the recovery key.
    #[serde(default)]
    pub more_key_files: Vec<PathBuf>,
}

/// Which tiers get what is encrypted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Tiers {
    /// Both.
    #[default]
    Both,
    /// What leaves the house.
    Wasabi,
    /// None any more.
    None,
}

impl Tiers {
    /// Returns whether a tier is one of them.
    pub fn have(self, tier: Tier) -> bool {
        self == Self::Both || (self == Self::Wasabi && tier == Tier::Wasabi)
    }
}

/// Where what is fresh goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// Into a segment and a manifest entry for each stream.
    Chains,
    /// Into one journal for all streams.
    Journal,
}

impl Default for ArchiveConfig {
    fn default() -> Self {
        let journal = JournalName::new("main").expect("it is a valid name");
        Self { layout: Layout::Journal, journal, succeeds: Vec::new(), encryption: None }
    }
}

/// `[segment]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SegmentConfig {
    /// Oldest that an event gets before it is on its way to the NAS.
    #[serde(deserialize_with = "duration::above_zero")]
    pub flush_age: Duration,
    /// Most bytes that wait.
    pub flush_size: Size,
}

impl Default for SegmentConfig {
    fn default() -> Self {
        Self { flush_age: Duration::from_millis(350), flush_size: Size::mib(32) }
    }
}

/// `[seal]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SealConfig {
    /// Oldest that an event gets before it is on its way to Wasabi.
    #[serde(deserialize_with = "duration::above_zero")]
    pub interval: Duration,
    /// The size at which a segment is sealed at once.
    pub size: Size,
}

impl Default for SealConfig {
    fn default() -> Self {
        Self { interval: Duration::from_secs(300), size: Size::mib(32) }
    }
}

/// `[collect]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct CollectConfig {
    /// How long a replaced segment stays, for restores that are reading it.
    #[serde(with = "duration")]
    pub grace: Duration,
    /// Least age at which an object at Wasabi is deleted: it is paid for so long anyway.
    #[serde(with = "duration")]
    pub tertiary_age: Duration,
}

impl Default for CollectConfig {
    fn default() -> Self {
        Self { grace: Duration::from_secs(3600), tertiary_age: Duration::from_secs(90 * 24 * 3600) }
    }
}

/// `[consumers]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConsumersConfig {
    /// Longest time after which the server is asked which messages the consumers of a stream have pending or given up,
    /// while they are at work; none for never.
    #[serde(with = "duration")]
    pub every: Duration,
}

impl Default for ConsumersConfig {
    fn default() -> Self {
        Self { every: Duration::from_secs(30) }
    }
}

/// `[heal]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealConfig {
    /// Time in which every object of the NAS is read once; none for never.
    #[serde(with = "duration")]
    pub every: Duration,
}

impl Default for HealConfig {
    fn default() -> Self {
        Self { every: Duration::from_secs(7 * 24 * 3600) }
    }
}

/// `[memory]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MemoryConfig {
    /// Message bytes in flight, all streams together.
    pub budget: Size,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self { budget: Size::mib(96) }
    }
}

/// `[secondary]` and `[tertiary]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct S3Config {
    /// `http://host:port` or `https://host`.
    #[serde(deserialize_with = "endpoint")]
    pub endpoint: String,
    /// The region that requests are signed for.
    #[serde(default = "default_region")]
    pub region: String,
    /// The bucket, which must exist.
    #[serde(deserialize_with = "bucket")]
    pub bucket: BucketName,
    /// File with `AWS_ACCESS_KEY_ID=…` and `AWS_SECRET_ACCESS_KEY=…` lines, and one `AWS_SESSION_TOKEN=…` where
    /// the key is a temporary one.
    pub credentials_file: PathBuf,
    /// PEM file of authorities to trust besides the system's.
    pub tls_ca: Option<PathBuf>,
    /// `endpoint/bucket/key` rather than `bucket.endpoint/key`.
    #[serde(default = "yes")]
    pub path_style: bool,
    /// Limit of one request.
    #[serde(deserialize_with = "duration::above_zero", default = "default_timeout")]
    pub timeout: Duration,
    /// What the service takes for a TB (10^12 bytes) and month, in whatever currency; there is no price that is true for
    /// ever.
    #[serde(default, deserialize_with = "price")]
    pub price_per_tb_month: Option<f64>,
    /// What it bills at least.
    #[serde(default)]
    pub billed_at_least: Option<Size>,
    /// What is written is locked for a while: nothing deletes or overwrites it.
    pub object_lock: Option<ObjectLock>,
    /// Use the service although it ignores `If-None-Match`; then no second writer may run.
    #[serde(default)]
    pub single_writer: bool,
}

fn included<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let globs = globs(deserializer)?;
    if globs.is_empty() {
        let why = "`include` is empty, so that no stream would be archived: leave it out for all";
        return Err(D::Error::custom(why));
    }
    Ok(globs)
}

fn globs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    let globs = Vec::<String>::deserialize(deserializer)?;
    for glob in &globs {
        Glob::new(glob).map_err(|error| {
            let why = error.kind();
            D::Error::custom(format!(
                "glob `{glob}` cannot be read: {why}; write it like `ORDERS_*`"
            ))
        })?;
    }
    Ok(globs)
}

/// What the longest name of a host may be on Linux, and more than a DNS label.
const NODE_NAME: usize = 64;

/// It stands in every entry, for ever.
fn node_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let name = String::deserialize(deserializer)?;
    if name.is_empty() || name.len() > NODE_NAME || name.chars().any(char::is_control) {
        let length = name.len();
        return Err(D::Error::custom(format!(
            "a node's name of {length} bytes, or with control characters: it has 1 to {NODE_NAME} bytes"
        )));
    }
    Ok(name)
}

/// What breaks the rule the service answers with `InvalidBucketName`, when it is too late to say where
/// that was written.
fn bucket<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BucketName, D::Error> {
    let name = String::deserialize(deserializer)?;
    BucketName::new(name).map_err(|error| {
        D::Error::custom(format!("{error}; S3 refuses others: make the bucket under such a name"))
    })
}

fn price<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    let price = f64::deserialize(deserializer)?;
    if !price.is_finite() || price < 0.0 {
        return Err(D::Error::custom(format!("`{price}` is no price: write it like `6.99`")));
    }
    Ok(Some(price))
}

/// Without a scheme the client would try TLS, and say that the answer is corrupt.
fn endpoint<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    let url = Url::parse(&text).ok().filter(|url| {
        let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
        let s3 = matches!(url.scheme(), "http" | "https") && url.username().is_empty();
        s3 && bare && url.has_host() && text.contains("://") && text.trim() == text
    });
    if url.is_some() && text.starts_with("http") {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    // It may have a password in it.
    let shown = nats::without_login(&text);
    let login = if shown == text { "" } else { "; name and secret go into `credentials_file`" };
    Err(D::Error::custom(format!(
        "`{shown}` is no endpoint: write scheme, host and, if need be, port, as in `http://192.168.1.20:9000` or `https://s3.example.com`{login}"
    )))
}

fn default_region() -> String {
    "us-east-1".into()
}

fn yes() -> bool {
    true
}

fn default_timeout() -> Duration {
    Duration::from_secs(30)
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

/// Whether a URL of this scheme, which encrypts nothing, is of another machine.
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

impl S3Config {
    /// Whether the other one is the same bucket of the same service.
    fn is_same(&self, other: &Self) -> bool {
        let url = |config: &Self| Url::parse(&config.endpoint).ok();
        self.bucket == other.bucket && url(self) == url(other)
    }
}

impl StreamsConfig {
    /// Compiles the globs.
    pub fn matcher(&self) -> Result<StreamMatcher, globset::Error> {
        let set = |globs: &[String]| {
            let mut builder = GlobSetBuilder::new();
            for glob in globs {
                builder.add(Glob::new(glob)?);
            }
            builder.build()
        };
        Ok(StreamMatcher { include: set(&self.include)?, exclude: set(&self.exclude)? })
    }

    /// Returns the globs that match none of these names, of which there are some: mistyped ones, as a rule.
    pub fn unmatched(&self, names: &[String]) -> Vec<&str> {
        let all = self.include.iter().chain(&self.exclude).map(String::as_str);
        let matches = |glob: &&str| {
            let matcher = Glob::new(glob).map(|glob| glob.compile_matcher());
            matcher.is_ok_and(|matcher| names.iter().any(|name| matcher.is_match(name)))
        };
        all.filter(|glob| !names.is_empty() && !matches(glob)).collect()
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
