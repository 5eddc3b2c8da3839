//! What can happen in a scenario.
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
// As files write it; `parse` turns the tag into what serde reads without losing line and column.
#[schemars(tag = "do")]
pub enum Step {
    /// Begins to publish; from here on events are on their way.
    Load(Load),
    /// Waits while the load runs, as long as one of the two keys says.
    AwaitLoad(AwaitLoad),
    /// Waits until a tier holds a share of all events, while the load runs.
    AwaitTier(AwaitTier),
    /// Waits until every replica of every stream of a cluster has all of it.
    AwaitReplicas(AwaitReplicas),
    /// Waits until what lost members of a consumer had in hand was acknowledged by others.
    AwaitTakeover(AwaitTakeover),
    /// A cluster that has lost its majority must take no writes: the oracle publishes to the servers that
    /// are left, ten times a second, and none of it may be acked.
    ExpectNoAcks(ExpectNoAcks),
    /// Publishers and consumers go on, against the host as it is now.
    ResumeLoad(Empty),
    /// Waits until every event has been published.
    FinishLoad(FinishLoad),
    /// Publishers stop where they are: what they have published is all that there will be.
    StopLoad(Empty),
    /// Kills with SIGKILL; the disk stays.
    Kill(Target),
    /// Stops with SIGTERM, and waits up to 30 s for an orderly end.
    Stop(Target),
    /// Lets the storage manager die at its own fail points, one after the other, and starts it again. A
    /// point that is not reached fails the scenario. selftest.md lists them. Requires `fail-points`.
    CrashAt(CrashAt),
    /// Ends the storage manager in order and starts it with its clock so many days further ahead, for good: what it
    /// does with an archive when that is old it does then. Other programs keep their clocks. Requires `fail-points`.
    Age(Age),
    /// Starts what was killed or stopped, with the same disk and the same port.
    Start(Target),
    /// SIGSTOP: hangs without ending.
    Pause(Target),
    /// SIGCONT: goes on after a pause.
    Continue(Target),
    /// Cuts a machine's power: what was not synced to its disk is gone. `start` boots it again; a
    /// host's next life begins with what it has then. Requires `power-loss`.
    PowerCut(NodeOnly),
    /// Kills everything on a node and deletes its disk. A cluster lives on until half of its hosts are
    /// gone.
    Destroy(NodeOnly),
    /// A new, empty machine in a destroyed one's place, with NATS or S3 running; where the host was
    /// lost, or a cluster, the recovery's clock starts. A new cluster begins when it is whole.
    Replace(NodeOnly),
    /// Brings every stream back, with `cim-storage-manager restore --all --from …` on the host.
    Restore(Restore),
    /// Waits until tiers hold all that the streams hold.
    Drain(Drain),
    /// The oracle reads everything and compares.
    Judge(Judge),
    /// Rebuilds a consumer's state from the stream and compares digests.
    Replay(Replay),
    /// Reads every whole object of an object store as its clients do, and compares it with what was put.
    ReadObjects(ReadObjects),
    /// Changes a link while the lab runs; without conditions it heals.
    Link(ChangeLink),
    /// Wasabi misbehaves from now on as the rules say. Requires `s3-faults`.
    S3Faults(S3Faults),
    /// Changes an object of a tier's archive as a disk would that rots in silence.
    Damage(Damage),
    /// Reads a whole tier with `cim-storage-manager verify` on the host: nothing may be wrong with it, or,
    /// where it was damaged, the command ends with status 5 and names what was.
    Verify(Verify),
    /// Takes the room on a node's disk, which has a size.
    FillDisk(FillDisk),
    /// Gives that room back, and waits until the node's S3 service takes writes again.
    FreeDisk(NodeOnly),
    /// Sets a machine's clock, from what it is: `by = "-10m"` back, `by = "1h"` forward. Requires `clock`.
    StepClock(StepClock),
    /// A member of a consumer is lost for good while it has messages in hand that it has not
    /// acknowledged; which one is drawn.
    LoseMember(LoseMember),
    /// An administrator removes messages from a stream: all of them without further keys. They are not
    /// lost: a later restore must not bring them back.
    PurgeStream(PurgeStream),
    /// An administrator deletes a stream.
    DeleteStream(StreamOnly),
    /// An administrator makes a deleted stream again, with its consumers.
    MakeStream(StreamOnly),
    /// An administrator changes a stream's configuration.
    UpdateStream(UpdateStream),
    /// Restores a stream under another name beside the live one, compares, and deletes it again.
    RestoreCopy(RestoreCopy),
    /// Flips a bit in a file of a stream on a host's disk, or cuts it short. Its NATS must not run;
    /// publishers wait until `judge` with `what = "primary"` has counted what the server lost. In a
    /// cluster the load goes on.
    DamageStream(DamageStream),
    /// Does the steps several times; every choice is drawn anew.
    Repeat(Repeat),
}

/// No keys.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Empty {}

/// Which loads to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Load {
    /// One of `workloads`; absent for all of them.
    pub workload: Option<String>,
}

/// How long to wait: one of the two keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct AwaitLoad {
    /// Until a share of all events has been published, drawn from this range.
    pub published: Option<Between<Percent>>,
    /// For a time that is drawn from this range.
    #[serde(rename = "for")]
    pub time: Option<Between<Span>>,
}

/// How much a tier must hold.
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

/// How long a cluster's replicas may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwaitReplicas {
    /// The longest that it may take.
    #[serde(default = "minutes")]
    pub within: Span,
}

/// How long taking over may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct AwaitTakeover {
    /// The consumer.
    pub consumer: ConsumerName,
    /// The longest that it may take.
    #[serde(default = "minutes")]
    pub within: Span,
}

/// Who must not ack, and for how long that is looked at.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ExpectNoAcks {
    /// The stream that is published to.
    pub stream: StreamName,
    /// How long.
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

/// How long the rest may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FinishLoad {
    /// The longest that it may take.
    #[serde(default = "minutes")]
    pub within: Span,
}

/// Where the storage manager of a host is to die.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct CrashAt {
    /// The host.
    pub node: NodeName,
    /// The fail points, in this order; from one to the next it gets no rest.
    pub points: Vec<String>,
    /// At which time that the point is reached, drawn anew for each.
    #[serde(default = "once")]
    pub reached: Between<u32>,
    /// The longest that reaching one of them may take.
    #[serde(default = "minutes")]
    pub within: Span,
}

/// How much older an archive gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Age {
    /// The host of the storage manager.
    pub node: NodeName,
    /// By how much its clock goes ahead.
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

/// Where to restore from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Restore {
    /// The host that gets the streams.
    pub node: NodeName,
    /// The tier.
    #[serde(default = "nas")]
    pub from: Tier,
    /// The tier is damaged: the command must say so, with status 5, and no stream may be there
    /// afterwards but those that it says are restored.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub refused: bool,
    /// The fail point at which the command is to die; then no stream may be there. Requires `fail-points`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub crash_at: Option<String>,
    /// With `crash-at`: at which time that the point is reached.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<Between<u32>>,
}

/// Which tiers, and how long it may take.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// The tiers.
    pub tiers: Vec<Tier>,
    /// The longest that it may take.
    #[serde(default = "minutes")]
    pub within: Span,
}

/// What to compare.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Judge {
    /// What is judged.
    pub what: Judged,
}

/// What is judged.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Judged {
    /// The streams that a restore has just brought back, against what the tier had confirmed.
    Recovery,
    /// The streams of a host that was started again after a power cut, against everything that it had
    /// acked.
    Survival,
    /// The streams of a host whose files were damaged, against everything that it had acked: what the
    /// primary tier lost by itself. It goes into the report and fails nothing. In a cluster, the
    /// damaged server's replicas, which may lack that until it is replaced or a restore.
    Primary,
    /// The streams and every tier, against everything that was ever acked and not lost before.
    Everything,
}

/// From where a consumer is rebuilt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// The stream.
    pub stream: StreamName,
    /// Where reading begins.
    pub from: ReplayFrom,
}

/// Where a replay begins.
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

/// Which object store is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ReadObjects {
    /// Its stream, `OBJ_<bucket>`.
    pub stream: StreamName,
    /// The stream was damaged, and `judge` with `what = "primary"` has found messages that it lost:
    /// objects that had one of them cannot be read, at least one there is, and all others can.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub damaged: bool,
}

/// A link's new state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeLink {
    /// Who connects.
    pub from: NodeName,
    /// To whom.
    pub to: NodeName,
    /// The conditions; absent heals it.
    #[serde(default)]
    pub conditions: Conditions,
}

/// What a node's S3 service does wrong from now on.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct S3Faults {
    /// The node; its role is `wasabi`.
    pub node: NodeName,
    /// In place of those before; none ends all faults. The oracle is never struck.
    #[serde(default)]
    pub rules: Vec<FaultRule>,
}

/// An object of the archive that rots.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Damage {
    /// The tier that it lies on.
    pub tier: Tier,
    /// Which kind of object.
    pub part: Part,
    /// What happens to it.
    pub harm: Harm,
    /// Which one, in the order of sequences: a share of all there are, drawn from this range. Which
    /// of its bits is drawn too.
    #[serde(default = "anywhere")]
    pub at: Between<Percent>,
    /// Which bit is flipped, or where it is cut: drawn with the plan, and in no file.
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

/// What happens to an object.
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

/// How full a disk gets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FillDisk {
    /// The node; it has a `disk`.
    pub node: NodeName,
    /// Bytes that are left free.
    #[serde(default)]
    pub leave: Size,
}

/// A clock that is set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct StepClock {
    /// The machine.
    pub node: NodeName,
    /// By how much.
    pub by: Shift,
}

/// A member that is lost.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct LoseMember {
    /// The consumer.
    pub consumer: ConsumerName,
    /// What becomes of the member.
    pub how: Manner,
    /// Which of those that are left: drawn with the plan, and in no file.
    #[serde(default, skip_deserializing)]
    #[schemars(skip)]
    pub draw: u64,
}

/// How a member is lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Manner {
    /// SIGKILL: it ends without a goodbye, and its connection with it.
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

/// Which messages to remove; all of them without further keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PurgeStream {
    /// The stream.
    pub stream: StreamName,
    /// Only those on these subjects.
    pub subject: Option<SubjectFilter>,
    /// All but this many of the newest.
    pub keep: Option<u64>,
}

/// A stream's new configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct UpdateStream {
    /// The stream.
    pub stream: StreamName,
    /// What changes of it, as `$JS.API.STREAM.UPDATE` takes it.
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub config: toml::Table,
}

/// What to restore beside the live stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct RestoreCopy {
    /// The stream.
    pub stream: StreamName,
    /// The tier.
    #[serde(default = "nas")]
    pub from: Tier,
    /// The n-th history that ended; absent for the one that goes on.
    pub timeline: Option<u32>,
    /// Also what was purged, deleted or has expired.
    #[serde(default)]
    pub with_dropped: bool,
    /// Only up to a message: its share of those that the tier holds.
    pub until_sequence: Option<Between<Percent>>,
    /// Only up to a point in time: the time of such a message.
    pub until_time: Option<Between<Percent>>,
}

/// What to damage on a host's disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct DamageStream {
    /// The host.
    pub node: NodeName,
    /// The stream.
    pub stream: StreamName,
    /// Which of its files.
    pub file: DamagedFile,
    /// What becomes of it.
    pub how: Harm,
    /// Where: the share of the file, and of the blocks by number.
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
    /// How often.
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
                write!(f, "wait until others have what lost members of {} had", a.consumer)
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
