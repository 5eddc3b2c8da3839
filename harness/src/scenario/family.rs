//! Families: many streams of one kind, each with a load of its own, from one short table.

use cim_core::names::{ConsumerName, StreamName, Subject, SubjectFilter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::check::{Found, event, wrong};
use super::{
    Acks, ConsumerSpec, Rate, Scenario, Size, StreamSpec, WorkloadSpec, defaults, objects,
};

/// The most streams of a family: each has connections of its own.
const COUNT_MAX: u32 = 1000;
/// The number of chunks of an object.
const CHUNKS: u32 = 3;

/// Streams of one kind on the host. Each has a load of its own with one publisher, and the consumers
/// that its kind has.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, rename_all = "kebab-case")]
pub struct Family {
    /// The name of its streams, with a number after it: `ORDERS_001`, `KV_ORDERS_001`,
    /// `OBJ_ORDERS_001`. Their loads have the same names.
    pub name: StreamName,
    /// The number of streams.
    pub count: u32,
    /// The kind of its streams.
    #[serde(default)]
    pub kind: Kind,
    /// The place where the server keeps them.
    #[serde(default)]
    pub storage: Storage,
    /// The number of events of each stream.
    pub events: u64,
    /// Events per second of each stream; absent for as fast as it goes.
    pub rate: Option<Rate>,
    /// The size of a payload, or of a chunk of an object, at least 40 bytes.
    #[serde(default = "defaults::size")]
    pub size: Size,
    /// The number of different subjects, or keys, of each stream.
    #[serde(default = "defaults::subjects")]
    pub subjects: u32,
    /// The number of consumers of each stream; absent for one if the kind needs one, and for none
    /// otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consumers: Option<u32>,
    /// The messages that they acknowledge.
    #[serde(default)]
    pub acks: Acks,
    /// Extra keys of each stream's configuration, as `$JS.API.STREAM.CREATE` takes them.
    #[serde(default)]
    #[schemars(with = "serde_json::Map<String, serde_json::Value>")]
    pub config: toml::Table,
}

/// The kind of a family's streams.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// Streams that keep messages until a limit drops them; by default they have no limits.
    #[default]
    Events,
    /// Streams that keep a message until each of their consumers has acknowledged it.
    Interest,
    /// Work queues: a message is gone when its worker has acknowledged it.
    WorkQueue,
    /// Key-value buckets that hold the newest value of each key.
    KeyValue,
    /// Object stores, with objects of three chunks.
    Objects,
}

/// The place where a server keeps a stream.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Storage {
    /// In files.
    #[default]
    File,
    /// In memory: lost when the server ends.
    Memory,
}

impl Scenario {
    /// Returns it with each stream, consumer and load of its families written out.
    #[must_use]
    pub fn expanded(mut self) -> Self {
        for family in std::mem::take(&mut self.families) {
            for number in 1..=family.count {
                let (stream, load) = (family.stream(number), family.load(number));
                let consumers = family.consumers();
                self.consumers.extend((1..=consumers).map(|n| family.consumer(number, n)));
                self.streams.push(stream);
                self.workloads.push(load);
            }
        }
        self
    }

    /// Resizes its families so that they have this many streams together, each with the same share
    /// as before and at least one. Returns whether it has families.
    pub fn resize(&mut self, streams: u32) -> bool {
        let all: u64 = self.families.iter().map(|family| u64::from(family.count)).sum();
        let (mut before, mut given) = (0, 0);
        for family in &mut self.families {
            before += u64::from(family.count);
            let until = before * u64::from(streams) / all.max(1);
            family.count = u32::try_from(until.saturating_sub(given)).unwrap_or(streams).max(1);
            given += u64::from(family.count);
        }
        !self.families.is_empty()
    }
}

impl Family {
    /// Returns the name of a stream without the prefix of its kind.
    fn bare(&self, number: u32) -> String {
        format!("{}_{number:03}", self.name)
    }

    fn name(&self, number: u32) -> StreamName {
        let prefix = match self.kind {
            Kind::KeyValue => "KV_",
            Kind::Objects => "OBJ_",
            Kind::Events | Kind::Interest | Kind::WorkQueue => "",
        };
        let name = format!("{prefix}{}", self.bare(number));
        StreamName::new(name).expect("a checked family has names for all of its streams")
    }

    fn subject(&self, number: u32) -> Subject {
        let prefix = match self.kind {
            Kind::KeyValue => "$KV",
            Kind::Objects => "$O",
            Kind::Events | Kind::Interest | Kind::WorkQueue => "lab",
        };
        let subject = format!("{prefix}.{}", self.bare(number));
        Subject::new(subject).expect("a stream's name is a token of a subject")
    }

    fn stream(&self, number: u32) -> StreamSpec {
        let mut config = toml::Table::new();
        let mut set = |key: &str, value: toml::Value| {
            config.insert(key.to_owned(), value);
        };
        if self.storage == Storage::Memory {
            set("storage", "memory".into());
        }
        match self.kind {
            Kind::Interest => set("retention", "interest".into()),
            Kind::WorkQueue => set("retention", "workqueue".into()),
            // As clients make buckets.
            Kind::KeyValue => {
                set("max_msgs_per_subject", 1.into());
                set("deny_delete", true.into());
            }
            Kind::Events | Kind::Objects => {}
        }
        if matches!(self.kind, Kind::KeyValue | Kind::Objects) {
            set("allow_rollup_hdrs", true.into());
            set("allow_direct", true.into());
            set("discard", "new".into());
        }
        config.extend(self.config.clone());
        let filter = SubjectFilter::new(format!("{}.>", self.subject(number)));
        StreamSpec {
            name: self.name(number),
            node: None,
            subjects: vec![filter.expect("a subject and all below it is a filter")],
            sources: Vec::new(),
            config,
        }
    }

    fn load(&self, number: u32) -> WorkloadSpec {
        WorkloadSpec {
            name: self.name(number).to_string(),
            stream: self.name(number),
            subject: self.subject(number),
            subjects: self.subjects,
            publishers: 1,
            events: self.events,
            rate: self.rate,
            size: self.size,
            headers_every: defaults::headers_every(),
            deletes: 0,
            window: defaults::window(),
            republish: false,
            object_chunks: (self.kind == Kind::Objects).then_some(CHUNKS),
            ack_within: defaults::ack_within(),
        }
    }

    fn consumers(&self) -> u32 {
        let wanted = matches!(self.kind, Kind::Interest | Kind::WorkQueue);
        self.consumers.unwrap_or(u32::from(wanted))
    }

    fn consumer(&self, stream: u32, number: u32) -> ConsumerSpec {
        let name = ConsumerName::new(format!("reader-{number}"));
        ConsumerSpec {
            name: name.expect("letters and a number are a name"),
            stream: self.name(stream),
            acks: self.acks,
            members: None,
            ack_wait: defaults::ack_wait(),
        }
    }
}

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
