//! The nature of steps, and the faults that they begin and end: the first thing that readers of a
//! report look for.

use std::collections::BTreeSet;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{ChangeLink, Program, Step, Target};
use crate::lab::link::Conditions;

/// The purpose of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Nature {
    /// Publishes, or stops doing so.
    Load,
    /// Waits for a condition.
    Wait,
    /// Breaks a part of the lab.
    Fault,
    /// Mends a part of the lab.
    Repair,
    /// Compares the results.
    Judge,
}

/// The effect of a step on the lab. A thing is a node, `node/program`, or a link.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Effect {
    /// The thing is broken from the step's start on.
    Breaks { thing: String, how: String },
    /// The fault is over at once.
    Strikes { thing: String, how: String },
    /// The thing is whole at the step's end.
    Mends { thing: String },
}

impl Step {
    /// Returns its purpose.
    pub fn nature(&self) -> Nature {
        let heals = |l: &ChangeLink| l.conditions == Conditions::default();
        match self {
            Self::Link(l) => {
                if heals(l) {
                    Nature::Repair
                } else {
                    Nature::Fault
                }
            }
            Self::S3Faults(s) if s.rules.is_empty() => Nature::Repair,
            Self::Load(_) | Self::ResumeLoad(_) | Self::FinishLoad(_) | Self::StopLoad(_) => {
                Nature::Load
            }
            Self::AwaitLoad(_)
            | Self::AwaitTier(_)
            | Self::AwaitReplicas(_)
            | Self::AwaitTakeover(_)
            | Self::Drain(_)
            | Self::Repeat(_) => Nature::Wait,
            Self::Kill(_)
            | Self::Stop(_)
            | Self::CrashAt(_)
            | Self::Age(_)
            | Self::Pause(_)
            | Self::PowerCut(_)
            | Self::Destroy(_)
            | Self::S3Faults(_)
            | Self::Damage(_)
            | Self::DamageStream(_)
            | Self::LoseMember(_)
            | Self::StepClock(_)
            | Self::PurgeStream(_)
            | Self::DeleteStream(_)
            | Self::UpdateStream(_)
            | Self::FillDisk(_) => Nature::Fault,
            Self::Start(_)
            | Self::Continue(_)
            | Self::Replace(_)
            | Self::Restore(_)
            | Self::MakeStream(_)
            | Self::FreeDisk(_) => Nature::Repair,
            Self::Judge(_)
            | Self::ExpectNoAcks(_)
            | Self::Replay(_)
            | Self::ReadObjects(_)
            | Self::RestoreCopy(_)
            | Self::Verify(_) => Nature::Judge,
        }
    }

    /// Returns the thing that it breaks or mends, if any.
    pub(crate) fn effect(&self) -> Option<Effect> {
        let breaks = |thing: String, how: &str| Some(Effect::Breaks { thing, how: how.into() });
        let mends = |thing: String| Some(Effect::Mends { thing });
        match self {
            Self::Kill(t) => breaks(thing(t), "killed"),
            Self::Stop(t) => breaks(thing(t), "stopped"),
            Self::Pause(t) => breaks(thing(t), "paused"),
            Self::CrashAt(c) => {
                let thing = format!("{}/{}", c.node, Program::StorageManager);
                breaks(thing, &format!("dead at {}", c.points.join(", ")))
            }
            Self::Start(t) | Self::Continue(t) => mends(thing(t)),
            Self::PowerCut(n) => breaks(n.node.to_string(), "without power"),
            Self::Destroy(n) => breaks(n.node.to_string(), "destroyed"),
            Self::Replace(n) => mends(n.node.to_string()),
            Self::S3Faults(s) => {
                let thing = format!("{}/answers", s.node);
                let faults: BTreeSet<_> = s.rules.iter().map(|r| r.fault.to_string()).collect();
                if faults.is_empty() {
                    mends(thing)
                } else {
                    breaks(thing, &faults.into_iter().collect::<Vec<_>>().join(", "))
                }
            }
            Self::Damage(d) => {
                let thing = format!("{}/archive", d.tier);
                Some(Effect::Strikes { thing, how: self.to_string() })
            }
            Self::DamageStream(d) => {
                Some(Effect::Strikes { thing: d.stream.to_string(), how: "damaged on disk".into() })
            }
            Self::StepClock(c) => Some(Effect::Strikes {
                thing: format!("{}/clock", c.node),
                how: format!("set by {}", c.by),
            }),
            Self::Age(a) => Some(Effect::Strikes {
                thing: format!("{}/archive", a.node),
                how: format!("{} days older", a.days),
            }),
            Self::LoseMember(l) => {
                let how = format!("a member {}", l.how);
                Some(Effect::Strikes { thing: l.consumer.to_string(), how })
            }
            Self::PurgeStream(p) => {
                Some(Effect::Strikes { thing: p.stream.to_string(), how: "purged".into() })
            }
            Self::UpdateStream(u) => {
                Some(Effect::Strikes { thing: u.stream.to_string(), how: "changed".into() })
            }
            Self::DeleteStream(d) => breaks(d.stream.to_string(), "deleted"),
            Self::MakeStream(m) => mends(m.stream.to_string()),
            Self::FillDisk(d) => breaks(format!("{}/disk", d.node), "full"),
            Self::FreeDisk(n) => mends(format!("{}/disk", n.node)),
            Self::Link(l) => {
                let thing = format!("{} → {}", l.from, l.to);
                if l.conditions == Conditions::default() {
                    mends(thing)
                } else {
                    breaks(thing, &l.conditions.to_string())
                }
            }
            Self::Load(_)
            | Self::ResumeLoad(_)
            | Self::FinishLoad(_)
            | Self::StopLoad(_)
            | Self::AwaitLoad(_)
            | Self::AwaitTier(_)
            | Self::AwaitReplicas(_)
            | Self::AwaitTakeover(_)
            | Self::ExpectNoAcks(_)
            | Self::Drain(_)
            | Self::Repeat(_)
            | Self::Restore(_)
            | Self::Judge(_)
            | Self::Replay(_)
            | Self::ReadObjects(_)
            | Self::RestoreCopy(_)
            | Self::Verify(_) => None,
        }
    }
}

fn thing(target: &Target) -> String {
    match target.program {
        Some(program) => format!("{}/{program}", target.node),
        None => target.node.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    #[test]
    fn what_every_scenario_breaks_it_mends() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fixtures/scenarios");
        let mut effects = 0;
        for listed in crate::scenario::list(&dir).unwrap() {
            let scenario = listed.scenario.unwrap();
            let plan = crate::plan::Plan::draw(scenario, 1, None);
            effects += plan.steps.iter().filter_map(Step::effect).count();
            for step in &plan.steps {
                let breaks =
                    matches!(step.effect(), Some(Effect::Breaks { .. } | Effect::Strikes { .. }));
                assert_eq!(breaks, step.nature() == Nature::Fault, "{step}");
            }
        }
        assert!(effects > 20);
    }
}
