//! The configuration file; docs/storage-manager.md explains every key.

use std::path::{Path, PathBuf};
use std::time::Duration;

use cim_core::names::{BucketName, JournalName};
use cim_runtime::config::{self, ConfigError, Size};
use cim_runtime::nats::NatsConfig;
use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

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
    pub include: Vec<String>,
    /// Globs of stream names that are left out all the same.
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
        Self { layout: Layout::Journal, journal, succeeds: Vec::new() }
    }
}

/// `[segment]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct SegmentConfig {
    /// Oldest that an event gets before it is on its way to the NAS.
    #[serde(with = "humantime_serde")]
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
    #[serde(with = "humantime_serde")]
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
    #[serde(with = "humantime_serde")]
    pub grace: Duration,
    /// Least age at which an object at Wasabi is deleted: it is paid for so long anyway.
    #[serde(with = "humantime_serde")]
    pub tertiary_age: Duration,
}

impl Default for CollectConfig {
    fn default() -> Self {
        Self { grace: Duration::from_secs(3600), tertiary_age: Duration::from_secs(90 * 24 * 3600) }
    }
}

/// `[heal]`
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HealConfig {
    /// Time in which every object of the NAS is read once; none for never.
    #[serde(with = "humantime_serde")]
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
    pub endpoint: String,
    /// The region that requests are signed for.
    #[serde(default = "default_region")]
    pub region: String,
    /// The bucket, which must exist.
    #[serde(deserialize_with = "bucket")]
    pub bucket: BucketName,
    /// File with `AWS_ACCESS_KEY_ID=…` and `AWS_SECRET_ACCESS_KEY=…` lines.
    pub credentials_file: PathBuf,
    /// `endpoint/bucket/key` rather than `bucket.endpoint/key`.
    #[serde(default = "yes")]
    pub path_style: bool,
    /// Limit of one request.
    #[serde(with = "humantime_serde", default = "default_timeout")]
    pub timeout: Duration,
    /// Use the service although it ignores `If-None-Match`; then no second writer may run.
    #[serde(default)]
    pub single_writer: bool,
}

/// What breaks the rule the service answers with `InvalidBucketName`, when it is too late to say where
/// that was written.
fn bucket<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BucketName, D::Error> {
    let name = String::deserialize(deserializer)?;
    BucketName::new(name).map_err(|error| {
        D::Error::custom(format!("{error}; S3 refuses others: make the bucket under such a name"))
    })
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
    /// Reads and checks a file.
    pub fn load(path: &Path) -> Result<Self, ConfigError> {
        let config: Self = config::load(path)?;
        let refuse = |message: String| ConfigError::Parse {
            path: path.into(),
            place: String::new(),
            message,
        };
        if config.streams.matcher().is_err() {
            return Err(refuse("`streams`: a glob cannot be read".into()));
        }
        if config.segment.flush_size.bytes() > config.memory.budget.bytes() {
            return Err(refuse(format!(
                "`segment.flush_size` ({:?}) is above `memory.budget` ({:?}): a segment could never fill",
                config.segment.flush_size, config.memory.budget
            )));
        }
        if config.segment.flush_age.is_zero() || config.seal.interval.is_zero() {
            return Err(refuse(
                "`segment.flush_age` and `seal.interval` must be above zero".into(),
            ));
        }
        Ok(config)
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
