//! What the types cannot say: names that must exist, steps that must come in order.

use std::ops::Range;

use cim_core::names::NodeName;

use super::{Judged, Program, Role, Scenario, Step, Tier};

/// The shortest payload that can hold an event's identity.
pub(crate) const SIZE_MIN: u64 = 40;

/// A contradiction in a file that parses.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) message: String,
    /// Text that the offending line has.
    needle: String,
    at_end: bool,
}

impl Found {
    /// The first place of the offending value that is not a comment; the last where the scenario's end
    /// is what offends.
    pub(super) fn find(&self, text: &str) -> Option<Range<usize>> {
        if self.at_end {
            let start = text.rfind(&self.needle)?;
            return Some(start..start + self.needle.len());
        }
        let mut start = 0;
        for line in text.split_inclusive('\n') {
            if !line.trim_start().starts_with('#')
                && let Some(at) = line.find(&self.needle)
            {
                return Some(start + at..start + at + self.needle.len());
            }
            start += line.len();
        }
        None
    }
}

fn wrong<T>(needle: impl Into<String>, message: impl Into<String>) -> Result<T, Found> {
    Err(Found { message: message.into(), needle: needle.into(), at_end: false })
}

pub(super) fn check(scenario: &Scenario) -> Result<(), Found> {
    for (role, name) in [(Role::Host, "host"), (Role::Nas, "nas")] {
        let count = scenario.nodes.values().filter(|n| n.role == role).count();
        if count != 1 {
            return wrong(
                "[nodes",
                format!("a lab has one node of role `{name}`, this one has {count}"),
            );
        }
    }
    for link in &scenario.links {
        node(scenario, &link.from)?;
        node(scenario, &link.to)?;
    }
    for consumer in &scenario.consumers {
        stream(scenario, consumer.stream.as_str())?;
    }
    if scenario.workloads.is_empty() {
        return wrong("workloads", "a scenario without `workloads` proves nothing");
    }
    for workload in &scenario.workloads {
        stream(scenario, workload.stream.as_str())?;
        let (name, size) = (&workload.name, workload.size);
        if size.bytes() < SIZE_MIN {
            return wrong(
                "size",
                format!("`size` of `{name}` is {size}, the least is {SIZE_MIN}B"),
            );
        }
        if workload.deletes > workload.events / 2 {
            return wrong("deletes", format!("`deletes` of `{name}` is more than half its events"));
        }
        if workload.events == 0 || workload.publishers == 0 || workload.subjects == 0 {
            return wrong(
                name,
                format!("`events`, `publishers` and `subjects` of `{name}` are at least 1"),
            );
        }
    }
    steps(scenario, &scenario.steps)?;
    match scenario.steps.last() {
        Some(Step::Judge(judge)) if judge.what == Judged::Everything => Ok(()),
        _ => Err(Found {
            message:
                "the last step is not `judge` with `what = \"everything\"`: nothing would be proven"
                    .into(),
            needle: "do =".into(),
            at_end: true,
        }),
    }
}

fn steps(scenario: &Scenario, steps: &[Step]) -> Result<(), Found> {
    for (at, step) in steps.iter().enumerate() {
        match step {
            Step::Kill(t) | Step::Stop(t) | Step::Start(t) | Step::Pause(t) | Step::Continue(t) => {
                let role = node(scenario, &t.node)?;
                if let Some(program) = t.program
                    && !programs(role).contains(&program)
                {
                    return wrong(
                        format!("program = \"{program}\""),
                        format!("no program `{program}` runs on node `{}`", t.node),
                    );
                }
            }
            Step::Destroy(n) | Step::Replace(n) => {
                node(scenario, &n.node)?;
            }
            Step::PowerCut(n) => {
                let role = node(scenario, &n.node)?;
                let judged = steps[at..]
                    .iter()
                    .any(|s| matches!(s, Step::Judge(j) if j.what == Judged::Survival));
                if role == Role::Host && !judged {
                    return wrong(
                        "power-cut",
                        "a host's `power-cut` that no `judge` with `what = \"survival\"` follows proves nothing",
                    );
                }
            }
            Step::Restore(r) => {
                node(scenario, &r.node)?;
                tier(scenario, r.from)?;
                let judged = steps[at..]
                    .iter()
                    .any(|s| matches!(s, Step::Judge(j) if j.what == Judged::Recovery));
                if !judged {
                    return wrong(
                        "restore",
                        "a `restore` that no `judge` with `what = \"recovery\"` follows proves nothing",
                    );
                }
            }
            Step::Drain(d) => d.tiers.iter().try_for_each(|t| tier(scenario, *t))?,
            Step::Replay(r) => stream(scenario, r.stream.as_str())?,
            Step::Link(l) => {
                node(scenario, &l.from)?;
                node(scenario, &l.to)?;
            }
            Step::Load(l) => {
                if let Some(name) = &l.workload
                    && !scenario.workloads.iter().any(|w| w.name == *name)
                {
                    return wrong(name, format!("workload `{name}` is not one of `workloads`"));
                }
            }
            Step::AwaitLoad(a) => {
                if a.published.is_some() == a.time.is_some() {
                    return wrong("await-load", "`await-load` takes either `published` or `for`");
                }
            }
            Step::AwaitTier(a) => tier(scenario, a.tier)?,
            Step::Repeat(r) => self::steps(scenario, &r.steps)?,
            Step::ResumeLoad(_) | Step::FinishLoad(_) | Step::Judge(_) => {}
        }
    }
    Ok(())
}

/// What runs on a node of this role.
pub(crate) fn programs(role: Role) -> &'static [Program] {
    match role {
        Role::Host => &[Program::Nats, Program::StorageManager],
        Role::Nas | Role::Wasabi => &[Program::S3],
        Role::Operator => &[],
    }
}

fn node(scenario: &Scenario, name: &NodeName) -> Result<Role, Found> {
    match scenario.nodes.get(name) {
        Some(node) => Ok(node.role),
        None => wrong(format!("\"{name}\""), format!("node `{name}` is not one of `nodes`")),
    }
}

fn stream(scenario: &Scenario, name: &str) -> Result<(), Found> {
    if scenario.streams.iter().any(|s| s.name.as_str() == name) {
        return Ok(());
    }
    wrong(format!("stream = \"{name}\""), format!("stream `{name}` is not one of `streams`"))
}

fn tier(scenario: &Scenario, tier: Tier) -> Result<(), Found> {
    if scenario.tiers().contains(&tier) {
        return Ok(());
    }
    wrong(format!("\"{tier}\""), format!("tier `{tier}` has no node in this lab"))
}
