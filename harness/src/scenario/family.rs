//! Families: many streams of one kind, each with a load of its own, from one short table.

use cim_core::names::{ConsumerName, StreamName, Subject, SubjectFilter};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Acks, ConsumerSpec, Rate, Scenario, Size, StreamSpec, WorkloadSpec, defaults};

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

    /// Returns the load of one of its streams.
    pub(super) fn load(&self, number: u32) -> WorkloadSpec {
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
