//! Checks a file's consumers with several members, and the steps about them.

use cim_core::names::ConsumerName;

use super::{Found, wrong};
use crate::scenario::{Acks, ConsumerSpec, Scenario, Step};

/// The fewest members of a group: with one, none could take over.
const MEMBERS_MIN: u32 = 2;
/// The most members, each of which is a process.
const MEMBERS_MAX: u32 = 16;
/// The shortest wait that a busy machine does not exceed all the time, in microseconds.
const ACK_WAIT_MIN: u64 = 500_000;

/// Checks a consumer by itself.
pub(super) fn consumer(consumer: &ConsumerSpec) -> Result<(), Found> {
    let name = &consumer.name;
    if consumer.ack_wait.as_micros() < ACK_WAIT_MIN {
        let what = format!("`ack-wait` of `{name}` is {}, the least is 500ms", consumer.ack_wait);
        return wrong("ack-wait", what);
    }
    let Some(members) = consumer.members else { return Ok(()) };
    if !(MEMBERS_MIN..=MEMBERS_MAX).contains(&members) {
        let what = format!(
            "consumer `{name}` has {members} members: a group has {MEMBERS_MIN} to {MEMBERS_MAX}"
        );
        return wrong("members", what);
    }
    if consumer.acks != Acks::All {
        let what = format!(
            "the members of `{name}` acknowledge all that they get: write `acks = \"all\"`"
        );
        return wrong("acks", what);
    }
    Ok(())
}

/// Checks a step that is about a group.
pub(super) fn step(scenario: &Scenario, what: &str, name: &ConsumerName) -> Result<(), Found> {
    let at = || format!("consumer = \"{name}\"");
    match scenario.consumers.iter().find(|c| c.name == *name) {
        None => wrong(at(), format!("consumer `{name}` is not one of `consumers`")),
        Some(consumer) if consumer.members.is_none() => {
            let message = format!("`{what}` of `{name}`, which has no `members`: give it three");
            wrong(at(), message)
        }
        Some(_) => Ok(()),
    }
}

/// Checks that each group keeps a member, and that only lost members are waited for.
pub(super) fn losses(scenario: &Scenario) -> Result<(), Found> {
    for consumer in &scenario.consumers {
        let (name, Some(members)) = (&consumer.name, consumer.members) else { continue };
        if members < MEMBERS_MIN {
            continue;
        }
        let mut lost = 0;
        walk(&scenario.steps, 1, &mut |step, times| match step {
            Step::LoseMember(l) if l.consumer == *name => {
                lost += times;
                Ok(())
            }
            Step::AwaitTakeover(a) if a.consumer == *name && lost == 0 => wrong(
                "await-takeover",
                format!("`await-takeover` of `{name}` without `lose-member` before it"),
            ),
            _ => Ok(()),
        })?;
        if lost >= u64::from(members) {
            let what = format!("`{name}` loses {lost} of its {members} members: leave one");
            return wrong("lose-member", what);
        }
    }
    Ok(())
}

fn walk(
    steps: &[Step],
    times: u64,
    look: &mut impl FnMut(&Step, u64) -> Result<(), Found>,
) -> Result<(), Found> {
    for step in steps {
        match step {
            Step::Repeat(r) => walk(&r.steps, times * u64::from(r.times), look)?,
            other => look(other, times)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::scenario::parse;

    const GOOD: &str = r#"
title = "t"
[nodes]
host = { role = "host" }
nas = { role = "nas" }
[[streams]]
name = "EVENTS"
subjects = ["lab.>"]
[[consumers]]
name = "workers"
stream = "EVENTS"
acks = "all"
members = 3
ack-wait = "1s"
[[consumers]]
name = "alone"
stream = "EVENTS"
acks = "all"
[[workloads]]
name = "load"
stream = "EVENTS"
subject = "lab.events"
events = 10
[[steps]]
do = "load"
[[steps]]
do = "lose-member"
consumer = "workers"
how = "kill"
[[steps]]
do = "await-takeover"
consumer = "workers"
[[steps]]
do = "judge"
what = "everything"
"#;

    fn refused(change: impl Fn(&str) -> String) -> String {
        parse(Path::new("x.toml"), &change(GOOD)).unwrap_err().to_string()
    }

    #[test]
    fn groups_and_losses_that_make_no_sense_are_refused() {
        let scenario = parse(Path::new("x.toml"), GOOD).unwrap();
        assert_eq!(scenario.consumers[0].members, Some(3));
        assert_eq!(scenario.consumers[1].ack_wait.as_micros(), 30_000_000);
        insta::assert_snapshot!(
            refused(|t| t.replace("members = 3", "members = 1")),
            @"`x.toml`:13:1: key `members`: consumer `workers` has 1 members: a group has 2 to 16"
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("acks = \"all\"\nmembers", "acks = \"some\"\nmembers")),
            @r#"`x.toml`:12:1: key `acks`: the members of `workers` acknowledge all that they get: write `acks = "all"`"#
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("ack-wait = \"1s\"", "ack-wait = \"10ms\"")),
            @"`x.toml`:14:1: `ack-wait` of `workers` is 10ms, the least is 500ms"
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("consumer = \"workers\"", "consumer = \"alone\"")),
            @"`x.toml`:28:1: key `consumer`: `lose-member` of `alone`, which has no `members`: give it three (and 1 more: `cim-harness scenario check x.toml`)"
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("consumer = \"workers\"", "consumer = \"others\"")),
            @"`x.toml`:28:1: key `consumer`: consumer `others` is not one of `consumers` (and 1 more: `cim-harness scenario check x.toml`)"
        );
        insta::assert_snapshot!(
            refused(|t| {
                let early = t.replace("do = \"lose-member\"", "do = \"await-takeover\"");
                early.replace("how = \"kill\"\n", "")
            }),
            @"`x.toml`:27:7: key `do`: `await-takeover` of `workers` without `lose-member` before it"
        );
        insta::assert_snapshot!(
            refused(|t| {
                let two = t.replace("members = 3", "members = 2");
                two.replace("do = \"load\"", "do = \"lose-member\"\nconsumer = \"workers\"\nhow = \"pause\"")
            }),
            @"`x.toml`:25:7: key `do`: `workers` loses 2 of its 2 members: leave one"
        );
    }
}
