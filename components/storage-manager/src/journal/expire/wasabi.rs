//! Lets go of what Wasabi is not to keep any longer: said with what else its next entry says.

use std::collections::BTreeMap;
use std::sync::Arc;

use cim_core::archive::journal::JournalState;
use cim_core::names::StreamName;

use super::decide::{Bounds, Copied, Live, decide};
use super::run::{live, said};
use crate::clock;
use crate::config::retention;
use crate::journal::{Commit, Journal};
use crate::s3::Tier;
use crate::tier::Context;

/// Adds what leaves Wasabi to what its next entry says. A stream of which segments are replaced in it has its turn in the
/// one after: both would speak of the same.
pub async fn say(
    context: &Arc<Context>,
    journal: &Journal,
    there: &JournalState,
    commits: &mut BTreeMap<StreamName, Commit>,
) {
    for (stream, archive) in &there.streams {
        let Some(rule) = retention::of(&context.config.retention, Tier::Wasabi, stream) else {
            continue;
        };
        let replaced = |commits: &BTreeMap<StreamName, Commit>| {
            commits.get(stream).is_some_and(|commit| !commit.change.replace.is_empty())
        };
        let by = |live| {
            let bounds = Bounds { live, copied: Copied::All, now: clock::now() };
            decide(archive, rule, &bounds)
        };
        if replaced(commits) || by(Live::Unknown).is_empty() {
            continue;
        }
        let Some(found) = live(context, stream).await else { continue };
        // Wasabi may not know yet where the stream begins; the NAS is closer to it.
        let first = journal.stream(stream, |nas| nas.current().state.first_seq);
        let found = match (found, first) {
            (Live::From(live), Some(first)) => Live::From(live.min(first)),
            (found, _) => found,
        };
        let expired = by(found);
        if expired.is_empty() {
            continue;
        }
        let mut commit = Commit::default();
        commit.change.expired = expired;
        for line in said(stream, &commit, Tier::Wasabi) {
            tracing::info!("{line}");
        }
        commits.entry(stream.clone()).or_default().merge(commit);
    }
}
