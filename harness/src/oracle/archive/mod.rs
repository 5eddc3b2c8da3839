//! A tier, read by the oracle's own code according to docs/archive.md.
//!
//! It shares with the storage manager only the spelling of keys and the fields of an entry: hashes,
//! the log, the fold and the segments are checked here again.
//!
//! A stream's state is either in a journal, which holds all streams in one log ([`journal`]), or in
//! the stream's own chain ([`chain`]). [`Archive`] reads whichever it is.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use cim_core::archive::journal::{DeletesKnown, Served};
use cim_core::archive::key::{Chain, JournalOf};
use cim_core::archive::{ConsumerRecord, Deliveries, Segment, StreamRecord, TimelineRecord};
use cim_core::names::{ConsumerName, StreamName};
use futures_util::{StreamExt as _, TryStreamExt as _};
use s3::Bucket;
use tokio::time::Instant;

pub(crate) use self::damage::{Place, ends_reading};
use self::expired::Left;
use self::journal::Journal;
use self::store::Store;
pub(crate) use self::store::get;
use super::fingerprint::Fingerprint;
use super::segment;
use crate::error::{Error, Result};
use crate::scenario::Tier;

mod chain;
mod damage;
mod expired;
mod fold;
mod journal;
mod shared;
mod store;
mod stored;

/// The interval of looking for new journals and checkpoints.
const LOOK: Duration = Duration::from_secs(1);

/// A tier's archive of a stream, checked.
#[derive(Debug, Clone, PartialEq)]
pub struct Archived {
    /// The last entry's number.
    pub number: u64,
    /// The time of its commit, by its writer's clock.
    pub committed_at: jiff::Timestamp,
    /// The last sequence that the tier holds.
    pub watermark: u64,
    /// The live stream's first sequence when the last entry was made.
    pub first_seq: u64,
    /// The current timeline.
    pub timeline: u32,
    /// The segments in use, by timeline and first sequence.
    pub segments: BTreeMap<(u32, u64), Segment>,
    /// By timeline: its parent and the last sequence that both share.
    parents: BTreeMap<u32, Option<(u32, u64)>>,
    /// By timeline: its watermark, and the live stream's first sequence then.
    ends: BTreeMap<u32, (u64, u64)>,
    /// Sequences that were deleted after they were archived, by timeline.
    deleted: BTreeMap<u32, Vec<(u64, u64)>>,
    /// Sequences that were gone before they could be archived, by timeline.
    missed: BTreeMap<u32, Vec<(u64, u64)>>,
    /// Sequences by the timeline that had archived them, which were erased for good since.
    erased: BTreeMap<u32, Vec<(u64, u64)>>,
    /// The stream.
    pub stream: StreamRecord,
    /// Its consumers.
    pub consumers: Vec<ConsumerRecord>,
    /// The serving node, if its journal records one.
    pub served: Option<Served>,
    /// The age of its journal's view of deletes, if it records one.
    pub deletes_known: Option<DeletesKnown>,
    /// The consumers' states of single messages, if its journal records them.
    pub deliveries: BTreeMap<ConsumerName, Deliveries>,
    /// The messages that have left by rule, where its journal says so.
    left: Left,
}

/// A tier. Its journals are read when it is opened and on [`Self::advance`]; chains are read on
/// request.
#[derive(Debug)]
pub struct Archive {
    store: Store,
    of: JournalOf,
    journals: Vec<Journal>,
    looked: Option<Instant>,
}

impl Archive {
    /// Reads the journals of a tier.
    pub async fn open(bucket: &Bucket, tier: Tier) -> Result<Self> {
        let mut archive = Self::unread(bucket, tier);
        archive.look().await?;
        Ok(archive)
    }

    /// Makes a tier that has not been read yet.
    pub(super) fn unread(bucket: &Bucket, tier: Tier) -> Self {
        let of = match tier {
            Tier::Nas => JournalOf::Secondary,
            Tier::Wasabi => JournalOf::Tertiary,
        };
        Self { store: Store::new(bucket), of, journals: Vec::new(), looked: None }
    }

    /// Returns the tier's archive of a stream.
    pub async fn stream(&self, stream: &StreamName) -> Result<Option<Archived>> {
        match self.in_journal(stream) {
            Some(archived) => Ok(Some(archived.clone())),
            None => chain::read(&self.store, stream).await,
        }
    }

    /// Returns a journal's state of a stream.
    pub(super) fn in_journal(&self, stream: &StreamName) -> Option<&Archived> {
        Some(self.journal_of(stream)?.1)
    }

    /// Returns the journal of a stream: of two, the one with the later commit for it.
    fn journal_of(&self, stream: &StreamName) -> Option<(&Journal, &Archived)> {
        let known = self.journals.iter().filter_map(|j| Some((j, j.streams.get(stream)?)));
        known.max_by_key(|(_, archived)| archived.committed_at)
    }

    /// Returns the keys of the objects that decide on a stream's content, of those that every
    /// reader reads.
    pub(crate) async fn decisions(&self, stream: &StreamName) -> Result<Vec<String>> {
        if let Some((journal, _)) = self.journal_of(stream) {
            return Ok(journal.behind_checkpoint().collect());
        }
        let archived = chain::read(&self.store, stream).await?;
        let numbers = archived.into_iter().flat_map(|archived| 0..=archived.number);
        Ok(numbers.map(|number| Chain::Manifest.key(stream, number).to_string()).collect())
    }

    /// Reads the new entries of the journals.
    pub async fn advance(&mut self) -> Result<()> {
        if self.looked.is_none_or(|at| at.elapsed() >= LOOK) {
            return self.look().await;
        }
        for journal in &mut self.journals {
            journal.advance(&self.store).await?;
        }
        Ok(())
    }

    /// Reads the new entries, and looks for new journals.
    pub(super) async fn look(&mut self) -> Result<()> {
        self.looked = Some(Instant::now());
        for folder in self.store.list(self.of.prefix(), true).await? {
            let Some(name) = self.of.of_prefix(&folder) else { continue };
            match self.journals.iter_mut().find(|journal| journal.name == name) {
                Some(journal) => journal.advance_past_checkpoint(&self.store).await?,
                None => self.journals.push(Journal::open(&self.store, self.of, name).await?),
            }
        }
        Ok(())
    }

    /// Reports whether the tier has a journal, as far as is known.
    pub(super) fn has_journal(&self) -> bool {
        !self.journals.is_empty()
    }

    /// Returns the bytes of the objects that hold a stream's messages; shared objects count whole.
    pub async fn stored(&self, archived: &Archived) -> Result<u64> {
        let (mut bytes, mut shared) = (0, BTreeSet::new());
        for segment in archived.segments.values() {
            if segment.part.is_none() {
                bytes += segment.size;
            } else if shared.insert(&segment.key) {
                bytes += self.store.size(&segment.key).await?.unwrap_or_default();
            }
        }
        Ok(bytes)
    }

    /// Returns the key of an object that a tier names for some streams and lacks; `None` if it
    /// lacks none.
    pub(crate) async fn lacking(
        &self,
        streams: impl Iterator<Item = &StreamName>,
    ) -> Result<Option<String>> {
        let mut named = BTreeSet::new();
        for stream in streams {
            let archived = self.stream(stream).await?;
            let segments =
                archived.into_iter().flat_map(|archived| archived.segments.into_values());
            named.extend(segments.map(|segment| segment.key));
        }
        let folder = |key: &str| key[..key.rfind('/').map_or(0, |end| end + 1)].to_owned();
        for folder in named.iter().map(|key| folder(key)).collect::<BTreeSet<_>>() {
            for key in self.store.list(&folder, false).await? {
                named.remove(&key);
            }
        }
        Ok(named.pop_first())
    }

    /// Returns the number of requests so far.
    pub fn asked(&self) -> u64 {
        self.store.asked()
    }
}

/// Returns the fingerprints of a segment's messages, checked against its record.
async fn content(store: &Store, segment: &Segment, seed: u64) -> Result<Vec<Fingerprint>> {
    let key = &segment.key;
    let missing = || Error::step(format!("segment `{key}` is missing"));
    let damaged = |what| Error::step(format!("segment `{key}` is damaged: {what}"));
    let Some(part) = &segment.part else {
        let bytes = store.get(key).await?.ok_or_else(missing)?;
        return segment::read(segment, bytes, seed).map_err(damaged);
    };
    let shared = store.rows(key, (part.group, part.groups)).await?.ok_or_else(missing)?;
    let fingerprints = shared.and_then(|shared| shared.read(segment, part, seed));
    fingerprints.map_err(|what| {
        let Segment { first_seq, last_seq, .. } = segment;
        damaged(format!("`{}` from {first_seq} to {last_seq}: {what}", part.stream))
    })
}

impl Archived {
    fn adopt(&mut self, timelines: &[TimelineRecord]) {
        for timeline in timelines {
            let parent = timeline.fork.parent.as_ref().map(|p| (p.timeline, p.last_seq));
            self.parents.insert(timeline.number, parent);
            let end = (timeline.watermark.seq, timeline.state.first_seq);
            self.ends.insert(timeline.number, end);
            let deleted = timeline.deleted.iter().map(|range| (range.first, range.last));
            self.deleted.insert(timeline.number, deleted.collect());
            let missed = timeline.missed.iter().map(|range| (range.first, range.last));
            self.missed.insert(timeline.number, missed.collect());
        }
    }

    /// Returns another timeline's history, or the current one for `None`.
    pub fn of(mut self, timeline: Option<u32>) -> Option<Self> {
        if let Some(timeline) = timeline {
            (self.watermark, self.first_seq) = *self.ends.get(&timeline)?;
            self.timeline = timeline;
        }
        Some(self)
    }

    /// Returns the archive with the messages that were purged, deleted or have expired.
    #[must_use]
    pub fn with_dropped(&self) -> Self {
        Self { first_seq: 0, deleted: BTreeMap::new(), ..self.clone() }
    }

    /// Returns the timelines whose segments hold the current timeline, oldest first, each with the
    /// last sequence that counts.
    fn lineage(&self) -> Vec<(u32, u64)> {
        let mut lineage = vec![(self.timeline, self.watermark)];
        let mut at = self.timeline;
        while let Some((parent, last)) = self.parents.get(&at).copied().flatten() {
            // A circle of forks would never end.
            if lineage.iter().any(|(timeline, _)| *timeline == parent) {
                break;
            }
            let bound = lineage.last().map_or(last, |(_, bound)| last.min(*bound));
            lineage.push((parent, bound));
            at = parent;
        }
        lineage.reverse();
        lineage
    }

    /// Returns the deleted ranges of the current timeline. After the fork to a child, a delete in
    /// the parent was of another message with the same sequence.
    fn gone(&self, lineage: &[(u32, u64)]) -> Vec<(u64, u64)> {
        up_to_forks(&self.deleted, lineage)
    }

    /// Returns the sequences of the current timeline that were dropped before they could be
    /// archived: only those before the stream's first sequence can be.
    pub fn missed(&self) -> impl Iterator<Item = u64> {
        let missed = up_to_forks(&self.missed, &self.lineage());
        let first_seq = self.first_seq;
        missed
            .into_iter()
            .flat_map(|(first, last)| first..=last)
            .filter(move |seq| *seq < first_seq)
    }

    /// Returns the sequences of the current timeline that were erased for good, as signed notes say: no copy
    /// has them, and nothing was lost.
    pub fn erased(&self) -> impl Iterator<Item = u64> {
        let erased = up_to_forks(&self.erased, &self.lineage());
        erased.into_iter().flat_map(|(first, last)| first..=last)
    }

    /// Reads and checks every segment of the current timeline, and returns the fingerprints of the
    /// stream, ascending by sequence.
    pub async fn messages(&self, bucket: &Bucket, seed: u64) -> Result<Vec<Fingerprint>> {
        let lineage = self.lineage();
        let mut from = self.first_seq;
        let mut wanted: Vec<(&Segment, u64, u64)> = Vec::new();
        for (timeline, until) in &lineage {
            let own = self.segments.values().filter(|s| s.timeline == *timeline);
            wanted.extend(own.map(|s| (s, s.first_seq.max(from), s.last_seq.min(*until))));
            from = from.max(until.saturating_add(1));
        }
        wanted.retain(|(_, first, last)| first <= last);
        wanted.sort_by_key(|(_, first, _)| *first);
        let gone = self.gone(&lineage);
        let store = &Store::new(bucket);
        let read: Vec<Vec<Fingerprint>> = futures_util::stream::iter(wanted)
            .map(|(segment, first, last)| async move {
                let fingerprints = content(store, segment, seed).await?;
                let wanted = fingerprints.into_iter().filter(|p| (first..=last).contains(&p.seq));
                Ok::<_, Error>(wanted.collect())
            })
            .buffered(2)
            .try_collect()
            .await?;
        let mut fingerprints: Vec<Fingerprint> = read.into_iter().flatten().collect();
        fingerprints
            .retain(|p| !gone.iter().any(|(first, last)| (*first..=*last).contains(&p.seq)));
        Ok(fingerprints)
    }
}

/// Returns the ranges of a lineage, each timeline's cut off where the next one forks.
fn up_to_forks(all: &BTreeMap<u32, Vec<(u64, u64)>>, lineage: &[(u32, u64)]) -> Vec<(u64, u64)> {
    let of = |timeline: &u32| all.get(timeline).into_iter().flatten().copied();
    let cut = lineage
        .iter()
        .flat_map(|(timeline, until)| of(timeline).map(|(first, last)| (first, last.min(*until))));
    cut.filter(|(first, last)| first <= last).collect()
}
