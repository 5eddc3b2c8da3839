//! Tiers two and three.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::number::Count;
use super::store::words;
use crate::names::{BucketName, Endpoint, NodeName, Region, Span, StreamGlob};

/// Where the storage manager archives to.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tiers {
    /// The NAS; without it nothing is archived.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub secondary: Option<Tier>,
    /// Wasabi; without it there are two tiers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tertiary: Option<Tier>,
    /// How the archive is encrypted; without it, it is not. From version 3 on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encryption: Option<Encryption>,
    /// How long the archive is kept; a stream that no entry names is kept for ever. The first entry that names a stream
    /// and a tier holds. From version 4 on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub retention: Vec<ArchiveRetention>,
}

/// Limits of some streams' archive. One at least; a limit takes the oldest messages, whichever is reached first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct ArchiveRetention {
    /// Names of streams, in which `*` stands for any text.
    #[schemars(length(min = 1))]
    pub streams: Vec<StreamGlob>,
    /// The tier; both if it is left out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<RetentionTier>,
    /// The oldest that a message gets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_age: Option<Span>,
    /// The most messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_messages: Option<Count>,
    /// The most bytes of messages.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes: Option<Count>,
    /// The time after which a stream that JetStream does not have any more leaves the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropped: Option<Span>,
    /// The time after which the messages that only a left timeline has leave the archive.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub left_timelines: Option<Span>,
}

words! {
    /// A tier of the archive, by the storage manager's name of it.
    RetentionTier {
        /// The NAS.
        Nas = "nas",
        /// Wasabi.
        Wasabi = "wasabi",
    }
}

/// Encryption of the archive. Keys are files of the machine that archives: `2027` is `archive-2027.key` among its secrets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Encryption {
    /// The tiers whose objects are encrypted from now on.
    #[serde(default)]
    pub tiers: Encrypted,
    /// The name of the key that writes, and reads; needed where a tier is encrypted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<NodeName>,
    /// Names of keys that read as well: those that have written before, or a recovery key.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub more_keys: Vec<NodeName>,
}

words! {
    /// The tiers that are encrypted.
    #[derive(Default)]
    Encrypted {
        /// The NAS and Wasabi.
        #[default]
        Both = "both",
        /// Wasabi alone.
        Wasabi = "wasabi",
        /// Neither any more: what was written before is read.
        None = "none",
    }
}

/// A bucket, on a host of the inventory or at an endpoint outside it: one of the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tier {
    /// The host whose S3 service it is; port and region are that service's own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub host: Option<NodeName>,
    /// Where the service listens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<Endpoint>,
    /// The region that requests are signed for; an endpoint needs one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub region: Option<Region>,
    /// The bucket.
    pub bucket: BucketName,
}

/// The place of a tier.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place<'a> {
    /// On a host of the inventory.
    Host(&'a NodeName),
    /// At a service.
    Endpoint(&'a Endpoint, &'a Region),
}

impl Tier {
    /// Returns the tier's place; `None` if it names neither or both, or an endpoint without a region.
    pub fn place(&self) -> Option<Place<'_>> {
        match (&self.host, &self.endpoint, &self.region) {
            (Some(host), None, _) => Some(Place::Host(host)),
            (None, Some(endpoint), Some(region)) => Some(Place::Endpoint(endpoint, region)),
            _ => None,
        }
    }
}
