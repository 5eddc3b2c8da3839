//! Other journals of the bucket: of two that have a stream, readers believe the one that spoke last.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cim_core::archive::ArchiveState;
use cim_core::archive::journal::{JournalState, Served};
use cim_core::archive::key::JournalOf;
use cim_core::names::{JournalName, StreamName};
use cim_runtime::error::chain;
use jiff::Timestamp;
use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::journal::{self, OpenError};
use crate::s3::{S3Error, Store};

/// Age that what is known of them may have for a stream that begins: many do at once.
const NEW: Duration = Duration::from_secs(5);
/// Age that it may have for one that is there: what fails is opened again and again.
const OLD: Duration = Duration::from_mins(5);

/// Other journals, as they were a while ago.
#[derive(Debug, Default)]
pub struct OtherJournals(Mutex<Option<(Instant, BTreeMap<StreamName, Other>)>>);

/// Another journal's word on a stream.
#[derive(Debug, Clone)]
pub struct Other {
    /// The journal.
    pub journal: JournalName,
    /// The time at which it spoke of it last.
    pub committed_at: Timestamp,
    /// By whom the stream is served.
    pub served: Option<Served>,
    /// The time at which the stream was created, in each of its timelines.
    pub births: BTreeSet<Timestamp>,
}

impl OtherJournals {
    /// Returns what the journal says of a stream that spoke of it last, of all but `own`; `begins` where `own` has
    /// nothing of it.
    pub async fn latest(
        &self,
        nas: &Store,
        own: &JournalName,
        stream: &StreamName,
        begins: bool,
    ) -> Result<Option<Other>, S3Error> {
        let old = if begins { NEW } else { OLD };
        let mut known = self.0.lock().await;
        if known.as_ref().is_none_or(|(at, _)| at.elapsed() > old) {
            let journals = read(nas, own).await?;
            *known = Some((Instant::now(), summary(&journals)));
        }
        Ok(known.as_ref().and_then(|(_, streams)| streams.get(stream).cloned()))
    }
}

/// Reads the journals of a bucket but one. One that is damaged counts as far as it can be read.
pub async fn read(nas: &Store, but: &JournalName) -> Result<Vec<JournalState>, S3Error> {
    let of = JournalOf::Secondary;
    let mut journals = Vec::new();
    for name in journal::names(nas, of).await?.into_iter().filter(|name| name != but) {
        match journal::open_before_damage(nas, of, &name).await {
            Ok(opened) => journals.push(opened.state),
            Err(OpenError::S3(error)) => return Err(error),
            Err(error) => tracing::warn!(
                "journal `{name}` of this bucket cannot be read, so it is not known whether it has streams of this host: {}",
                chain(&error)
            ),
        }
    }
    Ok(journals)
}

/// Returns the archive of a stream in the journal that spoke of it last.
pub fn latest<'a>(
    journals: impl IntoIterator<Item = &'a JournalState>,
    stream: &StreamName,
) -> Option<(&'a JournalName, &'a ArchiveState)> {
    let having = journals.into_iter().filter_map(|j| Some((&j.journal, j.streams.get(stream)?)));
    having.max_by_key(|(_, state)| state.committed_at)
}

fn summary(journals: &[JournalState]) -> BTreeMap<StreamName, Other> {
    let streams: BTreeSet<&StreamName> = journals.iter().flat_map(|j| j.streams.keys()).collect();
    let other = |stream| {
        let (journal, state) = latest(journals, stream)?;
        Some((stream.clone(), Other::of(journal, state)))
    };
    streams.into_iter().filter_map(other).collect()
}

impl Other {
    fn of(journal: &JournalName, state: &ArchiveState) -> Self {
        Self {
            journal: journal.clone(),
            committed_at: state.committed_at,
            served: state.served.clone(),
            births: super::foreign::births(state),
        }
    }
}
