//! Since when JetStream does not have a stream any more: from then on `dropped` counts.

use std::collections::BTreeSet;

use cim_core::archive::ArchiveState;
use cim_core::archive::journal::{Absent, Change, JournalState};
use cim_core::names::StreamName;
use cim_runtime::error::chain;
use jiff::Timestamp;

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
    let turns = journal.with(|state| turns(state, &names, clock::now()));
    let commit = |(stream, absent)| {
        let change = Change { absent: Some(absent), ..Change::default() };
        (stream, Commit { change, ..Commit::default() })
    };
    let news: Vec<(StreamName, Commit)> = turns.into_iter().map(commit).collect();
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

/// Returns the streams that are gone since the last look, and those that are back. `names` are JetStream's; where it has
/// none at all it may have lost its disk, and no stream counts as gone.
fn turns(
    state: &JournalState,
    names: &BTreeSet<String>,
    now: Timestamp,
) -> Vec<(StreamName, Absent)> {
    if names.is_empty() {
        return Vec::new();
    }
    let turn = |(stream, archive): (&StreamName, &ArchiveState)| {
        let since = match archive.retention.absent_since {
            None if !names.contains(stream.as_str()) => Some(now),
            Some(_) if names.contains(stream.as_str()) => None,
            _ => return None,
        };
        Some((stream.clone(), Absent { since }))
    };
    state.streams.iter().filter_map(turn).collect()
}

#[cfg(test)]
mod tests {
    use cim_core::archive::key::JournalOf;

    use super::*;
    use crate::journal::testing::{apply, begin, empty, stream};

    const NOW: Timestamp = Timestamp::UNIX_EPOCH;

    fn journal() -> JournalState {
        let mut state = empty(JournalOf::Secondary);
        let begun = |index| (stream(index), Change { begin: Some(begin()), ..Change::default() });
        apply(&mut state, (0..2).map(begun).collect());
        state
    }

    fn names(indices: &[usize]) -> BTreeSet<String> {
        indices.iter().map(|index| stream(*index).to_string()).collect()
    }

    #[test]
    fn a_stream_that_is_missing_beside_another_is_gone() {
        let gone = turns(&journal(), &names(&[1]), NOW);
        assert_eq!(gone, [(stream(0), Absent { since: Some(NOW) })]);
        assert_eq!(turns(&journal(), &names(&[0, 1]), NOW), []);
    }

    #[test]
    fn a_server_without_streams_has_dropped_none() {
        assert_eq!(turns(&journal(), &names(&[]), NOW), []);
    }

    #[test]
    fn one_that_is_back_is_no_longer_gone() {
        let mut state = journal();
        let absent = Some(Absent { since: Some(NOW) });
        let change = Change { absent, ..Change::default() };
        apply(&mut state, [(stream(0), change)].into_iter().collect());
        assert_eq!(turns(&state, &names(&[1]), NOW), []);
        assert_eq!(turns(&state, &names(&[0, 1]), NOW), [(stream(0), Absent { since: None })]);
    }
}
