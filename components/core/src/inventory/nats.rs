//! A host's NATS server.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::number::{Count, MaxPayload, Port};
use super::unique;
use crate::names::{FilePath, NatsUrl, NodeName, Span, SubjectFilter, UserKey};

/// A NATS server with JetStream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Nats {
    /// The port for clients.
    #[serde(default = "nats_port")]
    pub port: Port,
    /// The most bytes that JetStream keeps on disk.
    pub max_file_store: Count,
    /// The most bytes that JetStream keeps in memory.
    pub max_memory_store: Count,
    /// When JetStream syncs its files.
    #[serde(default)]
    pub sync_interval: SyncInterval,
    /// The most bytes of a message.
    #[serde(default = "max_payload")]
    pub max_payload: MaxPayload,
    /// TLS for clients and leaf nodes; without it connections are plain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<Tls>,
    /// Connections of leaf nodes; without it there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub leaf_nodes: Option<LeafNodes>,
    /// The public key of the system account's user, who may look at everything that the server
    /// says of itself; without it there is none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub monitor_key: Option<UserKey>,
}

/// When JetStream syncs its files: `always`, before each ack, or every so often.
///
/// With anything but `always` a power cut loses what was acked since the last time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, expecting = "a sync interval is `always` or a span of time such as `2m`")]
pub enum SyncInterval {
    /// Before each ack.
    #[default]
    #[serde(with = "always")]
    #[schemars(schema_with = "always::schema")]
    Always,
    /// Every so often.
    Every(Span),
}

mod always {
    use serde::{Deserialize as _, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str("always")
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        match String::deserialize(deserializer)?.as_str() {
            "always" => Ok(()),
            other => Err(serde::de::Error::custom(format!("`{other}` is not `always`"))),
        }
    }

    pub(super) fn schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "const": "always" })
    }
}

/// Files of a TLS server on the machine itself; never in the Nix store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Tls {
    /// The certificate, PEM.
    pub certificate: FilePath,
    /// Its private key, PEM. It stays with root: the server reads it as a credential.
    pub key: FilePath,
    /// The authority that signed it, for clients to trust; without it the system's roots.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca: Option<FilePath>,
    /// Clients must show a certificate of this authority as well.
    #[serde(default)]
    pub verify: bool,
}

/// Leaf nodes: servers elsewhere that share subjects with this one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeafNodes {
    /// Where others connect to as leaf nodes; without it none can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listen: Option<LeafListen>,
    /// Servers that this one connects to as a leaf node.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty", deserialize_with = "unique::map")]
    pub remotes: BTreeMap<NodeName, LeafRemote>,
}

/// Where leaf nodes connect to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeafListen {
    /// The port.
    #[serde(default = "leaf_port")]
    pub port: Port,
    /// The network that connections come from.
    pub from: NodeName,
    /// Who may connect.
    #[serde(deserialize_with = "unique::map")]
    pub users: BTreeMap<NodeName, LeafUser>,
}

/// A leaf node that connects.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeafUser {
    /// The public key that it logs in with.
    pub nkey: UserKey,
    /// Subjects that it may publish on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub publish: Vec<SubjectFilter>,
    /// Subjects that it may subscribe to.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub subscribe: Vec<SubjectFilter>,
}

/// A server that this one connects to as a leaf node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LeafRemote {
    /// Where it listens: `tls://hub.example.com:7422`; tried in turn.
    pub urls: Vec<NatsUrl>,
    /// Subjects of this host's that cross over; no others do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub export: Vec<SubjectFilter>,
    /// Subjects of the other side's that come here; no others do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub import: Vec<SubjectFilter>,
}

fn nats_port() -> Port {
    Port::new(4222).expect("it is a port")
}

fn leaf_port() -> Port {
    Port::new(7422).expect("it is a port")
}

fn max_payload() -> MaxPayload {
    MaxPayload::new(1_048_576).expect("it is within bounds")
}
