//! The inventory: the hosts of one installation, what runs on them, and the streams that they hold.
//!
//! One JSON file, read by Nix and by this code alike. Both refuse unknown keys, so a key that was
//! mistyped, or that a newer version has, is never ignored in silence.
//!
//! Reading a file checks each value alone: shapes of names, addresses, keys. [`Inventory::problems`]
//! checks the rules between values and returns all problems at once, a line each.

mod check;
mod component;
mod host;
mod lab;
mod nats;
mod network;
mod number;
mod problem;
mod store;
mod tier;
mod unique;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub use component::ComponentName;
pub use host::{
    Component, Containers, Host, Operator, Plugin, Provider, Role, S3, SettingsTable, Ssh, System,
};
pub use lab::LAB_KEYS;
pub use nats::{LeafListen, LeafNodes, LeafRemote, LeafUser, Nats, SyncInterval, Tls};
pub use network::{Cidr, CidrError, Network};
pub use number::{Count, History, MaxPayload, MessageSize, NumberError, Port, Within};
pub use problem::{Problem, ProblemKind};
pub use store::{Bucket, BucketKind, Discard, Retention, Storage, Stream};
pub use tier::{ArchiveRetention, Encrypted, Encryption, Place, RetentionTier, Tier, Tiers};

use crate::names::{NodeName, StoreName};

/// The newest version of the inventory, which this code reads with those before it: 2 knows more programs that
/// serve S3, 3 encryption of the archive, and 4 how long it is kept.
pub const VERSION: u32 = 4;

/// One installation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Inventory {
    /// The version of this form: 4, or an earlier one where nothing is used that is new since.
    pub version: Version,
    /// What people call the installation.
    pub name: NodeName,
    /// A lab is built to be broken: only a lab may have a fake Wasabi and keys whose seeds are public.
    #[serde(default)]
    pub lab: bool,
    /// Networks that hosts are in.
    #[serde(deserialize_with = "unique::map")]
    pub networks: BTreeMap<NodeName, Network>,
    /// Machines by their host names.
    #[serde(deserialize_with = "unique::map")]
    pub hosts: BTreeMap<NodeName, Host>,
    /// Where events go besides JetStream.
    #[serde(default)]
    pub tiers: Tiers,
    /// JetStream streams that are to be there.
    #[serde(default, deserialize_with = "unique::map")]
    pub streams: BTreeMap<StoreName, Stream>,
    /// KV and object-store buckets that are to be there.
    #[serde(default, deserialize_with = "unique::map")]
    pub buckets: BTreeMap<StoreName, Bucket>,
}

/// The number that an inventory begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub struct Version(u32);

impl TryFrom<u32> for Version {
    type Error = String;

    fn try_from(version: u32) -> Result<Self, Self::Error> {
        if (1..=VERSION).contains(&version) {
            return Ok(Self(version));
        }
        Err(format!(
            "inventory version `{version}` is unknown: this program knows versions 1 to {VERSION}; use the release that the file was written for"
        ))
    }
}

impl From<Version> for u32 {
    fn from(Version(version): Version) -> Self {
        version
    }
}

impl JsonSchema for Version {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Version".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "integer", "minimum": 1, "maximum": VERSION })
    }
}

impl Inventory {
    /// Returns the hosts of one role, in the order of their names.
    pub fn hosts_of(&self, role: Role) -> impl Iterator<Item = (&NodeName, &Host)> {
        self.hosts.iter().filter(move |(_, host)| host.role == role)
    }
}
