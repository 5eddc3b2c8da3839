//! Since when JetStream does not have a stream any more: from then on `dropped` counts.

use std::collections::BTreeSet;

use cim_core::archive::journal::{Absent, Change};
use cim_core::names::StreamName;
use cim_runtime::error::chain;

use crate::clock;
use crate::config::retention;
use crate::journal::{Commit, Journal};
use crate::s3::Tier;
use crate::tier::Context;

/// Returns what is to be said of streams that JetStream does not have any more, or has again. Where it has none at all
/// nothing is: a server that lost its disk looks like that, and its streams are waited for.
pub(super) async fn news(context: &Context, journal: &Journal) -> Vec<(StreamName, Commit)> {
    let tables = &context.config.retention;
    if tables.iter().all(|table| table.dropped.is_none()) {
        return Vec::new();
    }
    let names: BTreeSet<String> = match context.jetstream.stream_names().await {
        Ok(names) => names.into_iter().collect(),
        Err(error) => {
            tracing::debug!("streams cannot be listed: {}", chain(&error));
            return Vec::new();
        }
    };
    if names.is_empty() {
        return Vec::new();
    }
    let now = clock::now();
    let mut news = Vec::new();
    journal.with(|state| {
        for (stream, archive) in &state.streams {
            let since = match archive.retention.absent_since {
                None if !names.contains(stream.as_str()) => Some(now),
                Some(_) if names.contains(stream.as_str()) => None,
                _ => continue,
            };
            let absent = Some(Absent { since });
            let change = Change { absent, ..Change::default() };
            news.push((stream.clone(), Commit { change, ..Commit::default() }));
        }
    });
    for (stream, commit) in &news {
        let rules = [Tier::Nas, Tier::Wasabi].map(|tier| retention::of(tables, tier, stream));
        let gone = commit.change.absent.as_ref().is_some_and(|absent| absent.since.is_some());
        let rule = rules.into_iter().flatten().find(|table| table.dropped.is_some());
        if let (true, Some(rule)) = (gone, rule) {
            tracing::warn!(
                "stream `{stream}` is no longer in JetStream: by `{}` it leaves the archive, unless it is restored before",
                rule.of_dropped()
            );
        }
    }
    news
}
