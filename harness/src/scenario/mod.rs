//! Scenarios: files that say what a lab is made of, what happens to it, and what must come out.
//!
//! The types here are the format, and their doc comments its reference: docs/scenarios.md and
//! fixtures/schemas/scenario.json are generated from them (`tests/reference`). Unknown keys are
//! refused everywhere: a misspelt expectation would otherwise be one that nobody checks.

pub(crate) mod check;
mod effect;
mod family;
mod faults;
mod find;
mod group;
mod objects;
mod parse;
mod problem;
mod schema;
mod step;
mod topology;
mod value;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use cim_core::names::{ConsumerName, NodeName, StreamName, Subject, SubjectFilter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

pub(crate) use check::programs;
pub(crate) use effect::Effect;
pub use effect::Nature;
pub use family::{Family, Kind, Storage};
pub use faults::{Fault, FaultRule};
pub use find::{Listed, directory, list, load};
pub(crate) use find::{examine_file, files, path_of};
pub use parse::{examine, parse};
pub use problem::Problem;
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
    /// What it proves and how, for people.
    #[serde(default)]
    pub description: String,
    /// What the substrate must be able to do. What its steps need it requires without saying so.
    /// Otherwise the scenario is skipped, with the reason.
    #[serde(default)]
    pub requires: BTreeSet<Capability>,
    /// The machines, by name. One has the role `host`, or three and more, and one the role `nas`.
    pub nodes: BTreeMap<NodeName, Node>,
    /// Links between nodes that are disturbed from the start.
    #[serde(default)]
    pub links: Vec<LinkSpec>,
    /// What the storage manager's configuration says besides the addresses, in its own words
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
    /// Durable consumers on them.
    #[serde(default)]
    pub consumers: Vec<ConsumerSpec>,
    /// What is published. There is at least one, here or in `families`.
    #[serde(default)]
    pub workloads: Vec<WorkloadSpec>,
    /// What happens, in order. The last one is `judge` with `what = "everything"`.
    pub steps: Vec<Step>,
    /// What must hold besides that everything confirmed comes back exactly, which always must.
    #[serde(default)]
    pub expect: Expect,
}

/// What not every substrate can do.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Capability {
    /// Programs can be killed, paused and started one by one. Offered by `process` and `container`.
    Processes,
    /// Links can be delayed, throttled and cut. Offered by `process` and `container`.
    Links,
    /// A machine loses power: what was not synced to disk is gone. Offered by machines.
    PowerLoss,
    /// Clocks can be set. Offered by machines.
    Clock,
    /// Wasabi's service can be told to misbehave. Offered by `process` and `container`.
    S3Faults,
    /// Disks have a size, and can be filled. Offered by `process`, where a tmpfs can be mounted.
    DiskFull,
    /// The storage manager can be made to die at its own commit points: a test build of it is there.
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
    /// What runs on it.
    pub role: Role,
    /// More of nats-server's configuration, on a host or a leaf node of processes or containers.
    #[serde(default)]
    pub nats: String,
    /// How often its JetStream syncs to disk: `always`, or a time such as `2m`. Absent for what
    /// is installed: the modules' `always` on machines, the server's own two minutes for processes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sync_interval: Option<String>,
    /// The size of its disk, at least 8MiB; absent for as much as there is. Requires `disk-full`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk: Option<Size>,
}

/// What runs on a machine.
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
    /// Who connects.
    pub from: NodeName,
    /// To whom.
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
    /// What it takes; nothing for one that takes its messages from other streams.
    #[serde(default)]
    pub subjects: Vec<SubjectFilter>,
    /// The streams of leaf nodes that it takes its messages from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub sources: Vec<StreamName>,
    /// More of its configuration, as `$JS.API.STREAM.CREATE` takes it.
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
    /// What it acknowledges.
    pub acks: Acks,
    /// So many members share it, each a process of its own that acknowledges all that it gets; what
    /// the group as a whole was given is then judged too. Absent for one reader within the harness.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub members: Option<u32>,
    /// How long the server waits for an acknowledgement before it gives a message to somebody else.
    #[serde(default = "defaults::ack_wait")]
    pub ack_wait: Span,
}

/// What a consumer acknowledges.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Acks {
    /// All that it gets, as it comes.
    #[default]
    All,
    /// Every message of the first half of what it gets, and every second one after that.
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
    /// How many different tokens.
    #[serde(default = "defaults::subjects")]
    pub subjects: u32,
    /// Publishers, each with a connection of its own.
    #[serde(default = "defaults::publishers")]
    pub publishers: u32,
    /// Events, all publishers together.
    pub events: u64,
    /// Events per second, all publishers together; absent for as fast as it goes.
    pub rate: Option<Rate>,
    /// Of a payload, at least 40 bytes.
    #[serde(default = "defaults::size")]
    pub size: Size,
    /// Every how manieth event has headers, `Nats-Msg-Id` among them; 0 for none.
    #[serde(default = "defaults::headers_every")]
    pub headers_every: u64,
    /// How many events are deleted from the stream again, soon after they were acked; at most half.
    #[serde(default)]
    pub deletes: u64,
    /// Publishes per publisher that may be without an ack.
    #[serde(default = "defaults::window")]
    pub window: usize,
    /// Whether what was not acked is published again, with the same `Nats-Msg-Id`.
    #[serde(default)]
    pub republish: bool,
    /// The load puts objects into an object store: so many chunks each, of `size`, and a message that
    /// describes them. `stream` is `OBJ_<bucket>`, `subject` is `$O.<bucket>`; `subjects` and
    /// `headers-every` mean nothing then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object_chunks: Option<u32>,
    /// An ack that has not come by then counts as none. The client does not say when a server that it
    /// waited for was killed.
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

/// Bounds. That everything confirmed comes back exactly is none of them: it always must.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case", default)]
pub struct Expect {
    /// How old the oldest acked event that a tier does not hold yet may be, under load.
    pub lag: BTreeMap<Tier, Bounds>,
    /// How old an acked event may be when a tier is found to have it, under load and while a step waits for
    /// tiers to catch up. What was under way when a host was lost is not counted.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub age: BTreeMap<Tier, Bounds>,
    /// The most that a recovery from a tier may lose, as the age of the oldest lost event.
    pub rpo: BTreeMap<Tier, Span>,
    /// The longest that a recovery from a tier may take.
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
    /// The same, with bounds of time this many times wider.
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
    /// Of the median.
    pub p50: Option<Span>,
    /// Of the 99th percentile.
    pub p99: Option<Span>,
    /// Of all.
    pub max: Option<Span>,
}

impl Scenario {
    /// The only node of a role; the first by name where there are several.
    pub fn node_of(&self, role: Role) -> Option<&NodeName> {
        self.nodes_of(role).next()
    }

    /// The nodes of a role, by name.
    pub fn nodes_of(&self, role: Role) -> impl Iterator<Item = &NodeName> {
        self.nodes.iter().filter(move |(_, node)| node.role == role).map(|(name, _)| name)
    }

    /// Whether its hosts form a cluster.
    pub fn clustered(&self) -> bool {
        self.nodes_of(Role::Host).nth(1).is_some()
    }

    /// The streams that the host holds and the storage manager tiers, with their places in `streams`.
    pub fn tiered(&self) -> impl Iterator<Item = (usize, &StreamSpec)> {
        self.streams.iter().enumerate().filter(|(_, stream)| stream.node.is_none())
    }

    /// What it requires, and what its steps need besides.
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

    /// The fail points that its steps name.
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

    /// The tiers that the topology has.
    pub fn tiers(&self) -> Vec<Tier> {
        [(Role::Nas, Tier::Nas), (Role::Wasabi, Tier::Wasabi)]
            .into_iter()
            .filter_map(|(role, tier)| self.node_of(role).map(|_| tier))
            .collect()
    }
}
