//! The steps of a scenario.
//!
//! In a file a step is a table with `do = "<kind>"` and the kind's own keys.

use std::fmt;

use cim_core::names::{ConsumerName, NodeName, StreamName, SubjectFilter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{FaultRule, Percent, Shift, Size, Span};
use crate::lab::link::Conditions;

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
// As files have it; `parse` turns the tag into a form that serde reads without losing line and
// column.
#[schemars(tag = "do")]
pub enum Step {
    /// Starts to publish; from here on events are on their way.
    Load(Load),
    /// Waits while the load runs, for the time or the share that one of the two keys gives.
    AwaitLoad(AwaitLoad),
    /// Waits until a tier holds a share of all events, while the load runs.
    AwaitTier(AwaitTier),
    /// Waits until every replica of every stream of a cluster is complete.
    AwaitReplicas(AwaitReplicas),
    /// Waits until other members have acknowledged the messages that lost members of a consumer had
    /// in hand.
    AwaitTakeover(AwaitTakeover),
    /// Checks that a cluster without its majority takes no writes: the oracle publishes to the
    /// remaining servers, ten times a second, and no publish may be acked.
    ExpectNoAcks(ExpectNoAcks),
    /// Lets publishers and consumers go on, against the current host.
    ResumeLoad(Empty),
    /// Waits until every event has been published.
    FinishLoad(FinishLoad),
    /// Stops the publishers at once; the events published so far are all that there will be.
    StopLoad(Empty),
    /// Kills with SIGKILL; the disk stays.
    Kill(Target),
    /// Stops with SIGTERM, and waits up to 30 s for an orderly end.
    Stop(Target),
    /// Lets the storage manager die at its own fail points, one after the other, and starts it
    /// again. A point that is not reached fails the scenario. selftest.md lists them. Requires
    /// `fail-points`.
    CrashAt(CrashAt),
    /// Stops the storage manager in an orderly way and starts it with its clock further ahead, for
    /// good: it then treats the archive as that much older. Other programs keep their clocks.
    /// Requires `fail-points`.
    Age(Age),
    /// Starts killed or stopped programs, with the same disk and the same port.
    Start(Target),
    /// Sends SIGSTOP: the programs hang without ending.
    Pause(Target),
    /// Sends SIGCONT: the programs go on after a pause.
    Continue(Target),
    /// Cuts a machine's power: data that was not synced to its disk is gone. `start` boots it
    /// again; a host's next life begins with the data that is left. Requires `power-loss`.
    PowerCut(NodeOnly),
    /// Kills everything on a node and deletes its disk. A cluster lives on until half of its hosts are
    /// gone.
    Destroy(NodeOnly),
    /// Replaces a destroyed machine by a new, empty one, with NATS or S3 running; if the host or
    /// its cluster was lost, the recovery's clock starts. A new cluster begins when it is complete.
    Replace(NodeOnly),
    /// Brings every stream back, with `cim-storage-manager restore --all --from …` on the host.
    Restore(Restore),
    /// Waits until tiers hold everything that the streams hold.
    Drain(Drain),
    /// Lets the oracle read everything and compare it.
    Judge(Judge),
    /// Rebuilds a consumer's state from the stream and compares digests.
    Replay(Replay),
    /// Reads every whole object of an object store as its clients do, and compares it with the
    /// original.
    ReadObjects(ReadObjects),
    /// Changes a link while the lab runs; without conditions it heals.
    Link(ChangeLink),
    /// Makes Wasabi's service fail by these rules from now on. Requires `s3-faults`.
    S3Faults(S3Faults),
    /// Damages an object of a tier's archive, as a silent error of a disk would.
    Damage(Damage),
    /// Reads a whole tier with `cim-storage-manager verify` on the host: it must find no problem
    /// or, after a damage, end with status 5 and name the damaged objects.
    Verify(Verify),
    /// Fills a node's disk, which has a size.
    FillDisk(FillDisk),
    /// Frees that space again, and waits until the node's S3 service takes writes again.
    FreeDisk(NodeOnly),
    /// Sets a machine's clock relative to its time: `by = "-10m"` back, `by = "1h"` forward.
    /// Requires `clock`.
    StepClock(StepClock),
    /// Loses a member of a consumer for good while it has messages in hand that it has not
    /// acknowledged; the seed draws which one.
    LoseMember(LoseMember),
    /// Removes messages from a stream, as an administrator does: all of them without further keys.
    /// They do not count as lost: a later restore must not bring them back.
    PurgeStream(PurgeStream),
    /// Deletes a stream, as an administrator does.
    DeleteStream(StreamOnly),
    /// Makes a deleted stream again, with its consumers, as an administrator does.
    MakeStream(StreamOnly),
    /// Changes a stream's configuration, as an administrator does.
    UpdateStream(UpdateStream),
    /// Restores a stream under another name beside the live one, compares, and deletes it again.
    RestoreCopy(RestoreCopy),
    /// Flips a bit in a file of a stream on a host's disk, or cuts it short. Its NATS must not run;
    /// publishers wait until `judge` with `what = "primary"` has counted the server's losses. In a
    /// cluster the load goes on.
    DamageStream(DamageStream),
    /// Does the steps several times; every choice is drawn anew.
    Repeat(Repeat),
}

/// No keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// The loads to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// One of `workloads`; absent for all of them.
    pub workload: Option<String>,
}

/// The condition to wait for: one of the two keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AwaitLoad {
    /// Until a share of all events has been published, drawn from this range.
    pub published: Option<Between<Percent>>,
    /// For a time that is drawn from this range.
    #[serde(rename = "for")]
    pub time: Option<Between<Span>>,
}

/// The share that a tier must hold.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwaitTier {
    /// The tier.
    pub tier: Tier,
    /// The share of all events of the scenario.
    pub holds: Percent,
    /// The longest that it may take.
    #[serde(default = "minutes")]
    pub within: Span,
}

/// The limit for a cluster's replicas.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwaitReplicas {
    /// The longest that it may take.
    #[serde(default = "minutes")]
    pub within: Span,
}

/// The limit for taking over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwaitTakeover {
    /// The consumer.
    pub consumer: ConsumerName,
    /// The longest that it may take.
    #[serde(default = "minutes")]
    pub within: Span,
}

/// The stream that must not ack, and the time for which that is observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectNoAcks {
    /// The stream to publish to.
    pub stream: StreamName,
    /// The time to publish.
    #[serde(rename = "for", default = "seconds")]
    pub time: Span,
}

impl fmt::Display for ExpectNoAcks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = std::time::Duration::from(self.time);
        write!(f, "publish to {} for {time:?}, which must not be acked", self.stream)
    }
}

/// A range that the seed picks from; both ends are part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(inline)]
pub struct Between<T>(pub T, pub T);

/// The limit for the rest of the load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishLoad {
    /// The longest that it may take.
    #[serde(default = "minutes")]
    pub within: Span,
}

/// The fail points for the storage manager of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CrashAt {
    /// The host.
    pub node: NodeName,
    /// The fail points, in this order; between two there is no pause.
    pub points: Vec<String>,
    /// The pass on which the point kills, drawn anew for each; 1 is the first.
    #[serde(default = "once")]
    pub reached: Between<u32>,
    /// The longest time until one of them is reached.
    #[serde(default = "minutes")]
    pub within: Span,
}

/// The age to add to an archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Age {
    /// The host of the storage manager.
    pub node: NodeName,
    /// The days by which its clock goes ahead.
    pub days: u32,
}

/// A node, and one of its programs or all of them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Target {
    /// The node.
    pub node: NodeName,
    /// The program; absent for all of the node's.
    pub program: Option<Program>,
}

/// A program of a node.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Program {
    /// nats-server, on a host.
    Nats,
    /// The storage manager's daemon, on a host.
    StorageManager,
    /// The S3 service of a NAS or of Wasabi.
    S3,
}

impl fmt::Display for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nats => "nats",
            Self::StorageManager => "storage-manager",
            Self::S3 => "s3",
        })
    }
}

/// A node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NodeOnly {
    /// The node.
    pub node: NodeName,
}

/// A place that an archive lies in.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Tier {
    /// The secondary tier.
    Nas,
    /// The tertiary tier.
    Wasabi,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Nas => "nas",
            Self::Wasabi => "wasabi",
        })
    }
}

/// The source and destination of a restore.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Restore {
    /// The host that gets the streams.
    pub node: NodeName,
    /// The tier.
    #[serde(default = "nas")]
    pub from: Tier,
    /// The tier is damaged: the command must say so, with status 5, and only the streams that it
    /// reports as restored may exist afterwards.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// The fail point at which the command must die; then no stream may exist. Requires
    /// `fail-points`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_at: Option<String>,
    /// With `crash-at`: the pass on which the point kills; 1 is the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Between<u32>>,
}

/// The tiers, and the limit for them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// The tiers.
    pub tiers: Vec<Tier>,
    /// The longest that it may take.
    #[serde(default = "minutes")]
    pub within: Span,
}

/// The subject of a judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// The subject.
    pub what: Judged,
}

/// The subject of a judgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Judged {
    /// The streams that a restore has just brought back, against the tier's confirmed messages.
    Recovery,
    /// The streams of a host that was started again after a power cut, against everything that it
    /// had acked.
    Survival,
    /// The streams of a host whose files were damaged, against everything that it had acked: the
    /// losses of the primary tier itself. They go into the report and fail nothing. In a cluster,
    /// the damaged server's replicas, which may lack those messages until the server is replaced or
    /// the stream restored.
    Primary,
    /// The streams and every tier, against everything that was ever acked and not lost before.
    Everything,
}

/// The stream and start of a replay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// The stream.
    pub stream: StreamName,
    /// The start of reading.
    pub from: ReplayFrom,
}

/// The start of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReplayFrom {
    /// At sequence 1.
    Start,
    /// At a sequence, with the state of everything before it from the ledger.
    Sequence(Between<Percent>),
    /// At a point in time, likewise.
    Time(Between<Percent>),
}

/// The object store to read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadObjects {
    /// Its stream, `OBJ_<bucket>`.
    pub stream: StreamName,
    /// The stream was damaged, and `judge` with `what = "primary"` has found lost messages: objects
    /// with one of them must be unreadable, at least one such object must exist, and all others
    /// must be readable.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
}

/// A link's new state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeLink {
    /// The node that connects.
    pub from: NodeName,
    /// The node that it connects to.
    pub to: NodeName,
    /// The conditions; absent heals it.
    #[serde(default)]
    pub conditions: Conditions,
}

/// New faults of a node's S3 service.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Faults {
    /// The node; its role is `wasabi`.
    pub node: NodeName,
    /// The new rules, which replace the earlier ones; none ends all faults. The oracle is never
    /// struck.
    #[serde(default)]
    pub rules: Vec<FaultRule>,
}

/// An object of the archive that is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Damage {
    /// The tier of the object.
    pub tier: Tier,
    /// The kind of the object.
    pub part: Part,
    /// The damage.
    pub harm: Harm,
    /// The place among all objects of the kind, in the order of sequences, as a share drawn from
    /// this range. The bit is drawn too.
    #[serde(default = "anywhere")]
    pub at: Between<Percent>,
    /// The random number that picks the bit or the cut: drawn with the plan, and in no file.
    #[serde(default, skip_deserializing)]
    #[schemars(skip)]
    pub draw: u64,
}

/// A kind of object of the archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// A segment that the manifest names; in a journal, also an object that holds messages of several streams.
    Segment,
    /// Of these, one that is not sealed: it was not merged yet, and is on no other tier.
    UnsealedSegment,
    /// An entry of the manifest; in a journal, one that no checkpoint restates.
    Manifest,
}

impl fmt::Display for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Segment => "a segment",
            Self::UnsealedSegment => "an unsealed segment",
            Self::Manifest => "a manifest entry",
        })
    }
}

/// The damage to an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Harm {
    /// One bit is flipped.
    Flip,
    /// It ends early.
    Cut,
}

/// A check of a whole tier.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Verify {
    /// The host that the command runs on.
    pub node: NodeName,
    /// The tier.
    pub tier: Tier,
}

/// The fullness of a disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FillDisk {
    /// The node; it has a `disk`.
    pub node: NodeName,
    /// The bytes that are left free.
    #[serde(default)]
    pub leave: Size,
}

/// A clock that is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepClock {
    /// The machine.
    pub node: NodeName,
    /// The difference to its time.
    pub by: Shift,
}

/// A member that is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoseMember {
    /// The consumer.
    pub consumer: ConsumerName,
    /// The fate of the member.
    pub how: Manner,
    /// The random number that picks one of the remaining members: drawn with the plan, and in no
    /// file.
    #[serde(default, skip_deserializing)]
    #[schemars(skip)]
    pub draw: u64,
}

/// The way in which a member is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Manner {
    /// SIGKILL: it ends at once, and its connection with it.
    Kill,
    /// SIGSTOP: it hangs, and its connection stays open.
    Pause,
}

impl fmt::Display for Manner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Kill => "killed",
            Self::Pause => "paused",
        })
    }
}

/// A stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamOnly {
    /// The stream.
    pub stream: StreamName,
}

/// The messages to remove; all of them without further keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PurgeStream {
    /// The stream.
    pub stream: StreamName,
    /// Only messages on these subjects.
    pub subject: Option<SubjectFilter>,
    /// All messages but this many of the newest.
    pub keep: Option<u64>,
}

/// A stream's new configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateStream {
    /// The stream.
    pub stream: StreamName,
    /// The changed keys, as `$JS.API.STREAM.UPDATE` takes them.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub config: toml::Table,
}

/// The copy to restore beside the live stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RestoreCopy {
    /// The stream.
    pub stream: StreamName,
    /// The tier.
    #[serde(default = "nas")]
    pub from: Tier,
    /// The n-th history that ended; absent for the current one.
    pub timeline: Option<u32>,
    /// Includes messages that were purged, deleted or have expired.
    #[serde(default)]
    pub with_dropped: bool,
    /// The end of the copy at a message: its share of the tier's messages.
    pub until_sequence: Option<Between<Percent>>,
    /// The end of the copy at a point in time: the time of such a message.
    pub until_time: Option<Between<Percent>>,
}

/// The damage to a stream's files on a host's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DamageStream {
    /// The host.
    pub node: NodeName,
    /// The stream.
    pub stream: StreamName,
    /// The file.
    pub file: DamagedFile,
    /// The damage.
    pub how: Harm,
    /// The place: the share of the file, and of the blocks by number.
    pub at: Between<Percent>,
}

/// A file that JetStream keeps for a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum DamagedFile {
    /// A message block, `msgs/<n>.blk`.
    Block,
    /// `msgs/index.db`, which an orderly stop writes.
    Index,
    /// `meta.inf`, the configuration.
    Meta,
}

/// Steps, several times.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Repeat {
    /// The number of times.
    pub times: u32,
    /// The steps.
    pub steps: Vec<Step>,
}

fn seconds() -> Span {
    Span::micros(3_000_000)
}

fn minutes() -> Span {
    Span::micros(120_000_000)
}

fn anywhere() -> Between<Percent> {
    Between(Percent::permille(0), Percent::permille(1000))
}

fn once() -> Between<u32> {
    Between(1, 1)
}

fn nas() -> Tier {
    Tier::Nas
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.from {
            ReplayFrom::Start => write!(f, "replay {} from its start", self.stream),
            ReplayFrom::Sequence(at) => write!(f, "replay {} from {} of it", self.stream, at.0),
            ReplayFrom::Time(at) => write!(f, "replay {} from {} of its time", self.stream, at.0),
        }
    }
}

impl fmt::Display for Judge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.what {
            Judged::Recovery => "judge the recovery",
            Judged::Survival => "judge what survived",
            Judged::Primary => "judge the damaged streams",
            Judged::Everything => "judge everything",
        })
    }
}

impl fmt::Display for ReadObjects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "read the objects of {}", self.stream)?;
        if self.damaged { f.write_str(", some of which cannot be read") } else { Ok(()) }
    }
}

impl fmt::Display for PurgeStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let stream = &self.stream;
        match (&self.subject, self.keep) {
            (Some(subject), _) => write!(f, "purge {subject} from {stream}"),
            (None, Some(keep)) => write!(f, "purge {stream} but for {keep}"),
            (None, None) => write!(f, "purge {stream}"),
        }
    }
}

impl fmt::Display for LoseMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.how {
            Manner::Kill => write!(f, "kill a member of {}", self.consumer),
            Manner::Pause => write!(f, "pause a member of {} for good", self.consumer),
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let target = |f: &mut fmt::Formatter<'_>, verb: &str, t: &Target| match t.program {
            Some(program) => write!(f, "{verb} {program} on {}", t.node),
            None => write!(f, "{verb} {}", t.node),
        };
        match self {
            Self::Load(Load { workload: Some(name) }) => write!(f, "start load {name}"),
            Self::Load(_) => f.write_str("start the load"),
            Self::AwaitLoad(AwaitLoad { published: Some(p), .. }) => {
                write!(f, "wait until {} is published", p.0)
            }
            Self::AwaitLoad(AwaitLoad { time: Some(t), .. }) => {
                write!(f, "wait {:?}", std::time::Duration::from(t.0))
            }
            Self::AwaitLoad(_) => f.write_str("wait"),
            Self::AwaitTier(a) => write!(f, "wait until {} holds {}", a.tier, a.holds),
            Self::AwaitReplicas(_) => f.write_str("wait until every replica has caught up"),
            Self::AwaitTakeover(a) => {
                write!(f, "wait until others take over from lost members of {}", a.consumer)
            }
            Self::ExpectNoAcks(e) => e.fmt(f),
            Self::ResumeLoad(_) => f.write_str("let the load go on"),
            Self::FinishLoad(_) => f.write_str("finish the load"),
            Self::StopLoad(_) => f.write_str("stop the load"),
            Self::Kill(t) => target(f, "kill", t),
            Self::Stop(t) => target(f, "stop", t),
            Self::CrashAt(CrashAt { points, reached, .. }) => {
                write!(f, "crash the storage manager at {}", points.join(", then "))?;
                if reached.0 > 1 { write!(f, " ({}.)", reached.0) } else { Ok(()) }
            }
            Self::Age(a) => write!(f, "let the archive of {} get {} days older", a.node, a.days),
            Self::Start(t) => target(f, "start", t),
            Self::Pause(t) => target(f, "pause", t),
            Self::Continue(t) => target(f, "continue", t),
            Self::PowerCut(n) => write!(f, "cut the power of {}", n.node),
            Self::Destroy(n) => write!(f, "destroy {}", n.node),
            Self::Replace(n) => write!(f, "replace {}", n.node),
            Self::Restore(r) if r.refused => {
                write!(f, "restore {} from {}, which must be refused", r.node, r.from)
            }
            Self::Restore(r) => {
                write!(f, "restore {} from {}", r.node, r.from)?;
                r.crash_at.iter().try_for_each(|point| write!(f, ", to crash at {point}"))
            }
            Self::Drain(d) => {
                let tiers: Vec<_> = d.tiers.iter().map(ToString::to_string).collect();
                write!(f, "drain to {}", tiers.join(" and "))
            }
            Self::Judge(j) => j.fmt(f),
            Self::Replay(r) => r.fmt(f),
            Self::ReadObjects(r) => r.fmt(f),
            Self::Link(l) => write!(f, "change the link from {} to {}", l.from, l.to),
            Self::S3Faults(s) if s.rules.is_empty() => write!(f, "end all faults of {}", s.node),
            Self::S3Faults(s) => {
                let faults: Vec<_> = s.rules.iter().map(|r| r.fault.to_string()).collect();
                write!(f, "faults at {}: {}", s.node, faults.join(", "))
            }
            Self::Damage(d) => {
                let verb = match d.harm {
                    Harm::Flip => "flip a bit in",
                    Harm::Cut => "cut short",
                };
                write!(f, "{verb} {} on {}", d.part, d.tier)
            }
            Self::Verify(v) => write!(f, "verify {}", v.tier),
            Self::FillDisk(d) if d.leave.bytes() > 0 => {
                write!(f, "fill the disk of {} but for {}", d.node, d.leave)
            }
            Self::FillDisk(d) => write!(f, "fill the disk of {}", d.node),
            Self::FreeDisk(n) => write!(f, "free the disk of {}", n.node),
            Self::StepClock(c) => write!(f, "set the clock of {} by {}", c.node, c.by),
            Self::LoseMember(l) => l.fmt(f),
            Self::PurgeStream(p) => p.fmt(f),
            Self::DeleteStream(s) => write!(f, "delete {}", s.stream),
            Self::MakeStream(s) => write!(f, "make {} again", s.stream),
            Self::UpdateStream(u) => {
                let keys: Vec<_> = u.config.keys().map(String::as_str).collect();
                write!(f, "change {} of {}", keys.join(", "), u.stream)
            }
            Self::RestoreCopy(r) => {
                write!(f, "restore a copy of {} from {}", r.stream, r.from)?;
                match r.timeline {
                    Some(timeline) => write!(f, ", timeline {timeline}"),
                    None => Ok(()),
                }
            }
            Self::DamageStream(d) => {
                let how = if d.how == Harm::Flip { "flip a bit" } else { "cut" };
                let file = match d.file {
                    DamagedFile::Block => "a block",
                    DamagedFile::Index => "index.db",
                    DamagedFile::Meta => "meta.inf",
                };
                write!(f, "{how} in {file} of {} at {}", d.stream, d.at.0)
            }
            Self::Repeat(r) => write!(f, "repeat {} times", r.times),
        }
    }
}
