//! Checks that types cannot make: names that must exist, steps that must come in order.

mod family;
mod group;
mod objects;
mod topology;

use cim_core::names::NodeName;

use crate::lab::link::Conditions;
use crate::scenario::{
    Age, CrashAt, Damage, DamageStream, ExpectNoAcks, FillDisk, Judged, Part, Program, PurgeStream,
    Restore, RestoreCopy, Role, S3Faults, Scenario, Size, Step, StepClock, Tier, WorkloadSpec,
};

/// The shortest payload that can hold an event's identity.
pub(crate) const SIZE_MIN: u64 = 40;
/// The largest payload: a server takes 1 MiB in a message, headers included.
pub(crate) const SIZE_MAX: u64 = 1_000_000;

/// The smallest disk on which every program of a node starts.
const DISK_MIN: u64 = 8 << 20;

/// A position in a scenario: `[("steps", 3), ("steps", 0)]` is the first step of a `repeat` that is
/// the fourth step.
pub(super) type Place = Vec<(&'static str, usize)>;

/// A contradiction in a file that parses.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) message: String,
    /// The table with the contradiction; empty for the file.
    pub(super) place: Place,
    /// Text of the offending line.
    pub(super) needle: String,
}

pub(super) fn wrong<T>(needle: impl Into<String>, message: impl Into<String>) -> Result<T, Found> {
    Err(Found { message: message.into(), place: Place::new(), needle: needle.into() })
}

/// Returns every contradiction, in the order of the types.
pub(super) fn check(scenario: &Scenario) -> Vec<Found> {
    let mut found = Vec::new();
    let mut note = |place: Place, checked: Result<(), Found>| {
        found.extend(checked.err().map(|contradiction| Found { place, ..contradiction }));
    };
    let mut made = scenario.clone();
    made.families.clear();
    for (at, one) in scenario.families.iter().enumerate() {
        note(vec![("families", at)], family::family(scenario, at));
        made.families.extend(family::nameable(one));
    }
    // Steps may name streams of families. The file's own tables keep their places before that.
    let (file, scenario) = (scenario, &made.expanded());
    note(Place::new(), whole(scenario));
    for (at, link) in scenario.links.iter().enumerate() {
        note(vec![("links", at)], node(scenario, &link.from).map(drop));
        note(vec![("links", at)], node(scenario, &link.to).map(drop));
        note(vec![("links", at)], conditions(&link.conditions));
    }
    for (at, one) in file.streams.iter().enumerate() {
        note(vec![("streams", at)], topology::stream(scenario, one));
    }
    for (at, consumer) in file.consumers.iter().enumerate() {
        note(vec![("consumers", at)], stream(scenario, consumer.stream.as_str()));
        note(vec![("consumers", at)], topology::consumer(scenario, consumer));
        note(vec![("consumers", at)], group::consumer(consumer));
    }
    for (at, load) in file.workloads.iter().enumerate() {
        note(vec![("workloads", at)], workload(scenario, load));
        note(vec![("workloads", at)], topology::workload(scenario, load));
        note(vec![("workloads", at)], objects::workload(scenario, load));
    }
    steps(scenario, &scenario.steps, &Place::new(), &mut note);
    note(Place::new(), group::losses(scenario));
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
        return wrong("title", "`title` must be one line that describes the scenario");
    }
    topology::machines(scenario)?;
    for (name, node) in &scenario.nodes {
        let Some(size) = node.disk else { continue };
        if node.role == Role::Operator {
            return wrong("disk", format!("`{name}` is an operator and has no `disk`"));
        }
        if size.bytes() < DISK_MIN {
            let least = Size::from_bytes(DISK_MIN);
            return wrong("disk", format!("`disk` of `{name}` is {size}, the least is {least}"));
        }
    }
    if scenario.workloads.is_empty() {
        return wrong("workloads", "a scenario without `workloads` proves nothing");
    }
    Ok(())
}

/// Checks the size of events.
pub(super) fn event(name: &str, size: Size) -> Result<(), Found> {
    if size.bytes() < SIZE_MIN {
        return wrong("size", format!("`size` of `{name}` is {size}, the least is {SIZE_MIN}B"));
    }
    if size.bytes() > SIZE_MAX {
        let most = Size::from_bytes(SIZE_MAX);
        return wrong(
            "size",
            format!(
                "`size` of `{name}` is {size}, the most is {most}: a server takes no larger messages"
            ),
        );
    }
    Ok(())
}

fn workload(scenario: &Scenario, workload: &WorkloadSpec) -> Result<(), Found> {
    stream(scenario, workload.stream.as_str())?;
    let name = &workload.name;
    event(name, workload.size)?;
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
    topology::step(scenario, &steps[at])?;
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
        Step::CrashAt(c) => crash_at(scenario, c)?,
        Step::Age(a) => age(scenario, a)?,
        Step::Restore(r) => restore(scenario, r, steps, at)?,
        Step::Drain(d) => d.tiers.iter().try_for_each(|t| tier(scenario, *t))?,
        Step::Replay(r) => stream(scenario, r.stream.as_str())?,
        Step::ReadObjects(r) => objects::read(scenario, r, &steps[..at])?,
        Step::Link(l) => {
            node(scenario, &l.from)?;
            node(scenario, &l.to)?;
            conditions(&l.conditions)?;
        }
        Step::S3Faults(s) => s3_faults(scenario, s)?,
        Step::Damage(d) => damage(scenario, d, &steps[at..])?,
        Step::Verify(v) => {
            node(scenario, &v.node)?;
            tier(scenario, v.tier)?;
        }
        Step::FillDisk(FillDisk { node: name, leave }) => {
            if leave.bytes() >= disk(scenario, name)? {
                return wrong("leave", format!("`leave` is no less than the disk of `{name}`"));
            }
        }
        Step::FreeDisk(n) => {
            disk(scenario, &n.node)?;
            let filled = |s: &Step| matches!(s, Step::FillDisk(d) if d.node == n.node);
            if !steps[..at].iter().any(filled) {
                let what = format!("`free-disk` of `{}` without `fill-disk` before it", n.node);
                return wrong("free-disk", what);
            }
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
        Step::StepClock(c) => step_clock(scenario, c)?,
        Step::LoseMember(l) => group::step(scenario, "lose-member", &l.consumer)?,
        Step::AwaitTakeover(a) => group::step(scenario, "await-takeover", &a.consumer)?,
        Step::PurgeStream(p) => purge(scenario, p)?,
        Step::DeleteStream(s) | Step::MakeStream(s) => stream(scenario, s.stream.as_str())?,
        Step::UpdateStream(u) => stream(scenario, u.stream.as_str())?,
        Step::RestoreCopy(r) => copy(scenario, r)?,
        Step::DamageStream(d) => damage_stream(scenario, d, &steps[at..])?,
        Step::ExpectNoAcks(e) => no_acks(scenario, e, &steps[at..])?,
        Step::AwaitReplicas(_)
        | Step::ResumeLoad(_)
        | Step::FinishLoad(_)
        | Step::StopLoad(_)
        | Step::Judge(_)
        | Step::Repeat(_) => {}
    }
    Ok(())
}

fn crash_at(scenario: &Scenario, c: &CrashAt) -> Result<(), Found> {
    if node(scenario, &c.node)? != Role::Host {
        let name = &c.node;
        return wrong(format!("\"{name}\""), format!("no storage manager runs on node `{name}`"));
    }
    if c.points.is_empty() || c.reached.0 == 0 || c.reached.0 > c.reached.1 {
        return wrong(
            "crash-at",
            "`crash-at` names at least one of `points`, and `reached` is a range that begins at 1 or later",
        );
    }
    Ok(())
}

fn age(scenario: &Scenario, a: &Age) -> Result<(), Found> {
    if node(scenario, &a.node)? != Role::Host {
        let name = &a.node;
        return wrong(format!("\"{name}\""), format!("no storage manager runs on node `{name}`"));
    }
    if a.days == 0 {
        return wrong("days", "`age` by no day changes nothing");
    }
    Ok(())
}

fn step_clock(scenario: &Scenario, c: &StepClock) -> Result<(), Found> {
    let role = node(scenario, &c.node)?;
    if role == Role::Operator {
        let what = format!("`step-clock` of `{}`: the operator's clock measures the run", c.node);
        return wrong(format!("node = \"{}\"", c.node), what);
    }
    if c.by.is_zero() {
        return wrong("by", "`step-clock` by nothing changes nothing");
    }
    Ok(())
}

fn restore(scenario: &Scenario, r: &Restore, steps: &[Step], at: usize) -> Result<(), Found> {
    node(scenario, &r.node)?;
    tier(scenario, r.from)?;
    let judged =
        steps[at..].iter().any(|s| matches!(s, Step::Judge(j) if j.what == Judged::Recovery));
    if r.refused {
        let damaged = |s: &Step| matches!(s, Step::Damage(d) if d.tier == r.from);
        if !steps[..at].iter().any(damaged) {
            let what = format!("nothing damages {} before `refused = true`", r.from);
            return wrong("refused", what);
        }
    } else if !judged {
        return wrong(
            "restore",
            "a `restore` that no `judge` with `what = \"recovery\"` follows proves nothing",
        );
    }
    Ok(())
}

fn no_acks(scenario: &Scenario, expect: &ExpectNoAcks, after: &[Step]) -> Result<(), Found> {
    stream(scenario, expect.stream.as_str())?;
    if after.iter().any(|s| matches!(s, Step::Restore(r) if !r.refused)) {
        return Ok(());
    }
    wrong(
        "expect-no-acks",
        "no `restore` follows `expect-no-acks`: its publishes might still be in the stream at the end",
    )
}

fn conditions(conditions: &Conditions) -> Result<(), Found> {
    match conditions.contradiction() {
        Some(what) => wrong("conditions", what),
        None => Ok(()),
    }
}

fn s3_faults(scenario: &Scenario, faults: &S3Faults) -> Result<(), Found> {
    let name = &faults.node;
    if node(scenario, name)? != Role::Wasabi {
        let what = format!("`s3-faults` of `{name}`, which is no Wasabi: break its link instead");
        return wrong("s3-faults", what);
    }
    let mut wrong_rules = faults.rules.iter().filter_map(|r| Some((r, r.contradiction()?)));
    match wrong_rules.next() {
        Some((rule, what)) => wrong(format!("\"{}\"", rule.fault), what),
        None => Ok(()),
    }
}

fn purge(scenario: &Scenario, p: &PurgeStream) -> Result<(), Found> {
    stream(scenario, p.stream.as_str())?;
    if p.subject.is_some() && p.keep.is_some() {
        return wrong("keep", "`purge-stream` takes either `subject` or `keep`");
    }
    Ok(())
}

fn copy(scenario: &Scenario, r: &RestoreCopy) -> Result<(), Found> {
    stream(scenario, r.stream.as_str())?;
    tier(scenario, r.from)?;
    if r.until_sequence.is_some() && r.until_time.is_some() {
        let what = "`restore-copy` takes either `until-sequence` or `until-time`";
        return wrong("until-time", what);
    }
    Ok(())
}

fn damage_stream(scenario: &Scenario, d: &DamageStream, after: &[Step]) -> Result<(), Found> {
    stream(scenario, d.stream.as_str())?;
    if node(scenario, &d.node)? != Role::Host {
        let what = format!("node `{}` is no host: it has no streams to damage", d.node);
        return wrong(format!("\"{}\"", d.node), what);
    }
    let judged = after.iter().any(|s| matches!(s, Step::Judge(j) if j.what == Judged::Primary));
    if !judged {
        return wrong(
            "damage-stream",
            "a `damage-stream` that no `judge` with `what = \"primary\"` follows hides the losses",
        );
    }
    Ok(())
}

fn damage(scenario: &Scenario, damage: &Damage, after: &[Step]) -> Result<(), Found> {
    let harmed = damage.tier;
    tier(scenario, harmed)?;
    if damage.part == Part::UnsealedSegment && harmed == Tier::Wasabi {
        return wrong("unsealed-segment", "Wasabi has sealed segments only");
    }
    let looks = |s: &Step| match s {
        Step::Verify(v) => v.tier == harmed,
        Step::Restore(r) => r.refused && r.from == harmed,
        _ => false,
    };
    if after.iter().any(looks) {
        return Ok(());
    }
    let what = format!(
        "`damage` of {harmed} that neither `verify` nor a refused `restore` follows proves nothing"
    );
    wrong("damage", what)
}

/// Returns the size of a node's disk, in bytes.
fn disk(scenario: &Scenario, name: &NodeName) -> Result<u64, Found> {
    node(scenario, name)?;
    if let Some(size) = scenario.nodes[name].disk {
        return Ok(size.bytes());
    }
    let way_out = "give it a size, such as `disk = \"64MiB\"`";
    wrong("-disk", format!("node `{name}` has no `disk`: {way_out}"))
}

/// Returns the programs on a node of this role.
pub(crate) fn programs(role: Role) -> &'static [Program] {
    match role {
        Role::Host => &[Program::Nats, Program::StorageManager],
        Role::Leaf => &[Program::Nats],
        Role::Standby => &[Program::StorageManager],
        Role::Nas | Role::Wasabi => &[Program::S3],
        Role::Operator => &[],
    }
}

pub(super) fn node(scenario: &Scenario, name: &NodeName) -> Result<Role, Found> {
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
