//! Machines and what runs on them.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::number::Port;
use super::store::words;
use super::{Cidr, ComponentName, Nats, unique};
use crate::names::{
    InterfaceName, MemorySize, NodeName, Region, SshKey, SubjectFilter, Token, UserKey,
};

/// A machine. Keys that belong to one role only say so; the check refuses them elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Host {
    /// What it is for.
    pub role: Role,
    /// Its processor and operating system, as Nix names them.
    #[serde(default)]
    pub system: System,
    /// The network that its address is in.
    pub network: NodeName,
    /// Its address there.
    pub address: Ipv4Addr,
    /// Logins over SSH; without it there are none over the network.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh: Option<Ssh>,
    /// Its NATS server. Role `host` has one, no other has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nats: Option<Nats>,
    /// People and programs outside that use its NATS server. Role `host` only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique::map")]
    pub operators: BTreeMap<NodeName, Operator>,
    /// Components that run on it, each in a container of its own. Role `host` only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique::map")]
    pub components: BTreeMap<ComponentName, Component>,
    /// The network of its containers; a host with components or plugins has one. Role `host` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub containers: Option<Containers>,
    /// Plugins that run on it, each in a container of its own. Role `host` only.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique::map")]
    pub plugins: BTreeMap<NodeName, Plugin>,
    /// Its S3 service. Roles `nas` and `fake-wasabi` have one, no other has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub s3: Option<S3>,
}

words! {
    /// What a machine is for.
    Role {
        /// NATS and the components.
        Host = "host",
        /// The S3 service of the second tier.
        Nas = "nas",
        /// An S3 service that behaves like Wasabi; in labs only.
        FakeWasabi = "fake-wasabi",
        /// From where people and the harness work.
        Operator = "operator",
    }
}

words! {
    /// A processor and an operating system.
    #[derive(Default)]
    System {
        /// 64-bit Intel and AMD.
        #[default]
        X86_64Linux = "x86_64-linux",
        /// 64-bit ARM.
        Aarch64Linux = "aarch64-linux",
    }
}

/// Who may log in over SSH, and from where.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Ssh {
    /// Public keys.
    pub keys: Vec<SshKey>,
    /// Networks that the port is open to.
    pub from: Vec<Cidr>,
}

/// A person or program outside that uses NATS.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Operator {
    /// The public key.
    pub nkey: UserKey,
    /// The network that connections come from.
    pub from: NodeName,
}

/// A component on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Component {
    /// The public key that it logs in to NATS with.
    pub nkey: UserKey,
    /// Its container's address, in the network of the host's containers; without it NATS knows the
    /// user and there is no container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// The most memory that it gets.
    #[serde(default = "memory")]
    pub memory: MemorySize,
    /// Components whose services it may ask, besides its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub asks: Vec<ComponentName>,
    /// Components whose events it may read, besides its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub reads: Vec<ComponentName>,
    /// Tables of its configuration, as its own documents have them; the storage manager's alone.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique::map")]
    pub settings: BTreeMap<SettingsTable, BTreeMap<Token, serde_json::Value>>,
}

/// A table of the storage manager's configuration that an inventory may set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum SettingsTable {
    /// Which streams are archived.
    Streams,
    /// When a segment is made.
    Segment,
    /// When segments are sealed.
    Seal,
    /// When replaced segments are deleted.
    Collect,
    /// How much memory messages may take.
    Memory,
}

impl SettingsTable {
    const ALL: [Self; 5] = [Self::Streams, Self::Segment, Self::Seal, Self::Collect, Self::Memory];

    /// Returns the table's name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Streams => "streams",
            Self::Segment => "segment",
            Self::Seal => "seal",
            Self::Collect => "collect",
            Self::Memory => "memory",
        }
    }
}

impl fmt::Display for SettingsTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl JsonSchema for SettingsTable {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "SettingsTable".into()
    }

    // A plain list, so that it also checks a map's keys.
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string", "enum": Self::ALL.map(Self::as_str) })
    }
}

/// A plugin on a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Plugin {
    /// The public key that it logs in to NATS with.
    pub nkey: UserKey,
    /// Its container's address, in the network of the host's containers; without it NATS knows the
    /// user and there is no container.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<Ipv4Addr>,
    /// The most memory that it gets.
    #[serde(default = "plugin_memory")]
    pub memory: MemorySize,
    /// Subjects that it may publish on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<SubjectFilter>,
    /// Subjects that it may subscribe to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribe: Vec<SubjectFilter>,
}

/// The network of a host's containers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Containers {
    /// Its addresses.
    pub cidr: Cidr,
    /// The bridge that containers hang on.
    #[serde(default = "bridge")]
    pub bridge: InterfaceName,
    /// The host's own address there, where NATS listens for containers.
    pub host_address: Ipv4Addr,
}

/// An S3 service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct S3 {
    /// Which program serves it: `fake-wasabi` on a host of that role, another on a `nas`.
    pub provider: Provider,
    /// The port.
    #[serde(default = "s3_port")]
    pub port: Port,
    /// The region that requests are signed for.
    #[serde(default = "region")]
    pub region: Region,
    /// Networks that may reach it, besides the hosts that archive to it.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub from: Vec<NodeName>,
}

words! {
    /// A program that serves S3.
    Provider {
        /// MinIO.
        Minio = "minio",
        /// Garage.
        Garage = "garage",
        /// `RustFS`.
        Rustfs = "rustfs",
        /// `SeaweedFS`; from version 2 on.
        Seaweedfs = "seaweedfs",
        /// The Versity S3 Gateway; from version 2 on.
        Versitygw = "versitygw",
        /// This project's own, for labs.
        FakeWasabi = "fake-wasabi",
    }
}

fn s3_port() -> Port {
    Port::new(9000).expect("it is a port")
}

fn region() -> Region {
    Region::new("us-east-1").expect("it is a region")
}

fn memory() -> MemorySize {
    MemorySize::new("512M").expect("it is a memory size")
}

fn plugin_memory() -> MemorySize {
    MemorySize::new("256M").expect("it is a memory size")
}

fn bridge() -> InterfaceName {
    InterfaceName::new("br-cim").expect("it is an interface name")
}
