//! Checks that a family's streams can be made.

use cim_core::names::StreamName;

use super::{Found, event, objects, wrong};
use crate::scenario::{Family, Kind, Scenario};

/// The most streams of a family: each has connections of its own.
const COUNT_MAX: u32 = 1000;

/// Returns the part of a family for which there are names, even if its other values are wrong: so
/// one mistake neither hides another nor causes one.
pub(super) fn nameable(family: &Family) -> Option<Family> {
    let count = family.count.min(COUNT_MAX);
    StreamName::new(format!("OBJ_{}_{COUNT_MAX}", family.name)).ok()?;
    Some(Family { count, ..family.clone() })
}

/// Checks that a family's streams can be made, beside the others.
pub(super) fn family(scenario: &Scenario, at: usize) -> Result<(), Found> {
    let family = &scenario.families[at];
    let (name, count) = (&family.name, family.count);
    if !(1..=COUNT_MAX).contains(&count) {
        let what = format!("family `{name}` has {count} streams: it has 1 to {COUNT_MAX}");
        return wrong("count", what);
    }
    if nameable(family).is_none() {
        return wrong(name.as_str(), format!("`{name}` is too long for the name of a family"));
    }
    if scenario.families[..at].iter().any(|other| other.name == family.name) {
        return wrong(name.as_str(), format!("there are two families `{name}`"));
    }
    if family.events == 0 || family.subjects == 0 {
        return wrong(name.as_str(), format!("`events` and `subjects` of `{name}` are at least 1"));
    }
    event(name.as_str(), family.size)?;
    if family.kind == Kind::WorkQueue && family.consumers.is_some_and(|n| n > 1) {
        return wrong("consumers", format!("work queue `{name}` takes one consumer"));
    }
    if scenario.clustered() {
        let what = format!("family `{name}` in a cluster: its streams need a single host");
        return wrong(name.as_str(), what);
    }
    objects::workload(scenario, &family.load(1))
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
[[families]]
name = "PLAIN"
count = 3
events = 10
rate = "1/s"
config = { max_msgs = 5 }
[[families]]
name = "JOBS"
count = 1
kind = "work-queue"
storage = "memory"
events = 20
[[families]]
name = "STATE"
count = 1
kind = "key-value"
events = 20
[[families]]
name = "MEDIA"
count = 1
kind = "objects"
events = 20
[[steps]]
do = "load"
workload = "PLAIN_002"
[[steps]]
do = "judge"
what = "everything"
"#;

    fn refused(from: &str, to: &str) -> String {
        assert!(GOOD.contains(from));
        parse(Path::new("x.toml"), &GOOD.replace(from, to)).unwrap_err().to_string()
    }

    #[test]
    fn a_family_is_many_streams_with_their_loads_and_consumers() {
        let scenario = parse(Path::new("x.toml"), GOOD).unwrap().expanded();
        let names: Vec<_> = scenario.streams.iter().map(|s| s.name.as_str()).collect();
        let wanted =
            ["PLAIN_001", "PLAIN_002", "PLAIN_003", "JOBS_001", "KV_STATE_001", "OBJ_MEDIA_001"];
        assert_eq!(names, wanted);
        assert_eq!(scenario.workloads.iter().map(|w| w.name.as_str()).collect::<Vec<_>>(), wanted);
        assert_eq!(scenario.streams[2].config["max_msgs"].as_integer(), Some(5));
        assert_eq!(scenario.streams[3].config["retention"].as_str(), Some("workqueue"));
        assert_eq!(scenario.streams[3].config["storage"].as_str(), Some("memory"));
        assert_eq!(scenario.streams[4].subjects[0].as_str(), "$KV.STATE_001.>");
        assert_eq!(scenario.workloads[5].subject.as_str(), "$O.MEDIA_001");
        assert_eq!(scenario.workloads[5].object_chunks, Some(3));
        let consumers = scenario.consumers.iter().map(|c| (c.name.as_str(), c.stream.as_str()));
        assert_eq!(consumers.collect::<Vec<_>>(), [("reader-1", "JOBS_001")]);
        assert_eq!(scenario.clone().expanded(), scenario, "once is enough");
    }

    #[test]
    fn families_share_a_number_of_streams_as_before() {
        let mut scenario = parse(Path::new("x.toml"), GOOD).unwrap();
        for (streams, counts) in [(12, [6, 2, 2, 2]), (6, [3, 1, 1, 1]), (1, [1, 1, 1, 1])] {
            assert!(scenario.resize(streams));
            let found: Vec<_> = scenario.families.iter().map(|f| f.count).collect();
            assert_eq!(found, counts, "{streams}");
        }
        scenario.families.clear();
        assert!(!scenario.resize(5));
    }

    #[test]
    fn families_that_cannot_be_made_are_refused() {
        let hosts = "host-2 = { role = \"host\" }\nhost-3 = { role = \"host\" }\nnas = {";
        let refusals = [
            ("count = 3", "count = 1001"),
            ("\"JOBS\"", "\"PLAIN\""),
            ("events = 10", "events = 0"),
            ("rate = \"1/s\"", "size = \"8B\""),
            ("storage = \"memory\"", "consumers = 2"),
            ("PLAIN_002", "PLAIN_004"),
            ("nas = {", hosts),
        ];
        let refusals = refusals.map(|(from, to)| refused(from, to));
        insta::assert_snapshot!(refusals.join("\n"), @r"
        `x.toml`:8:1: key `count`: family `PLAIN` has 1001 streams: it has 1 to 1000
        `x.toml`:13:9: key `name`: there are two families `PLAIN`
        `x.toml`:7:9: key `name`: `events` and `subjects` of `PLAIN` are at least 1
        `x.toml`:10:1: `size` of `PLAIN` is 8B, the least is 40B
        `x.toml`:16:1: key `consumers`: work queue `JOBS` takes one consumer
        `x.toml`:30:13: key `workload`: workload `PLAIN_004` is not one of `workloads`
        `x.toml`:9:9: key `name`: family `PLAIN` in a cluster: its streams need a single host (and 3 more: `cim-harness scenario check x.toml`)
        ");
    }
}
