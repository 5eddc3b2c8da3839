//! Small tables: node, segment, seal, collect, consumers, heal, memory.

use std::time::Duration;

use cim_runtime::config::{Size, duration};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

/// `[node]`
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct NodeConfig {
    /// The writer, for people who read the manifest.
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
    /// The time that a replaced segment stays, for restores that are reading it.
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

/// The longest name of a host on Linux, and more than a DNS label.
const NODE_NAME: usize = 64;

/// Reads a node's name, which stands in every entry, for ever.
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
