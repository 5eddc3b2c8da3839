//! Scenarios: files that describe a lab, the events in it, and the required result.
//!
//! Owns the format, its checks, and where files are looked for. Does not own the doing of a step
//! (`engine`), and what a substrate can do (`substrate`).
//!
//! The types here are the format, and their doc comments its reference: docs/scenarios.md and
//! fixtures/schemas/scenario.json are generated from them (`tests/reference`). Unknown keys are
//! refused everywhere: a misspelt expectation would otherwise never be checked.

pub(crate) mod check;
mod diagnostic;
mod effect;
mod family;
mod faults;
mod find;
mod parse;
mod schema;
mod step;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cim_core::names::{ConsumerName, NodeName, StreamName, Subject, SubjectFilter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use check::programs;
pub use diagnostic::Diagnostic;
pub(crate) use effect::Effect;
pub use effect::Nature;
pub use family::{Family, Kind, Storage};
pub use faults::{Fault, FaultRule};
pub use find::{Listed, directory, list, load};
pub(crate) use find::{examine_file, files, path_of};
pub use parse::{examine, parse};
pub(crate) use schema::kinds_of_step;
pub use schema::schema;
pub use step::{
    Age, AwaitLoad, AwaitReplicas, AwaitTakeover, AwaitTier, Between, ChangeLink, CrashAt, Damage,
    DamageStream, DamagedFile, Drain, ExpectNoAcks, FillDisk, FinishLoad, Harm, Judge, Judged,
    Load, LoseMember, Manner, NodeOnly, Part, Program, PurgeStream, ReadObjects, Repeat, Replay,
    ReplayFrom, Restore, RestoreCopy, S3Faults, Step, StepClock, StreamOnly, Target, Tier,
    UpdateStream, Verify,
};
pub use value::{Percent, Rate, Shift, Size, Span, ValueError};

use crate::lab::link::Conditions;

/// A scenario file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Scenario {
    /// One line for the list.
    pub title: String,
    /// The proof and its method, for people.
    #[serde(default)]
    pub description: String,
    /// Capabilities that the substrate must have, beside those that the steps need. If it lacks
    /// one, the scenario is skipped, with the reason.
    #[serde(default)]
    pub requires: BTreeSet<Capability>,
    /// The machines, by name. One has the role `host`, or three and more, and one the role `nas`.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Links between nodes that are disturbed from the start.
    #[serde(default)]
    pub links: Vec<LinkSpec>,
    /// Settings of the storage manager's configuration besides the addresses, in its own words
    /// (storage-manager.md).
    #[serde(default)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub storage_manager: toml::Table,
    /// The streams that exist from the start. There is at least one, here or in `families`.
    #[serde(default)]
    pub streams: Vec<StreamSpec>,
    /// Many streams alike, each with a load of its own.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub families: Vec<Family>,
    /// Durable consumers of the streams.
    #[serde(default)]
    pub consumers: Vec<ConsumerSpec>,
    /// The loads that publish. There is at least one, here or in `families`.
    #[serde(default)]
    pub workloads: Vec<WorkloadSpec>,
    /// The steps, in order. The last one is `judge` with `what = "everything"`.
    pub steps: Vec<Step>,
    /// Requirements besides the one that always holds: everything confirmed comes back exactly.
    #[serde(default)]
    pub expect: Expect,
}

/// An ability that not every substrate has.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Programs can be killed, paused and started one by one. Offered by `process` and `container`.
    Processes,
    /// Links can be delayed, throttled and cut. Offered by `process` and `container`.
    Links,
    /// A machine can lose power: data that was not synced to disk is gone. Offered by machines.
    PowerLoss,
    /// Clocks can be set. Offered by machines.
    Clock,
    /// Wasabi's service can be told to misbehave. Offered by `process` and `container`.
    S3Faults,
    /// Disks have a size, and can be filled. Offered by `process`, where a tmpfs can be mounted.
    DiskFull,
    /// The storage manager can be made to die at its own commit points. Offered by `process` with a
    /// test build.
    FailPoints,
    /// Several hosts whose NATS servers form a cluster. Offered by `process`.
    Cluster,
    /// NATS servers with streams of their own behind a leaf-node connection. Offered by `process`.
    LeafNodes,
    /// A second storage manager of the host's journal, on a node of its own. Offered by `process`.
    Standby,
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As a scenario file writes it.
        self.serialize(f)
    }
}

/// A machine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Node {
    /// The role, which decides the programs that run on it.
    pub role: Role,
    /// Extra text for nats-server's configuration, on a host or a leaf node of processes or
    /// containers.
    #[serde(default)]
    pub nats: String,
    /// The interval at which its JetStream syncs to disk: `always`, or a time such as `2m`. Absent
    /// for the installed one: the modules' `always` on machines, the server's own two minutes for
    /// processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<String>,
    /// The size of its disk, at least 8MiB; absent for no limit. Requires `disk-full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Size>,
}

/// The role of a machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// NATS with JetStream and the storage manager. Three or more are a cluster: every stream has a
    /// replica on each, on five at most, and the storage manager runs on the first by name until a
    /// step starts it on another.
    Host,
    /// NATS with a JetStream of its own, connected to the host as a leaf node. Its JetStream's domain
    /// is the node's name.
    Leaf,
    /// MinIO, the secondary tier.
    Nas,
    /// Fake Wasabi, the tertiary tier.
    Wasabi,
    /// A second storage manager of the host's archive, on a node of its own, that a step starts. It reaches the
    /// host's NATS and both tiers by links of its own.
    Standby,
    /// The publishers and the oracle.
    Operator,
}

/// The state of the link between two nodes at the start. The links are operator to host and to leaf
/// node, leaf node to host, host to NAS, host to Wasabi, and host to host in a cluster, where it does
/// not matter which is named first; and standby to host, to NAS and to Wasabi.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct LinkSpec {
    /// The node that connects.
    pub from: NodeName,
    /// The node that it connects to.
    pub to: NodeName,
    /// The conditions.
    pub conditions: Conditions,
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct StreamSpec {
    /// Its name.
    pub name: StreamName,
    /// The leaf node that holds it; absent for the host or its cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub node: Option<NodeName>,
    /// The subjects that it stores; none for one that copies its messages from other streams.
    #[serde(default)]
    pub subjects: Vec<SubjectFilter>,
    /// The streams of leaf nodes that it copies its messages from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<StreamName>,
    /// Extra keys of its configuration, as `$JS.API.STREAM.CREATE` takes them.
    #[serde(default)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub config: toml::Table,
}

/// A durable consumer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct ConsumerSpec {
    /// Its name.
    pub name: ConsumerName,
    /// The stream it reads.
    pub stream: StreamName,
    /// The messages that it acknowledges.
    pub acks: Acks,
    /// The number of members that share it, each a process of its own that acknowledges all
    /// messages that it gets; the deliveries to the group as a whole are then judged, too. Absent
    /// for one reader within the harness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<u32>,
    /// The time that the server waits for an acknowledgement before it gives a message to another
    /// member.
    #[serde(default = "defaults::ack_wait")]
    pub ack_wait: Span,
}

/// The messages that a consumer acknowledges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Acks {
    /// All messages, as they come.
    #[default]
    All,
    /// The first 500 messages, and every second one after that.
    Some,
    /// None: nothing is ever read.
    None,
}

/// A load.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct WorkloadSpec {
    /// Its name.
    pub name: String,
    /// The stream that takes it.
    pub stream: StreamName,
    /// Events go to this subject and one more token.
    pub subject: Subject,
    /// The number of different tokens.
    #[serde(default = "defaults::subjects")]
    pub subjects: u32,
    /// The number of publishers, each with a connection of its own.
    #[serde(default = "defaults::publishers")]
    pub publishers: u32,
    /// The number of events, all publishers together.
    pub events: u64,
    /// Events per second, all publishers together; absent for as fast as it goes.
    pub rate: Option<Rate>,
    /// The size of a payload, at least 40 bytes.
    #[serde(default = "defaults::size")]
    pub size: Size,
    /// Each n-th event has headers, `Nats-Msg-Id` among them; 0 for none.
    #[serde(default = "defaults::headers_every")]
    pub headers_every: u64,
    /// The number of events that are deleted from the stream again, soon after they were acked; at
    /// most half.
    #[serde(default)]
    pub deletes: u64,
    /// The most unacked publishes of a publisher.
    #[serde(default = "defaults::window")]
    pub window: usize,
    /// Publishes events without an ack again, with the same `Nats-Msg-Id`.
    #[serde(default)]
    pub republish: bool,
    /// Puts objects into an object store: this many chunks each, of `size`, and a message that
    /// describes them. `stream` is `OBJ_<bucket>`, `subject` is `$O.<bucket>`; `subjects` and
    /// `headers-every` mean nothing then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_chunks: Option<u32>,
    /// The longest wait for an ack; a later one counts as none. The client does not notice that a
    /// server it waits for was killed.
    #[serde(default = "defaults::ack_within")]
    pub ack_within: Span,
}

mod defaults {
    use super::{Size, Span};

    pub(super) fn subjects() -> u32 {
        16
    }
    pub(super) fn publishers() -> u32 {
        4
    }
    pub(super) fn size() -> Size {
        Size::from_bytes(1024)
    }
    pub(super) fn headers_every() -> u64 {
        8
    }
    pub(super) fn window() -> usize {
        1024
    }
    pub(super) fn ack_wait() -> Span {
        Span::micros(30_000_000)
    }
    pub(super) fn ack_within() -> Span {
        Span::micros(10_000_000)
    }
}

/// Bounds. Everything confirmed must come back exactly in any case.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Expect {
    /// The greatest age of the oldest acked event that a tier does not hold yet, under load.
    pub lag: BTreeMap<Tier, Bounds>,
    /// The greatest age of an acked event when a tier is found to have it, under load and while a
    /// step waits for tiers to catch up. Events under way at the loss of a host do not count.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub age: BTreeMap<Tier, Bounds>,
    /// The greatest loss of a recovery from a tier, as the age of the oldest lost event.
    pub rpo: BTreeMap<Tier, Span>,
    /// The longest time of a recovery from a tier.
    pub rto: BTreeMap<Tier, Span>,
    /// A delete that is older than this at the loss must have survived it.
    pub deletes_within: Option<Span>,
    /// The fewest messages that the largest comparison must have found exact; at least 1, so that
    /// nothing passes by doing nothing.
    pub events_at_least: u64,
    /// The fewest messages that each recovery must bring back; at least 1, likewise.
    pub recovered_at_least: u64,
    /// For a scenario that proves that another one can fail: this many acked events must be lost, and
    /// nothing else may be wrong. 0 for every other scenario, in which nothing may be lost.
    pub lost_at_least: u64,
    /// For a scenario that damages JetStream's files: the fewest acked messages that NATS itself must have
    /// lost by it, so that nothing passes because the damage did no harm.
    pub primary_lost_at_least: u64,
}

impl Expect {
    /// Returns it with bounds of time that are this many times wider.
    #[must_use]
    pub fn widened(mut self, times: u32) -> Self {
        let bounds = self.lag.values_mut().chain(self.age.values_mut());
        let all = bounds.flat_map(|b| [&mut b.p50, &mut b.p99, &mut b.max]).flatten();
        let all = all.chain(self.rpo.values_mut()).chain(self.rto.values_mut());
        for span in all.chain(&mut self.deletes_within) {
            *span = Span::micros(span.as_micros().saturating_mul(times.into()));
        }
        self
    }
}

/// Upper bounds of something that was measured many times.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Bounds {
    /// For the median.
    pub p50: Option<Span>,
    /// For the 99th percentile.
    pub p99: Option<Span>,
    /// For all values.
    pub max: Option<Span>,
}

impl Scenario {
    /// Returns the node of a role; the first by name if there are several.
    pub fn node_of(&self, role: Role) -> Option<&NodeName> {
        self.nodes_of(role).next()
    }

    /// Returns the nodes of a role, ordered by name.
    pub fn nodes_of(&self, role: Role) -> impl Iterator<Item = &NodeName> {
        self.nodes.iter().filter(move |(_, node)| node.role == role).map(|(name, _)| name)
    }

    /// Reports whether its hosts form a cluster.
    pub fn clustered(&self) -> bool {
        self.nodes_of(Role::Host).nth(1).is_some()
    }

    /// Returns the streams that the host holds and the storage manager tiers, with their places in
    /// `streams`.
    pub fn tiered(&self) -> impl Iterator<Item = (usize, &StreamSpec)> {
        self.streams.iter().enumerate().filter(|(_, stream)| stream.node.is_none())
    }

    /// Returns the required capabilities, including those that its steps need.
    pub fn needs(&self) -> BTreeSet<Capability> {
        let mut needs = self.requires.clone();
        let mut steps: Vec<&Step> = self.steps.iter().collect();
        while let Some(step) = steps.pop() {
            match step {
                Step::Kill(_)
                | Step::Stop(_)
                | Step::Pause(_)
                | Step::Continue(_)
                | Step::DamageStream(_) => {
                    needs.insert(Capability::Processes);
                }
                Step::CrashAt(_) | Step::Age(_) => {
                    needs.extend([Capability::Processes, Capability::FailPoints]);
                }
                Step::Restore(restore) if restore.crash_at.is_some() => {
                    needs.insert(Capability::FailPoints);
                }
                Step::PowerCut(_) => {
                    needs.insert(Capability::PowerLoss);
                }
                Step::StepClock(_) => {
                    needs.insert(Capability::Clock);
                }
                Step::Link(_) => {
                    needs.insert(Capability::Links);
                }
                Step::S3Faults(_) => {
                    needs.insert(Capability::S3Faults);
                }
                Step::FillDisk(_) | Step::FreeDisk(_) => {
                    needs.insert(Capability::DiskFull);
                }
                Step::Repeat(repeat) => steps.extend(&repeat.steps),
                _ => {}
            }
        }
        if !self.links.is_empty() {
            needs.insert(Capability::Links);
        }
        if self.nodes.values().any(|node| node.disk.is_some()) {
            needs.insert(Capability::DiskFull);
        }
        if self.clustered() {
            needs.insert(Capability::Cluster);
        }
        if self.node_of(Role::Leaf).is_some() {
            needs.insert(Capability::LeafNodes);
        }
        if self.node_of(Role::Standby).is_some() {
            needs.insert(Capability::Standby);
        }
        needs
    }

    /// Returns the fail points that its steps name.
    pub(crate) fn fail_points(&self) -> BTreeSet<&str> {
        let mut points = BTreeSet::new();
        let mut steps: Vec<&Step> = self.steps.iter().collect();
        while let Some(step) = steps.pop() {
            match step {
                Step::CrashAt(crash) => points.extend(crash.points.iter().map(String::as_str)),
                Step::Restore(restore) => points.extend(restore.crash_at.as_deref()),
                Step::Repeat(repeat) => steps.extend(&repeat.steps),
                _ => {}
            }
        }
        points
    }

    /// Returns the tiers that the topology has.
    pub fn tiers(&self) -> Vec<Tier> {
        [(Role::Nas, Tier::Nas), (Role::Wasabi, Tier::Wasabi)]
            .into_iter()
            .filter_map(|(role, tier)| self.node_of(role).map(|_| tier))
            .collect()
    }
}
