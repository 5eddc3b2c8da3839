//! Checks that a file's machines and streams make a lab.

use super::{Found, node, wrong};
use crate::scenario::{ConsumerSpec, Role, Scenario, Step, StreamSpec, WorkloadSpec};

/// The fewest hosts of a cluster: with two, none may be lost.
const CLUSTER_MIN: usize = 3;

/// Checks the number of nodes of each role.
pub(super) fn machines(scenario: &Scenario) -> Result<(), Found> {
    let count = |role| scenario.nodes_of(role).count();
    match count(Role::Nas) {
        1 => {}
        n => return wrong("[nodes", format!("a lab has one node of role `nas`, this one has {n}")),
    }
    for (role, name) in [(Role::Wasabi, "wasabi"), (Role::Operator, "operator")] {
        let n = count(role);
        if n > 1 {
            let what = format!("a lab has one node of role `{name}` at most, this one has {n}");
            return wrong("[nodes", what);
        }
    }
    match count(Role::Host) {
        0 => wrong("[nodes", "a lab has a node of role `host`, this one has none"),
        n if n > 1 && n < CLUSTER_MIN => wrong(
            "[nodes",
            format!(
                "several nodes of role `host` are a cluster, which has {CLUSTER_MIN} or more: this \
                 lab has {n}, of which none could be lost"
            ),
        ),
        _ => Ok(()),
    }
}

/// Checks that a consumer's stream is on the host: the storage manager and the oracle know no
/// consumers elsewhere.
pub(super) fn consumer(scenario: &Scenario, consumer: &ConsumerSpec) -> Result<(), Found> {
    let (name, of) = (&consumer.name, consumer.stream.as_str());
    if scenario.streams.iter().any(|s| s.name.as_str() == of && s.node.is_some()) {
        let what =
            format!("consumer `{name}` reads `{of}` of a leaf node: give it one of the host");
        return wrong(format!("stream = \"{of}\""), what);
    }
    Ok(())
}

/// Checks the place of a stream, and the sources of its messages.
pub(super) fn stream(scenario: &Scenario, stream: &StreamSpec) -> Result<(), Found> {
    let name = stream.name.as_str();
    let at = || format!("name = \"{name}\"");
    if let Some(on) = &stream.node
        && node(scenario, on)? != Role::Leaf
    {
        let what = format!("stream `{name}` is on `{on}`, which is no leaf node: leave `node` out");
        return wrong(format!("node = \"{on}\""), what);
    }
    let retention = stream.config.get("retention").and_then(toml::Value::as_str);
    if scenario.clustered() && retention == Some("workqueue") {
        let what = format!("stream `{name}` is a work queue in a cluster: make it one on one host");
        return wrong(at(), what);
    }
    match (stream.subjects.is_empty(), stream.sources.is_empty()) {
        (true, true) => {
            return wrong(at(), format!("stream `{name}` has neither `subjects` nor `sources`"));
        }
        (false, false) => {
            let what = format!(
                "stream `{name}` has `subjects` and `sources`: messages published to it and messages that it \
                 copies from others belong in two streams"
            );
            return wrong(at(), what);
        }
        _ => {}
    }
    for source in &stream.sources {
        let found = scenario.streams.iter().find(|s| s.name == *source);
        match found {
            None => {
                let what = format!("stream `{source}` is not one of `streams`");
                return wrong(format!("\"{source}\""), what);
            }
            Some(source) if source.node.is_none() || stream.node.is_some() => {
                let source = &source.name;
                let what = format!(
                    "stream `{name}` takes from `{source}`: a stream of the host takes from streams \
                     of leaf nodes"
                );
                return wrong(format!("\"{source}\""), what);
            }
            Some(_) => {}
        }
    }
    Ok(())
}

/// Checks that a load's stream can be published to.
pub(super) fn workload(scenario: &Scenario, workload: &WorkloadSpec) -> Result<(), Found> {
    let (name, to) = (&workload.name, &workload.stream);
    let Some(stream) = scenario.streams.iter().find(|s| s.name == *to) else { return Ok(()) };
    if !stream.sources.is_empty() {
        let what =
            format!("load `{name}` publishes to `{to}`, which takes from others: name one of them");
        return wrong(format!("stream = \"{to}\""), what);
    }
    if stream.node.is_some() && workload.deletes > 0 {
        let what =
            format!("`deletes` of `{name}`: a delete at a leaf node does not reach the host");
        return wrong("deletes", what);
    }
    Ok(())
}

/// Refuses steps on a leaf node or a standby whose losses are not judged.
pub(super) fn step(scenario: &Scenario, step: &Step) -> Result<(), Found> {
    let (what, at) = match step {
        Step::Destroy(n) => ("destroy", &n.node),
        Step::Replace(n) => ("replace", &n.node),
        Step::PowerCut(n) => ("power-cut", &n.node),
        Step::Restore(r) => ("restore", &r.node),
        Step::AwaitReplicas(_) if !scenario.clustered() => {
            return wrong(
                "await-replicas",
                "`await-replicas` needs a cluster: this lab has one host",
            );
        }
        Step::ExpectNoAcks(_) if !scenario.clustered() => {
            return wrong(
                "expect-no-acks",
                "`expect-no-acks` needs a cluster: this lab has one host",
            );
        }
        _ => return Ok(()),
    };
    let role = node(scenario, at)?;
    if role == Role::Leaf {
        let message =
            format!("`{what}` of `{at}`: a leaf node keeps its disk; `kill` and `start` it");
        return wrong(format!("node = \"{at}\""), message);
    }
    if role == Role::Standby {
        let message = format!("`{what}` of `{at}`: a standby keeps nothing; `kill` and `start` it");
        return wrong(format!("node = \"{at}\""), message);
    }
    if what == "restore" && role != Role::Host {
        let message =
            format!("`restore` on `{at}`, which is no host: there is no NATS to restore to");
        return wrong(format!("node = \"{at}\""), message);
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
leaf = { role = "leaf" }
[[streams]]
name = "FIELD"
node = "leaf"
subjects = ["lab.>"]
[[streams]]
name = "EVENTS"
sources = ["FIELD"]
[[workloads]]
name = "load"
stream = "FIELD"
subject = "lab.events"
events = 10
[[steps]]
do = "load"
[[steps]]
do = "judge"
what = "everything"
"#;

    fn refused(change: impl Fn(&str) -> String) -> String {
        parse(Path::new("x.toml"), &change(GOOD)).unwrap_err().to_string()
    }

    #[test]
    fn a_host_with_a_leaf_node_is_a_lab_and_so_is_a_cluster() {
        let scenario = parse(Path::new("x.toml"), GOOD).unwrap();
        assert!(!scenario.clustered());
        assert_eq!(scenario.tiered().map(|(at, _)| at).collect::<Vec<_>>(), [1]);
        let two = "host-2 = { role = \"host\" }\nhost-3 = { role = \"host\" }\nnas = {";
        let scenario = parse(Path::new("x.toml"), &GOOD.replace("nas = {", two)).unwrap();
        assert!(scenario.clustered());
    }

    #[test]
    fn machines_and_streams_that_make_no_lab_are_refused() {
        insta::assert_snapshot!(
            refused(|t| t.replace("host = { role = \"host\" }", "")),
            @"`x.toml`:3:1: key `nodes`: a lab has a node of role `host`, this one has none"
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("nas = {", "host-2 = { role = \"host\" }\nnas = {")),
            @"`x.toml`:3:1: key `nodes`: several nodes of role `host` are a cluster, which has 3 or more: this lab has 2, of which none could be lost"
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("nas = {", "nas-2 = { role = \"nas\" }\nnas = {")),
            @"`x.toml`:3:1: key `nodes`: a lab has one node of role `nas`, this one has 2"
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("node = \"leaf\"", "node = \"nas\"")),
            @"`x.toml`:9:1: stream `FIELD` is on `nas`, which is no leaf node: leave `node` out"
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("sources = [\"FIELD\"]", "")),
            @"`x.toml`:12:1: key `name`: stream `EVENTS` has neither `subjects` nor `sources`"
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("sources = [\"FIELD\"]", "sources = [\"FILED\"]")),
            @"`x.toml`:13:12: key `sources`: stream `FILED` is not one of `streams`"
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("node = \"leaf\"", "")),
            @"`x.toml`:13:12: key `sources`: stream `EVENTS` takes from `FIELD`: a stream of the host takes from streams of leaf nodes"
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("stream = \"FIELD\"", "stream = \"EVENTS\"")),
            @"`x.toml`:16:1: key `stream`: load `load` publishes to `EVENTS`, which takes from others: name one of them"
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("events = 10", "events = 10\ndeletes = 2")),
            @"`x.toml`:19:1: `deletes` of `load`: a delete at a leaf node does not reach the host"
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("do = \"load\"", "do = \"destroy\"\nnode = \"leaf\"")),
            @"`x.toml`:21:1: key `node`: `destroy` of `leaf`: a leaf node keeps its disk; `kill` and `start` it"
        );
        insta::assert_snapshot!(
            refused(|t| t.replace("do = \"load\"", "do = \"await-replicas\"")),
            @"`x.toml`:20:7: key `do`: `await-replicas` needs a cluster: this lab has one host"
        );
        let probe =
            |t: &str| t.replace("do = \"load\"", "do = \"expect-no-acks\"\nstream = \"EVENTS\"");
        insta::assert_snapshot!(refused(probe), @"`x.toml`:20:7: key `do`: `expect-no-acks` needs a cluster: this lab has one host");
        let two = "host-2 = { role = \"host\" }\nhost-3 = { role = \"host\" }\nnas = {";
        insta::assert_snapshot!(refused(|t| probe(&t.replace("nas = {", two))), @"`x.toml`:22:7: key `do`: no `restore` follows `expect-no-acks`: its publishes might still be in the stream at the end");
    }
}
