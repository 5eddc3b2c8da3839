//! The report of a run: JSON, and the tables made from it.
//!
//! Owns the stored form of a finished run, and its tables, pages and comparisons. Does not own
//! what is in it: `engine` and `oracle` fill it.

pub(crate) mod find;
mod html;
mod junit;
mod matrix;
mod repeats;
mod shell;
mod table;
mod timeline;

use std::collections::BTreeMap;
use std::fmt;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::scenario::{Nature, Tier};

pub(crate) use html::html;
pub(crate) use junit::junit;
pub(crate) use matrix::{Broken, Matrix};
pub(crate) use repeats::repeats;
pub use table::{render, summary};
pub(crate) use table::{right, table};
pub use timeline::{Fault, Timeline};
pub(crate) use timeline::{round, thin};

/// A run's report.
///
/// Fields are only ever added, so a reader ignores those that it does not know.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Report {
    /// The scenario's name.
    pub scenario: String,
    /// Its title.
    pub title: String,
    /// The lab's substrate: `process`, `container` or `driver`.
    pub substrate: String,
    /// The seed of every choice.
    pub seed: u64,
    /// SHA-256 of the plan: two runs with the same one did the same.
    pub plan_digest: String,
    /// The outcome.
    pub verdict: Verdict,
    /// The reason why it did not pass, on one line.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// The capabilities that the substrate lacks, when it was skipped for that; ascending.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lacking: Vec<String>,
    /// The time of its start.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub started_at: Timestamp,
    /// The duration, in seconds.
    pub seconds: f64,
    /// The oracle's counts.
    pub oracle: Oracle,
    /// By tier, the lag while the load ran, in seconds: a loss at that moment would have lost as
    /// much.
    pub rpo_seconds: BTreeMap<Tier, Spread>,
    /// By tier, the age of messages when it was found to have them, in seconds, each message once.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub age_seconds: BTreeMap<Tier, Spread>,
    /// By tier, the duration of recoveries from it, in seconds.
    pub rto_seconds: BTreeMap<Tier, Spread>,
    /// Every loss of a host, and its recovery.
    pub losses: Vec<Loss>,
    /// The losses of the primary tier itself, of streams whose files were damaged; they fail
    /// nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub primary: Vec<PrimaryLoss>,
    /// Consumers with several members: their deliveries and lost members.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub groups: Vec<GroupReport>,
    /// Every comparison that the oracle made.
    pub judgements: Vec<Judgement>,
    /// The factor by which bounds of time are wider than the scenario's, if the lab says that its
    /// machines are that much slower than hardware.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub slowdown: Option<u32>,
    /// Expectations, each with its measured value.
    pub expectations: Vec<Expectation>,
    /// The version of every program in the lab.
    pub versions: BTreeMap<String, String>,
    /// The steps, in order.
    pub steps: Vec<StepReport>,
    /// Load, lag and faults over time.
    #[serde(default, skip_serializing_if = "Timeline::is_empty")]
    pub timeline: Timeline,
    /// The arguments with which `cim-harness scenario`, or `ci/scenario`, repeats the run.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
    /// The directory of logs and disks, if it is kept.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub run_dir: Option<String>,
}

/// The outcome of a run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// The oracle agrees with everything.
    Passed,
    /// The oracle does not agree, or a step failed.
    Failed,
    /// It was not run; never counted as passed.
    Skipped,
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Passed => "passed",
            Self::Failed => "failed",
            Self::Skipped => "skipped",
        })
    }
}

impl Verdict {
    /// Returns its exit status.
    pub(crate) fn status(self) -> u8 {
        match self {
            Self::Passed => 0,
            Self::Failed => 1,
            Self::Skipped => 4,
        }
    }
}

/// The oracle's counts, over all streams, tiers and recoveries; an event that is wrong in several
/// places counts once.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Oracle {
    /// Events that were published.
    pub published: u64,
    /// Events that a server acked.
    pub acked: u64,
    /// Events that were published and never acked; they may exist or not.
    pub unacked: u64,
    /// Messages that were deleted on purpose.
    pub deleted: u64,
    /// Messages that recoveries brought back exactly.
    pub recovered: u64,
    /// Acked events that were lost with a host because no tier had confirmed them: the recovery
    /// points' tails.
    pub tail: u64,
    /// Acked and confirmed events that are missing.
    pub lost: u64,
    /// Events that exist more than once.
    pub duplicated: u64,
    /// Events at another sequence, or out of order.
    pub reordered: u64,
    /// Messages with another subject, header, payload or time.
    pub changed: u64,
    /// Messages that should not exist.
    pub phantom: u64,
    /// Consumers with another configuration or a position that they never had.
    pub consumers_wrong: u64,
    /// Streams with another configuration.
    pub streams_wrong: u64,
}

/// A value that was measured many times, in seconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Spread {
    /// The number of samples.
    pub samples: u64,
    /// The median.
    pub p50: f64,
    /// The 90th percentile.
    pub p90: f64,
    /// The 99th percentile.
    pub p99: f64,
    /// The highest value.
    pub max: f64,
}

/// The loss of a host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Loss {
    /// The node.
    pub node: String,
    /// The time, in seconds since the run began.
    pub at_seconds: f64,
    /// The tier that it was recovered from, if it was.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub recovered_from: Option<Tier>,
    /// By stream, the last confirmed and the last recovered sequence.
    pub streams: Vec<StreamLoss>,
    /// The number of acked events that are gone, in all streams.
    pub tail_events: u64,
    /// The age, at the moment of the loss, of the oldest acked event that is gone; 0 without one.
    pub rpo_seconds: f64,
    /// From the start of the recovery until the last recovered event was read and the first new
    /// publish was acked.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rto_seconds: Option<f64>,
    /// Messages that came back exactly.
    pub recovered: u64,
    /// The number of deletes that the tier did not know of yet.
    pub deletes_undone: u64,
    /// The start of the recovery, with the new machine, in seconds since the run began.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub began_seconds: Option<f64>,
    /// The end of the restore, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub restored_seconds: Option<f64>,
    /// The time at which the last recovered event had been read, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub read_seconds: Option<f64>,
    /// The time at which the first new publish was acked, likewise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_ack_seconds: Option<f64>,
}

/// A stream in a loss.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct StreamLoss {
    /// The stream.
    pub stream: String,
    /// The last sequence that was acked before the loss.
    pub acked_seq: u64,
    /// The last sequence that the tier had confirmed, read from the tier after the loss.
    pub confirmed_seq: u64,
    /// The last sequence that came back.
    pub recovered_seq: u64,
    /// The number of acked events after it.
    pub tail_events: u64,
}

/// The losses of NATS itself in a stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PrimaryLoss {
    /// The stream.
    pub stream: String,
    /// The server of a cluster that lost it; the others went on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server: Option<String>,
    /// The damage to its files.
    pub after: String,
    /// True if the server still knows the stream.
    pub there: bool,
    /// Acked messages that it should have.
    pub acked: u64,
    /// Messages that it still has.
    pub read: u64,
    /// Acked messages that it does not have any more.
    pub lost: u64,
    /// Of these, those that the NAS had confirmed.
    pub archived: u64,
    /// Of the others, those that other servers of the cluster have.
    #[serde(default)]
    pub elsewhere: u64,
    /// Messages that it still has, but changed.
    pub wrong: u64,
    /// The last sequence that it reports.
    pub last_seq: u64,
}

impl PrimaryLoss {
    /// Returns the number of acked messages that neither the NAS nor another server has.
    pub fn gone(&self) -> u64 {
        self.lost.saturating_sub(self.archived + self.elsewhere)
    }
}

/// A consumer with several members.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct GroupReport {
    /// The consumer.
    pub consumer: String,
    /// Its stream.
    pub stream: String,
    /// Members at the start.
    pub members: u32,
    /// Members that were lost.
    pub lost: Vec<MemberLoss>,
    /// Deliveries to all of them.
    pub received: u64,
    /// Of these, deliveries of messages that had been delivered before.
    pub redelivered: u64,
    /// Of the redelivered, messages that a lost member had in hand.
    pub taken_over: u64,
    /// Of the redelivered, messages that were not acknowledged within the consumer's `ack_wait`.
    pub late: u64,
    /// Deliveries after a restore of messages that had been acknowledged before, beyond the
    /// position that the archive knew.
    pub again: u64,
}

/// A member that was lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct MemberLoss {
    /// Its number, from 1.
    pub member: u32,
    /// `killed` or `paused`.
    pub how: String,
    /// The time, in seconds since the run began.
    pub at_seconds: f64,
    /// Messages that it had received and not begun to acknowledge.
    pub in_hand: u64,
}

/// A comparison.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Judgement {
    /// The messages compared: a stream, or a tier's copy of it, and when.
    pub of: String,
    /// Messages that were read.
    pub read: u64,
    /// Messages without a defect.
    pub exact: u64,
    /// Of these, messages whose time and header bytes were known from before.
    #[serde(rename = "witnessed")]
    pub recorded: u64,
    /// Missing before, between and after the messages that are present.
    pub lost: [u64; 3],
    /// Events that exist more than once.
    pub duplicated: u64,
    /// Events at another sequence.
    pub reordered: u64,
    /// Messages that differ.
    pub changed: u64,
    /// Messages that should not exist.
    pub phantom: u64,
    /// Other problems, and the first defects of each kind.
    pub examples: Vec<String>,
}

/// An expectation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Expectation {
    /// The expected value, in words.
    pub what: String,
    /// The bound.
    pub bound: f64,
    /// The measured value; absent if it was never measured, such as the RTO of a host that did not
    /// come back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub measured: Option<f64>,
    /// True if the bound holds.
    pub met: bool,
}

impl Expectation {
    /// Returns the bound, with its unit.
    #[must_use]
    pub fn bound(&self) -> String {
        self.number(self.bound)
    }

    /// Returns the measured value, with its unit.
    #[must_use]
    pub fn measured(&self) -> String {
        self.measured.map_or_else(|| "never measured".to_owned(), |value| self.number(value))
    }

    fn number(&self, value: f64) -> String {
        let time = ["lag", "RPO", "RTO"].iter().any(|time| self.what.starts_with(time));
        match value {
            v if time && v >= 100.0 => format!("{v:.0} s"),
            v if time && v >= 1.0 => format!("{v:.2} s"),
            v if time => format!("{:.0} ms", v * 1000.0),
            v if v.fract() == 0.0 => format!("{v:.0}"),
            v => format!("{v:.3}"),
        }
    }
}

impl fmt::Display for Expectation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}, the bound is {}", self.what, self.measured(), self.bound())
    }
}

/// A step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct StepReport {
    /// The step, in words.
    pub what: String,
    /// Its start, in seconds since the run began.
    pub start: f64,
    /// Its end.
    pub end: f64,
    /// `done`, or the error.
    pub outcome: String,
    /// Its purpose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub nature: Option<Nature>,
}

impl Report {
    /// Returns the longest recovery point and time of its recoveries, in seconds.
    pub(crate) fn worst(&self) -> (Option<f64>, Option<f64>) {
        let recovered = self.losses.iter().filter(|loss| loss.recovered_from.is_some());
        let rpo = recovered.map(|loss| loss.rpo_seconds).reduce(f64::max);
        let rto = self.losses.iter().filter_map(|loss| loss.rto_seconds).reduce(f64::max);
        (rpo, rto)
    }
}

impl Judgement {
    /// Reports whether it has no defects.
    pub fn clean(&self) -> bool {
        let wrong = self.lost.iter().sum::<u64>()
            + self.duplicated
            + self.reordered
            + self.changed
            + self.phantom;
        wrong == 0 && self.examples.is_empty()
    }

    /// Reports whether missing messages are its only defects.
    pub(crate) fn only_lost(&self) -> bool {
        let lost = self.lost.iter().sum::<u64>();
        lost > 0 && self.duplicated + self.reordered + self.changed + self.phantom == 0
    }
}

impl Spread {
    /// Returns the percentiles of at least one value; `None` without values.
    pub fn of(mut values: Vec<f64>) -> Option<Self> {
        values.sort_by(f64::total_cmp);
        let max = *values.last()?;
        // Nearest rank: a measured value, never one in between.
        let rank = |percent: usize| values[(values.len() * percent).div_ceil(100).max(1) - 1];
        let (p50, p90, p99) = (rank(50), rank(90), rank(99));
        Some(Self { samples: values.len() as u64, p50, p90, p99, max })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    fn sample_of_primary() -> PrimaryLoss {
        PrimaryLoss {
            stream: "EVENTS".into(),
            server: Some("host-3".into()),
            after: "1.blk cut from 9 to 4 bytes".into(),
            there: true,
            acked: 60,
            read: 50,
            lost: 10,
            archived: 7,
            elsewhere: 2,
            wrong: 0,
            last_seq: 60,
        }
    }

    fn sample_of_group() -> GroupReport {
        let lost = |member, how: &str, at_seconds, in_hand| MemberLoss {
            member,
            how: how.into(),
            at_seconds,
            in_hand,
        };
        GroupReport {
            consumer: "billing".into(),
            stream: "EVENTS".into(),
            members: 3,
            lost: vec![lost(2, "killed", 0.75, 40), lost(3, "paused", 1.5, 0)],
            received: 110,
            redelivered: 50,
            taken_over: 40,
            late: 3,
            again: 7,
        }
    }

    /// Returns a run with a little of everything.
    pub(crate) fn sample() -> Report {
        Report {
            scenario: "s".into(),
            title: "A sample".into(),
            substrate: "process".into(),
            seed: 7,
            plan_digest: "d".into(),
            verdict: Verdict::Passed,
            reason: None,
            lacking: Vec::new(),
            started_at: "2026-01-01T00:00:00Z".parse().unwrap(),
            seconds: 2.5,
            oracle: Oracle::default(),
            rpo_seconds: BTreeMap::new(),
            age_seconds: BTreeMap::new(),
            rto_seconds: BTreeMap::new(),
            losses: vec![Loss {
                node: "host".into(),
                at_seconds: 1.0,
                recovered_from: Some(Tier::Nas),
                streams: vec![StreamLoss {
                    stream: "EVENTS".into(),
                    acked_seq: 70,
                    confirmed_seq: 60,
                    recovered_seq: 62,
                    tail_events: 8,
                }],
                tail_events: 8,
                rpo_seconds: 0.25,
                rto_seconds: Some(0.75),
                recovered: 62,
                deletes_undone: 0,
                began_seconds: Some(1.25),
                restored_seconds: Some(1.75),
                read_seconds: Some(1.875),
                first_ack_seconds: Some(2.0),
            }],
            primary: vec![sample_of_primary()],
            groups: vec![sample_of_group()],
            judgements: vec![
                Judgement {
                    of: "`EVENTS` at nas".into(),
                    read: 2,
                    exact: 2,
                    recorded: 2,
                    lost: [0; 3],
                    duplicated: 0,
                    reordered: 0,
                    changed: 0,
                    phantom: 0,
                    examples: Vec::new(),
                },
                Judgement {
                    of: "`EVENTS` at the end".into(),
                    read: 1,
                    exact: 1,
                    recorded: 1,
                    lost: [0, 1, 0],
                    duplicated: 0,
                    reordered: 0,
                    changed: 0,
                    phantom: 0,
                    examples: vec!["sequence 2 (event 1): it is not there".into()],
                },
            ],
            slowdown: None,
            expectations: vec![Expectation {
                what: "lag at nas, p99".into(),
                bound: 1.0,
                measured: Some(1.5),
                met: false,
            }],
            versions: BTreeMap::new(),
            steps: vec![StepReport {
                what: "destroy host".into(),
                start: 1.0,
                end: 1.25,
                outcome: "done".into(),
                nature: Some(Nature::Fault),
            }],
            timeline: Timeline {
                load: vec![(0.1, 0, 0), (0.6, 40, 20), (1.1, 80, 70), (2.4, 100, 100)],
                lag: BTreeMap::from([
                    (Tier::Nas, vec![(0.2, 0.1), (0.4, 0.3), (2.2, 0.2), (2.3, 0.0)]),
                    (Tier::Wasabi, vec![(0.2, 0.2), (0.4, 0.4)]),
                ]),
                faults: vec![Fault {
                    thing: "host".into(),
                    how: "destroyed".into(),
                    start: 1.0,
                    end: Some(1.5),
                }],
            },
            arguments: vec!["s".into(), "--seed".into(), "7".into()],
            run_dir: None,
        }
    }

    #[test]
    fn an_expectation_says_its_unit() {
        let of = |what: &str, bound, measured| Expectation {
            what: what.to_owned(),
            bound,
            measured,
            met: false,
        };
        let lines = [
            of("lag at nas, p99", 0.5, Some(1.5)),
            of("RTO of the recovery from nas", 120.0, None),
            of("messages that a recovery brought back, at least", 10_000.0, Some(9.0)),
        ];
        insta::assert_snapshot!(lines.map(|line| line.to_string()).join("\n"), @"
        lag at nas, p99: 1.50 s, the bound is 500 ms
        RTO of the recovery from nas: never measured, the bound is 120 s
        messages that a recovery brought back, at least: 9, the bound is 10000
        ");
    }

    #[test]
    fn percentiles_are_values_that_were_measured() {
        let spread = Spread::of((1..=200).rev().map(f64::from).collect()).unwrap();
        assert_eq!(spread, Spread { samples: 200, p50: 100.0, p90: 180.0, p99: 198.0, max: 200.0 });
        assert!((Spread::of(vec![3.0]).unwrap().p99 - 3.0).abs() < f64::EPSILON);
        assert_eq!(Spread::of(Vec::new()), None);
    }

    #[test]
    fn the_shape_of_the_report_is_known() {
        insta::assert_json_snapshot!(schemars::schema_for!(Report));
    }
}
