//! `[[retention]]`: how long what is archived is kept. Without a table that names a stream it is kept for ever.

use std::num::NonZeroU64;
use std::time::Duration;

use cim_core::names::StreamName;
use cim_runtime::config::{Size, duration};
use globset::{Glob, GlobSet, GlobSetBuilder};
use serde::de::{Error as _, IntoDeserializer as _};
use serde::{Deserialize, Deserializer};

use super::streams::globs;
use crate::s3::Tier;

/// One table: limits, and the streams and the tier that they are for. A limit takes what is oldest, whichever is
/// reached first.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RetentionConfig {
    /// Globs of stream names.
    #[serde(deserialize_with = "streams")]
    streams: GlobSet,
    /// The tier; both where it is not named.
    tier: Option<Tier>,
    /// Messages that are older may go.
    pub max_age: Option<Age>,
    /// So many of the newest messages stay.
    pub max_msgs: Option<NonZeroU64>,
    /// So many bytes of the newest messages stay.
    pub max_bytes: Option<Size>,
    /// The time after which a stream that JetStream does not have leaves the archive, all of it.
    pub dropped: Option<Age>,
    /// The time after which the messages that only a left timeline has leave the archive.
    pub left_timelines: Option<Age>,
}

/// A length of time, with the text that stands for it.
#[derive(Debug, Clone)]
pub struct Age {
    text: String,
    /// The length.
    pub time: Duration,
}

impl<'de> Deserialize<'de> for Age {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let time = duration::above_zero(text.as_str().into_deserializer())
            .map_err(|error: serde::de::value::Error| D::Error::custom(error))?;
        Ok(Self { text, time })
    }
}

fn streams<'de, D: Deserializer<'de>>(deserializer: D) -> Result<GlobSet, D::Error> {
    let globs = globs(deserializer)?;
    if globs.is_empty() {
        let why = "`streams` is empty, so that the table is for none: write `[\"*\"]` for all";
        return Err(D::Error::custom(why));
    }
    let mut set = GlobSetBuilder::new();
    for glob in &globs {
        set.add(Glob::new(glob).map_err(D::Error::custom)?);
    }
    set.build().map_err(D::Error::custom)
}

impl RetentionConfig {
    /// Returns what a user wrote of the limits by which the oldest messages go.
    pub fn limits(&self) -> String {
        let age = self.max_age.as_ref().map(|age| format!("max_age = \"{}\"", age.text));
        let count = self.max_msgs.map(|count| format!("max_msgs = {count}"));
        let bytes = self.max_bytes.map(|bytes| format!("max_bytes = \"{bytes:?}\""));
        let all: Vec<String> = age.into_iter().chain(count).chain(bytes).collect();
        all.join(", ")
    }

    /// Returns what a user wrote of streams that were dropped.
    pub fn of_dropped(&self) -> String {
        self.dropped.as_ref().map_or_else(String::new, |age| format!("dropped = \"{}\"", age.text))
    }

    /// Returns what a user wrote of timelines that were left.
    pub fn of_left(&self) -> String {
        let left = self.left_timelines.as_ref();
        left.map_or_else(String::new, |age| format!("left_timelines = \"{}\"", age.text))
    }

    /// Returns the shortest time that it names.
    pub fn shortest(&self) -> Option<Duration> {
        let ages = [&self.max_age, &self.dropped, &self.left_timelines];
        ages.into_iter().flatten().map(|age| age.time).min()
    }

    fn is_of(&self, tier: Tier) -> bool {
        self.tier.is_none_or(|its| its == tier)
    }

    fn limits_nothing(&self) -> bool {
        self.shortest().is_none() && self.max_msgs.is_none() && self.max_bytes.is_none()
    }
}

/// Returns the table that holds for a stream on a tier: the first that names both.
pub fn of<'a>(
    tables: &'a [RetentionConfig],
    tier: Tier,
    stream: &StreamName,
) -> Option<&'a RetentionConfig> {
    tables.iter().find(|table| table.is_of(tier) && table.streams.is_match(stream.as_str()))
}

/// Returns what is wrong with the tables, where something is.
pub(super) fn wrong(tables: &[RetentionConfig], journal: bool, wasabi: bool) -> Option<String> {
    if !tables.is_empty() && !journal {
        return Some(
            "`[[retention]]` wants `archive.layout = \"journal\"`: what a chain has is kept for ever"
                .into(),
        );
    }
    let (number, table) = tables.iter().zip(1..).find_map(|(table, number)| {
        let lost = table.tier == Some(Tier::Wasabi) && !wasabi;
        (lost || table.limits_nothing()).then_some((number, table))
    })?;
    Some(if table.limits_nothing() {
        format!(
            "`[[retention]]` number {number} has no limit, and would keep all: set `max_age`, `max_msgs`, `max_bytes`, `dropped` or `left_timelines`, or leave the table out"
        )
    } else {
        format!(
            "`[[retention]]` number {number} is for `tier = \"wasabi\"`, and there is no `[tertiary]` table: add that, or name `nas`"
        )
    })
}

/// Reads tables, for tests of what goes by them.
#[cfg(test)]
pub fn tables(text: &str) -> Result<Vec<RetentionConfig>, String> {
    #[derive(Deserialize)]
    struct File {
        retention: Vec<RetentionConfig>,
    }
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    let read = cim_runtime::config::load::<File>(file.path());
    read.map(|file| file.retention).map_err(|error| cim_runtime::error::chain(&error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_table_that_names_stream_and_tier_holds() {
        let text = "
            [[retention]]
            streams = [\"LOGS_*\"]
            tier = \"nas\"
            max_age = \"30d\"
            max_msgs = 7
            [[retention]]
            streams = [\"*\"]
            max_age = \"400d\"
            max_bytes = \"2GiB\"
            dropped = \"90d\"
            left_timelines = \"60d\"
        ";
        let tables = tables(text).unwrap();
        let limits = |tier, stream: &str| of(&tables, tier, &stream.parse().unwrap());
        let logs = limits(Tier::Nas, "LOGS_A").unwrap();
        assert_eq!(logs.limits(), "max_age = \"30d\", max_msgs = 7");
        assert_eq!(logs.shortest(), Some(Duration::from_secs(30 * 24 * 3600)));
        let others = limits(Tier::Wasabi, "LOGS_A").unwrap();
        assert_eq!(others.limits(), "max_age = \"400d\", max_bytes = \"2.0 GiB\"");
        assert_eq!(others.of_dropped(), "dropped = \"90d\"");
        assert_eq!(others.of_left(), "left_timelines = \"60d\"");
        assert!(limits(Tier::Nas, "ORDERS").unwrap().max_msgs.is_none());
        assert!(of(&tables[..1], Tier::Wasabi, &"LOGS_A".parse().unwrap()).is_none());
        assert_eq!(wrong(&tables, true, false), None);
    }

    #[test]
    fn a_table_that_does_nothing_is_told() {
        let table = |more: &str| format!("[[retention]]\nstreams = [\"*\"]\n{more}");
        let none = tables(&table("")).unwrap();
        assert!(wrong(&none, true, true).unwrap().contains("number 1 has no limit"), "{none:?}");
        let all = tables(&table("tier = \"wasabi\"\nmax_age = \"1d\"")).unwrap();
        assert!(wrong(&all, true, false).unwrap().contains("there is no `[tertiary]`"), "{all:?}");
        assert!(wrong(&all, false, true).unwrap().contains("archive.layout"), "{all:?}");
        assert_eq!(wrong(&all, true, true), None);
        for bad in
            ["max_age = \"0s\"", "max_msgs = 0", "max_age = 5", "tier = \"disk\"", "keep = 1"]
        {
            tables(&table(bad)).unwrap_err();
        }
        let empty = tables("[[retention]]\nstreams = []\nmax_age = \"1d\"").unwrap_err();
        assert!(empty.contains("`streams` is empty"), "{empty}");
    }
}
