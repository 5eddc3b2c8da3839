//! One erasure: the NAS, then Wasabi, each as its journal's writer.

use std::collections::BTreeMap;
use std::sync::Arc;

use cim_core::archive::SeqRange;
use cim_core::archive::journal::{
    Change, ErasedFrom, ErasedIn, Erasure, ErasureNote, JournalError, JournalState,
};
use cim_core::archive::key::{Chain, JournalOf};
use cim_core::names::{JournalName, StreamName};
use cim_runtime::nats::Nkey;
use parquet::errors::ParquetError;
use serde::Serialize;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::clean;
use super::note::sign;
use super::plan::{Found, Wanted, Work, plan};
use super::rewrite::{RewriteError, Rewritten, rewrite};
use super::scan::{Scanned, Seen, Unread, scan};
use super::versions::{OldVersion, old_versions};
use crate::chain::{self, ReadError};
use crate::clock;
use crate::journal::journal_of;
use crate::journal::{
    self, Commit, Journal, NotCommitted, OpenError, Outbox, OutboxError, Place, make,
};
use crate::s3::{S3Error, Store, Tier};

/// Bytes that may gather while an entry is on its way: nothing else is said here.
const ROOM: usize = 1 << 20;
/// The number of times that the journal is read anew where another writer was faster.
const TRIES: u32 = 5;

/// An erasure that did not come to its end. It is run again.
#[derive(Debug, thiserror::Error)]
pub enum EraseError {
    /// S3 did not answer.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// A journal cannot be read.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// A chain cannot be read.
    #[error(transparent)]
    Chain(#[from] ReadError),
    /// The entry was not committed.
    #[error(transparent)]
    Journal(#[from] NotCommitted),
    /// Wasabi's was not.
    #[error(transparent)]
    Decide(#[from] OutboxError),
    /// The remaining messages could not be written.
    #[error(transparent)]
    Rewrite(#[from] RewriteError),
    /// Wasabi's entry could not be made.
    #[error("cannot encode a journal entry")]
    Encode(#[from] ParquetError),
    /// An entry about it would not be taken.
    #[error(transparent)]
    Refused(#[from] JournalError),
    /// The NAS did not say whether the last entry is there.
    #[error(
        "the NAS did not answer whether it has the last entry, and nothing is deleted there yet: run this again"
    )]
    Unseen,
    /// The stream is in a chain alone.
    #[error(
        "stream `{stream}` is archived on {tier} as a chain, from which messages cannot be erased: set `layout = \"journal\"` in \
         `[archive]`, let the storage manager run until `status` shows it level on both tiers, and run this again"
    )]
    InChain {
        /// The tier.
        tier: Tier,
        /// The stream.
        stream: StreamName,
    },
    /// Another journal of the bucket has it too.
    #[error(
        "journal `{journal}` on {tier} has stream `{stream}` too, and only its own storage manager may write its objects: run this \
         with its configuration first, or delete its objects if its host is gone"
    )]
    InTwo {
        /// The tier.
        tier: Tier,
        /// The other journal.
        journal: JournalName,
        /// The stream.
        stream: StreamName,
    },
}

/// The request for an erasure: its author and its reason.
pub struct Request<'a> {
    /// Signs the note.
    pub key: &'a Nkey,
    /// Why, in words that stay in the archive.
    pub reason: String,
}

/// The messages that were, or are to be, erased of a tier.
#[derive(Debug, Serialize)]
pub struct Tiers {
    /// `nas` or `wasabi`.
    pub tier: Tier,
    /// The messages.
    pub messages: u64,
    /// Their sequences, by timeline.
    pub timelines: Vec<ErasedIn>,
    /// Objects that are written anew.
    pub rewritten: usize,
    /// Objects that are deleted.
    pub deleted: usize,
    /// Objects that hold erased messages, which the key may not delete.
    pub kept: Vec<String>,
    /// Objects that could not be looked through.
    pub unread: Vec<Unread>,
    /// Old versions that the bucket keeps.
    pub old_versions: Vec<OldVersion>,
}

/// The task that erases.
pub struct Eraser {
    /// The NAS.
    pub nas: Arc<Store>,
    /// Wasabi, where there is one.
    pub wasabi: Option<Arc<Store>>,
    /// The journal.
    pub journal: JournalName,
    /// The messages to erase.
    pub wanted: Arc<Wanted>,
    /// Node and process.
    pub by: Arc<str>,
    /// The objects that were looked through already.
    pub seen: Seen,
}

/// A tier that was looked through.
struct Looked {
    others: Vec<JournalState>,
    scanned: Scanned,
    work: Work,
    report: Tiers,
}

impl Eraser {
    /// Looks what there is to be erased, and changes nothing.
    ///
    /// # Errors
    /// When a tier cannot be read, or holds the stream in a way of which nothing can be erased.
    pub async fn look(&self) -> Result<Vec<Tiers>, EraseError> {
        let mut found = Vec::new();
        for store in self.stores() {
            let of = journal_of(store.tier());
            let (state, _) = journal::open(store, of, &self.journal).await?;
            let Looked { others, mut report, .. } = self.look_through(store, &state).await?;
            let leftovers =
                clean::leftovers(store, &state, &others, &self.wanted, &self.seen).await?;
            report.deleted = report.rewritten + leftovers.len();
            found.push(report);
        }
        Ok(found)
    }

    /// Erases the messages, and deletes all objects that hold them.
    ///
    /// # Errors
    /// When a tier does not answer, or another writer is always faster.
    pub async fn erase(&self, request: &Request<'_>) -> Result<Vec<Tiers>, EraseError> {
        let id = uuid::Uuid::now_v7().to_string();
        let mut tries = 0;
        loop {
            tries += 1;
            let opened = journal::open(&self.nas, JournalOf::Secondary, &self.journal).await?;
            let (nas, by) = (Arc::clone(&self.nas), Arc::clone(&self.by));
            let abort = CancellationToken::new();
            let (journal, writing) = Journal::start(nas, opened, by, ROOM, abort);
            let done = self.on_both(&journal, request, &id).await;
            drop(journal);
            writing.await.expect("writing the journal does not panic");
            match done {
                Err(EraseError::Journal(NotCommitted::Closed(closed))) if tries < TRIES => {
                    tracing::warn!("another writer committed first, trying again: {closed}");
                }
                other => return other,
            }
        }
    }

    /// Adds the old versions that the tiers' buckets keep.
    ///
    /// # Errors
    /// When a tier does not answer.
    pub async fn add_old_versions(&self, reports: &mut [Tiers]) -> Result<(), EraseError> {
        for (store, report) in self.stores().zip(reports) {
            let prefixes = clean::prefixes(&self.journal, &self.wanted.stream);
            report.old_versions = old_versions(store, prefixes, &self.wanted).await?;
        }
        Ok(())
    }

    fn stores(&self) -> impl Iterator<Item = &Arc<Store>> {
        [&self.nas].into_iter().chain(self.wasabi.as_ref())
    }

    /// Looks through a tier, if all of the stream there is this journal's.
    async fn look_through(
        &self,
        store: &Store,
        state: &JournalState,
    ) -> Result<Looked, EraseError> {
        let (tier, stream) = (store.tier(), &self.wanted.stream);
        let mut others = Vec::new();
        for name in journal::names(store, state.of).await? {
            if name == self.journal {
                continue;
            }
            let (other, _) = journal::open(store, state.of, &name).await?;
            if other.streams.contains_key(stream) {
                let stream = stream.clone();
                return Err(EraseError::InTwo { tier, journal: name, stream });
            }
            others.push(other);
        }
        if !state.streams.contains_key(stream)
            && chain::load(store, Chain::Manifest, stream).await?.is_some()
        {
            return Err(EraseError::InChain { tier, stream: stream.clone() });
        }
        let scanned = scan(store, state, &self.wanted, &self.seen).await?;
        let work = plan(state, stream, &scanned.found);
        let report = Tiers {
            tier,
            messages: scanned.found.messages(),
            timelines: timelines(&scanned.found),
            rewritten: work.objects(),
            deleted: 0,
            kept: Vec::new(),
            unread: scanned.unread.clone(),
            old_versions: Vec::new(),
        };
        Ok(Looked { others, scanned, work, report })
    }

    /// Erases on both tiers. Wasabi's decided entries lie on the NAS too, so that is cleaned when Wasabi has gone on.
    async fn on_both(
        &self,
        journal: &Journal,
        request: &Request<'_>,
        id: &str,
    ) -> Result<Vec<Tiers>, EraseError> {
        let state = journal.with(JournalState::clone);
        let mut looked = self.look_through(&self.nas, &state).await?;
        if let Some(changes) = self.change(&self.nas, &state, &mut looked, request, id).await? {
            let commits = changes.into_iter().map(|(stream, change)| (stream, commit(change)));
            journal.commit(commits.collect(), Vec::new(), Instant::now()).await?;
        }
        let at_wasabi = match &self.wasabi {
            Some(wasabi) => Some(self.at_wasabi(wasabi, journal, request, id).await?),
            None => None,
        };
        let Looked { others, mut report, .. } = looked;
        // From here on the log is known by its last entry: those before it may go.
        if !journal.look().await {
            return Err(EraseError::Unseen);
        }
        let state = journal.with(JournalState::clone);
        if let Some(collected) = self.clean(&self.nas, &state, &others, &mut report).await? {
            journal.commit(Vec::new(), collected, Instant::now()).await?;
            let state = journal.with(JournalState::clone);
            self.settle(&self.nas, &state, &mut report).await?;
        }
        Ok([report].into_iter().chain(at_wasabi).collect())
    }

    async fn at_wasabi(
        &self,
        wasabi: &Arc<Store>,
        journal: &Journal,
        request: &Request<'_>,
        id: &str,
    ) -> Result<Tiers, EraseError> {
        let used = |key: &str| journal.with(|state| state.shares(key));
        let (nas, to) = (Arc::clone(&self.nas), Arc::clone(wasabi));
        let mut decided = Outbox::open(nas, to, &self.journal, used).await?;
        let mut looked = self.look_through(wasabi, &decided.state).await?;
        let state = decided.state.clone();
        if let Some(changes) = self.change(wasabi, &state, &mut looked, request, id).await? {
            self.decide(&mut decided, journal, changes, Vec::new()).await?;
        }
        let Looked { others, mut report, .. } = looked;
        let state = decided.state.clone();
        if let Some(collected) = self.clean(wasabi, &state, &others, &mut report).await? {
            self.decide(&mut decided, journal, BTreeMap::new(), collected).await?;
            self.settle(wasabi, &decided.state, &mut report).await?;
        }
        Ok(report)
    }

    /// Writes anew what is to be, and returns what is to be said of it; `None` where that is nothing.
    async fn change(
        &self,
        store: &Store,
        state: &JournalState,
        looked: &mut Looked,
        request: &Request<'_>,
        id: &str,
    ) -> Result<Option<BTreeMap<StreamName, Change>>, EraseError> {
        let (stream, work) = (&self.wanted.stream, std::mem::take(&mut looked.work));
        if work == Work::default() {
            return Ok(None);
        }
        let found = Arc::new(looked.scanned.found.clone());
        let rewritten = rewrite(store, state, stream, &found, work).await?;
        let Rewritten { mut changes, segments } = rewritten;
        if found.messages() > 0 {
            let note = self.note(store.tier(), &found, segments, request, id);
            changes.entry(stream.clone()).or_default().erased.push(note);
        }
        for (stream, change) in &changes {
            state.check_change(stream, change)?;
        }
        Ok(Some(changes))
    }

    fn note(
        &self,
        tier: Tier,
        found: &Found,
        segments: Vec<ErasedFrom>,
        request: &Request<'_>,
        id: &str,
    ) -> Erasure {
        let note = ErasureNote {
            id: id.to_owned(),
            stream: self.wanted.stream.clone(),
            journal: self.journal.clone(),
            tier: tier.id().to_owned(),
            at: clock::now(),
            by: self.by.to_string(),
            reason: request.reason.clone(),
            messages: found.messages(),
            timelines: timelines(found),
            segments,
        };
        sign(&note, request.key)
    }

    /// Puts an entry at Wasabi.
    async fn decide(
        &self,
        decided: &mut Outbox,
        journal: &Journal,
        changes: BTreeMap<StreamName, Change>,
        collected: Vec<String>,
    ) -> Result<(), EraseError> {
        let commits = changes.into_iter().map(|(stream, change)| (stream, commit(change)));
        let commits: BTreeMap<StreamName, Commit> = commits.collect();
        let place = Place::after(&decided.state).behind(&self.nas, decided.last).await;
        let by = Arc::clone(&self.by);
        let made = tokio::task::spawn_blocking(move || make(place, commits, collected, &by));
        let made = made.await.expect("encoding does not panic")?;
        Ok(decided.put(made, journal, &CancellationToken::new()).await?)
    }

    /// Deletes what nothing uses any more and holds what was erased, behind a checkpoint. Returns what an entry is to say
    /// of it; `None` where nothing was left to be done.
    async fn clean(
        &self,
        store: &Store,
        state: &JournalState,
        others: &[JournalState],
        report: &mut Tiers,
    ) -> Result<Option<Vec<String>>, EraseError> {
        let keys = clean::leftovers(store, state, others, &self.wanted, &self.seen).await?;
        if keys.is_empty() && !clean::is_unfinished(store, state).await? {
            return Ok(None);
        }
        clean::restate(store, state).await?;
        let deleted = clean::delete(store, keys).await?;
        (report.deleted, report.kept) = (deleted.gone.len(), deleted.refused);
        let replaced = state.superseded.iter().map(|superseded| superseded.key.clone());
        Ok(Some(replaced.filter(|key| deleted.gone.contains(key)).collect()))
    }

    /// Restates what the archive is once more, and deletes what would lead to what is gone: older checkpoints, and the
    /// stream's old chain.
    async fn settle(
        &self,
        store: &Store,
        state: &JournalState,
        report: &mut Tiers,
    ) -> Result<(), EraseError> {
        clean::restate(store, state).await?;
        let before = state.last.map_or(0, |(number, ..)| number.saturating_sub(1));
        let mut deleted = clean::drop_checkpoints(store, state, before).await?;
        if state.streams.get(&self.wanted.stream).is_some_and(|state| !state.erased.is_empty()) {
            let chain = clean::drop_chain(store, &self.wanted.stream).await?;
            deleted.gone.extend(chain.gone);
        }
        report.deleted += deleted.gone.len();
        Ok(())
    }
}

fn commit(change: Change) -> Commit {
    Commit { change, ..Commit::default() }
}

fn timelines(found: &Found) -> Vec<ErasedIn> {
    let all = found.hits.iter().map(|(timeline, hits)| {
        let sequences: Vec<SeqRange> = hits.iter().collect();
        ErasedIn { timeline: *timeline, sequences }
    });
    all.collect()
}
