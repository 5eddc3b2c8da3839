//! What the types cannot say: names that must exist, steps that must come in order.

use cim_core::names::NodeName;

use super::{Judged, Program, Role, Scenario, Step, Tier, WorkloadSpec};

/// The shortest payload that can hold an event's identity.
pub(crate) const SIZE_MIN: u64 = 40;

/// Where in a scenario: `[("steps", 3), ("steps", 0)]` is the first step of a `repeat` that is the
/// fourth step.
pub(super) type Place = Vec<(&'static str, usize)>;

/// A contradiction in a file that parses.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) message: String,
    /// The table that has it; empty for the file.
    pub(super) place: Place,
    /// Text that the offending line has.
    pub(super) needle: String,
}

pub(super) fn wrong<T>(needle: impl Into<String>, message: impl Into<String>) -> Result<T, Found> {
    Err(Found { message: message.into(), place: Place::new(), needle: needle.into() })
}

/// Everything that contradicts itself, in the order of the types.
pub(super) fn check(scenario: &Scenario) -> Vec<Found> {
    let mut found = Vec::new();
    let mut note = |place: Place, checked: Result<(), Found>| {
        found.extend(checked.err().map(|contradiction| Found { place, ..contradiction }));
    };
    note(Place::new(), whole(scenario));
    for (at, link) in scenario.links.iter().enumerate() {
        note(vec![("links", at)], node(scenario, &link.from).map(drop));
        note(vec![("links", at)], node(scenario, &link.to).map(drop));
    }
    for (at, consumer) in scenario.consumers.iter().enumerate() {
        note(vec![("consumers", at)], stream(scenario, consumer.stream.as_str()));
    }
    for (at, load) in scenario.workloads.iter().enumerate() {
        note(vec![("workloads", at)], workload(scenario, load));
    }
    steps(scenario, &scenario.steps, &Place::new(), &mut note);
    let judged = match scenario.steps.last() {
        Some(Step::Judge(judge)) if judge.what == Judged::Everything => Ok(()),
        _ => wrong(
            "do",
            "the last step is not `judge` with `what = \"everything\"`: nothing would be proven",
        ),
    };
    note(vec![("steps", scenario.steps.len().saturating_sub(1))], judged);
    found
}

fn whole(scenario: &Scenario) -> Result<(), Found> {
    if scenario.title.trim().is_empty() || scenario.title.contains('\n') {
        return wrong("title", "`title` is one line that says what happens");
    }
    for (role, name) in [(Role::Host, "host"), (Role::Nas, "nas")] {
        let count = scenario.nodes.values().filter(|n| n.role == role).count();
        if count != 1 {
            return wrong(
                "[nodes",
                format!("a lab has one node of role `{name}`, this one has {count}"),
            );
        }
    }
    if scenario.workloads.is_empty() {
        return wrong("workloads", "a scenario without `workloads` proves nothing");
    }
    Ok(())
}

fn workload(scenario: &Scenario, workload: &WorkloadSpec) -> Result<(), Found> {
    stream(scenario, workload.stream.as_str())?;
    let (name, size) = (&workload.name, workload.size);
    if size.bytes() < SIZE_MIN {
        return wrong("size", format!("`size` of `{name}` is {size}, the least is {SIZE_MIN}B"));
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
    Ok(())
}

fn steps(
    scenario: &Scenario,
    steps: &[Step],
    within: &Place,
    note: &mut impl FnMut(Place, Result<(), Found>),
) {
    for (at, one) in steps.iter().enumerate() {
        let place = [&within[..], &[("steps", at)]].concat();
        note(place.clone(), step(scenario, steps, at));
        if let Step::Repeat(repeat) = one {
            self::steps(scenario, &repeat.steps, &place, note);
        }
    }
}

fn step(scenario: &Scenario, steps: &[Step], at: usize) -> Result<(), Found> {
    match &steps[at] {
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
        Step::ResumeLoad(_) | Step::FinishLoad(_) | Step::Judge(_) | Step::Repeat(_) => {}
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
