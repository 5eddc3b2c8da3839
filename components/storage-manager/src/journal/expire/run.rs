//! Lets go of what the NAS is not to keep any longer.

use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::journal::{Change, Expired};
use cim_core::names::StreamName;
use cim_runtime::error::chain;
use tokio::time::Instant;

use super::decide::{Bounds, Copied, Live, decide};
use super::{absent, in_words};
use crate::clock;
use crate::config::retention;
use crate::hooks::fail_point;
use crate::journal::{Commit, Journal, NotCommitted};
use crate::s3::Tier;
use crate::tier::Context;

/// The longest and the shortest time between two looks.
const PACE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Lets go from time to time.
#[derive(Debug, Default)]
pub struct Expiring {
    looked: Option<Instant>,
}

impl Expiring {
    /// Lets go of what may go now, if it is time to look.
    ///
    /// # Errors
    /// When the journal was closed, or did not take it.
    pub async fn once(
        &mut self,
        context: &Arc<Context>,
        journal: &Journal,
    ) -> Result<(), NotCommitted> {
        let tables = &context.config.retention;
        if tables.is_empty() || self.looked.is_some_and(|looked| looked.elapsed() < pace(tables)) {
            return Ok(());
        }
        self.looked = Some(Instant::now());
        let news = absent::news(context, journal).await;
        if !news.is_empty() {
            journal.commit(news, Vec::new(), Instant::now()).await?;
        }
        let mut commits = Vec::new();
        let streams: Vec<StreamName> =
            journal.with(|state| state.streams.keys().cloned().collect());
        for stream in streams {
            let expired = leaving(context, journal, &stream).await;
            if !expired.is_empty() {
                let change = Change { expired, ..Change::default() };
                commits.push((stream, Commit { change, ..Commit::default() }));
            }
        }
        if commits.is_empty() {
            return Ok(());
        }
        let said: Vec<String> =
            commits.iter().flat_map(|(stream, commit)| said(stream, commit, Tier::Nas)).collect();
        fail_point!(ExpireBefore);
        journal.commit(commits, Vec::new(), Instant::now()).await?;
        fail_point!(ExpireAfter);
        for line in said {
            tracing::info!("{line}");
        }
        Ok(())
    }
}

/// Returns how long after a look the next one is: where hours count, minutes do not matter.
fn pace(tables: &[retention::RetentionConfig]) -> Duration {
    let shortest = tables.iter().filter_map(retention::RetentionConfig::shortest).min();
    shortest.map_or(PACE.1, |shortest| (shortest / 4).clamp(PACE.0, PACE.1))
}

/// Says what leaves.
pub(super) fn said(stream: &StreamName, commit: &Commit, tier: Tier) -> Vec<String> {
    let lines = in_words(&commit.change.expired).into_iter();
    lines.map(|line| format!("stream `{stream}`, {tier}: {line}")).collect()
}

/// Returns what of a stream leaves the NAS.
async fn leaving(context: &Context, journal: &Journal, stream: &StreamName) -> Vec<Expired> {
    let Some(rule) = retention::of(&context.config.retention, Tier::Nas, stream) else {
        return Vec::new();
    };
    let copied = match context.wasabi {
        Some(_) => context.copied.of(stream),
        None => Copied::All,
    };
    let by = |live| {
        let bounds = Bounds { live, copied, now: clock::now() };
        journal.stream(stream, |state| decide(state, rule, &bounds)).unwrap_or_default()
    };
    if by(Live::Unknown).is_empty() {
        return Vec::new();
    }
    match live(context, stream).await {
        Some(live) => by(live),
        None => Vec::new(),
    }
}

/// Asks JetStream what it has of a stream; `None` where it does not say.
pub(super) async fn live(context: &Context, stream: &StreamName) -> Option<Live> {
    match context.jetstream.stream_info(stream.as_str(), false).await {
        Ok(info) => Some(Live::From(info.state.first_seq)),
        Err(error) if error.not_found() => Some(Live::Absent),
        Err(error) => {
            tracing::debug!(stream = %stream, "what it holds is not known: {}", chain(&error));
            None
        }
    }
}
