//! Makes what an archive is after a year: of streams with an event of 200 bytes a second each, at default settings.
//! Only builds with test hooks have it.
//!
//! Three billion events cannot be made for a test, and what opening, listing and collecting have to do with depends
//! on other things: on how many objects there are, and what the journals say of them. Those are here as they would
//! be, made by the writer itself on a clock that is set back: every stream's segments with the sequences, times and
//! levels of a year, on both tiers, entry after entry as long as they are kept, and their checkpoints. Events are
//! few: 16 in each segment, one in each part; and entries whose messages have been merged are made without.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cim_core::archive::journal::{
    Change, JournalState, Replacement, Retention, SegmentRecord, StreamCheckpoint,
};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveKey, RawJson, Sha256, StreamRecord, StreamState, TimelineRecord};
use cim_core::names::StreamName;
use jiff::{SignedDuration, Timestamp};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::checkpoint;
use super::closed::Committed;
use super::gc::superseded;
use super::object::{Commit, Item, Place, make};
use crate::clock::moved;
use crate::config::Config;
use crate::s3::{S3Error, Store, Tier};
use crate::segment::{Batch, Columns, Finished, Message, SegmentWriter, SharedWriter};

/// Objects that are put at once.
const UPLOADS: usize = 16;
/// zstd level.
const LEVEL: i32 = 1;
/// Events in a segment.
const EVENTS: u64 = 16;
/// Seconds that a segment of final size on the NAS spans: 27 MB, for sixteen of 1.7 MB are merged.
const FINAL: u64 = 519_000;
/// The NAS's smaller ones, at most: how many, and the seconds that each spans.
const SMALLER: (u64, u64) = (15, 3_072);
/// The NAS's shared objects, by level: how many, and the seconds that each spans.
const SHARED: [(u8, u64, u64); 2] = [(2, 2, 1_024), (1, 15, 64)];
/// The NAS's entries that are not merged, two a second.
const FRESH: u64 = 127;
/// Parts of a stream that Wasabi merges at once, and such segments.
const PARTS: u64 = 512;
const WINDOWS: u64 = 4;
/// Wasabi's entries that are not merged.
const UNMERGED: u64 = 500;

/// The archive that is made.
#[derive(Debug, Clone, Copy)]
pub struct Shape {
    /// Streams.
    pub streams: usize,
    /// Days.
    pub days: u64,
}

/// Makes it, in buckets that are empty.
pub async fn run(config: &Config, shape: Shape) -> anyhow::Result<()> {
    let names = (0..shape.streams).map(|n| format!("BENCH{n:04}").parse());
    let streams: Vec<StreamName> = names.collect::<Result<_, _>>()?;
    let year = Year { streams, end: shape.days * 24 * 3600, now: Timestamp::now() };
    let journal = |of| JournalState::empty(of, config.archive.journal.clone());
    let grace = config.collect.grace;
    let store = Store::open(Tier::Nas, &config.secondary)?.with_retries(CancellationToken::new());
    year.nas(Log::new(store, journal(JournalOf::Secondary), grace, year.at_age(grace))).await?;
    if let Some(tertiary) = &config.tertiary {
        let age = config.collect.tertiary_age;
        // Somewhat more than is kept: the rest is the collector's to delete.
        let kept = year.at_age(age + Duration::from_secs(3 * 24 * 3600));
        let store = Store::open(Tier::Wasabi, tertiary)?.with_retries(CancellationToken::new());
        let log = Log::new(store, journal(JournalOf::Tertiary), age, kept);
        year.wasabi(log, config.seal.interval.as_secs()).await?;
    }
    Ok(())
}

struct Year {
    streams: Vec<StreamName>,
    /// Its seconds, which is the last event's sequence too.
    end: u64,
    now: Timestamp,
}

impl Year {
    fn at_age(&self, age: Duration) -> Timestamp {
        self.now - SignedDuration::try_from(age).expect("far below the end of time")
    }

    /// Returns when an event was stored.
    fn at(&self, seq: u64) -> Timestamp {
        self.at_age(Duration::from_secs(self.end.saturating_sub(seq)))
    }

    fn columns(&self, stream: &StreamName, first: u64, last: u64, events: u64) -> Columns {
        let mut columns = Columns::default();
        let subject = format!("{}.push", stream.as_str().to_lowercase());
        let step = ((last - first) / events.max(2).saturating_sub(1)).max(1);
        let between = (first..last).step_by(usize::try_from(step).unwrap_or(1));
        let few = usize::try_from(events.saturating_sub(1)).unwrap_or(0);
        for seq in between.take(few).chain([last]) {
            let time = i64::try_from(self.at(seq).as_nanosecond()).expect("it is in range");
            let payload = seq.to_le_bytes();
            let (subject, headers) = (subject.as_bytes(), &[][..]);
            columns.push(Message { seq, time, subject, headers, payload: &payload });
        }
        columns
    }

    /// Makes a segment of one stream.
    fn own(&self, stream: &StreamName, first: u64, last: u64, sealed: bool) -> Finished {
        let mut writer = SegmentWriter::new(LEVEL);
        writer.append(self.columns(stream, first, last, EVENTS)).expect("it fits");
        writer.finish(stream, 1, sealed).expect("it has events")
    }

    fn begin(&self) -> BTreeMap<StreamName, Commit> {
        let timeline = TimelineRecord::first(StreamState::default());
        let config = |name: &StreamName| {
            format!("{{\"name\":\"{name}\",\"subjects\":[\"{}.>\"]}}", name.as_str().to_lowercase())
        };
        let begun = |name: &StreamName| StreamCheckpoint {
            timelines: vec![timeline.clone()],
            segments: Vec::new(),
            stream: StreamRecord {
                created: self.at(0),
                config: RawJson::new(config(name)).expect("it is JSON"),
            },
            consumers: Vec::new(),
            served: None,
            deletes_known: None,
            deliveries: BTreeMap::new(),
            erased: Vec::new(),
            retention: Retention::default(),
            number: 0,
            committed_at: self.at(0),
        };
        let change = |name| Change { begin: Some(begun(name)), ..Change::default() };
        let commit = |name| Commit { change: change(name), ..Commit::default() };
        self.streams.iter().map(|name| (name.clone(), commit(name))).collect()
    }

    /// Makes an entry whose messages have been merged: it says something of one stream.
    fn merged(&self, number: u64) -> BTreeMap<StreamName, Commit> {
        let turn = usize::try_from(number).unwrap_or_default() % self.streams.len();
        let state = StreamState { bytes: number, ..StreamState::default() };
        let change = Change { state: Some(state), ..Change::default() };
        BTreeMap::from([(self.streams[turn].clone(), Commit { change, ..Commit::default() })])
    }

    /// Makes an entry with messages of some streams.
    fn fresh(
        &self,
        first: u64,
        last: u64,
        of: impl Fn(usize) -> bool,
    ) -> BTreeMap<StreamName, Commit> {
        let streams = self.streams.iter().enumerate().filter(|(index, _)| of(*index));
        let rows = streams.map(|(_, name)| {
            let items = vec![Item::Rows(self.columns(name, first, last, 1))];
            (name.clone(), Commit { items, timeline: 1, ..Commit::default() })
        });
        rows.collect()
    }

    /// Adds a segment of each stream, by an entry.
    async fn add(&self, log: &mut Log, first: u64, last: u64, sealed: bool) -> anyhow::Result<()> {
        let mut commits = BTreeMap::new();
        for stream in &self.streams {
            let Finished { segment, file } = self.own(stream, first, last, sealed);
            log.upload(&segment.key, file).await?;
            let items = vec![Item::Segment(Box::new(segment))];
            commits.insert(stream.clone(), Commit { items, timeline: 1, ..Commit::default() });
        }
        log.put(self.at(last), commits).await
    }

    /// Adds messages of each stream in one object that they share.
    async fn share(&self, log: &mut Log, level: u8, first: u64, last: u64) -> anyhow::Result<()> {
        let mut writer = SharedWriter::new(LEVEL);
        for stream in &self.streams {
            let columns = self.columns(stream, first, last, 1);
            writer.append(Batch { stream: stream.clone(), timeline: 1, columns })?;
        }
        let parts = writer.parts()?;
        let object = writer.finish(None)?;
        let (of, journal, number) = (log.state.of, log.state.journal.clone(), log.state.next());
        let hash = Sha256::of(&object).short();
        let key = ArchiveKey::Shared { of, journal, level, number, hash }.to_string();
        log.upload(&key, object).await?;
        let add = parts.into_iter().zip(&self.streams).map(|(mut part, stream)| {
            part.key.clone_from(&key);
            let add = vec![SegmentRecord::of(&part, None)];
            let change = Change { add, ..Change::default() };
            (stream.clone(), Commit { change, ..Commit::default() })
        });
        log.put(self.at(last), add.collect()).await
    }

    async fn nas(&self, mut log: Log) -> anyhow::Result<()> {
        log.put(self.at(0), self.begin()).await?;
        let spans = SHARED.iter().map(|(_, count, span)| count * span).sum::<u64>();
        let settled = self.end - FRESH - spans - SMALLER.0 * SMALLER.1;
        let mut last = settled % FINAL;
        self.add(&mut log, 1, last, true).await?;
        while last < settled {
            self.add(&mut log, last + 1, last + FINAL, true).await?;
            last += FINAL;
        }
        for _ in 0..SMALLER.0 {
            self.add(&mut log, last + 1, last + SMALLER.1, false).await?;
            last += SMALLER.1;
        }
        for (level, count, span) in SHARED {
            for _ in 0..count {
                self.share(&mut log, level, last + 1, last + span).await?;
                last += span;
            }
        }
        // Two entries a second, those of the grace period and what no checkpoint was behind at its beginning.
        let halves = 2 * log.age.as_secs() + 256 - FRESH;
        let begin = self.at_age(Duration::from_millis(500 * (halves + FRESH)));
        for half in 0..halves {
            let at = begin + Duration::from_millis(500 * half);
            log.put(at.max(log.last()), self.merged(half)).await?;
        }
        for half in 0..FRESH {
            last += 1;
            let commits = self.fresh(last, last, |index| index % 2 == usize::from(half % 2 == 0));
            log.put(self.at(last).max(log.last()), commits).await?;
        }
        log.end().await
    }

    async fn wasabi(&self, mut log: Log, interval: u64) -> anyhow::Result<()> {
        log.put(self.at(0), self.begin()).await?;
        let (window, rest) = (PARTS * interval, UNMERGED * interval);
        let windows = (self.end - rest) / window;
        let mut last = (self.end - rest) % window;
        let mut number = 0;
        if last > 0 {
            self.add(&mut log, 1, last, true).await?;
        }
        let first = last;
        for index in 1..=windows {
            for part in 1..PARTS {
                number += 1;
                let at = self.at(last + part * interval);
                if at >= log.kept {
                    log.put(at, self.merged(number)).await?;
                }
            }
            self.add(&mut log, last + 1, last + window, false).await?;
            last += window;
            if index % WINDOWS == 0 {
                let from = first + (index - WINDOWS) * window + 1;
                self.seal(&mut log, from, last).await?;
            }
        }
        for _ in 0..UNMERGED {
            let commits = self.fresh(last + 1, last + interval, |_| true);
            last += interval;
            log.put(self.at(last), commits).await?;
        }
        log.end().await
    }

    /// Puts segments of final size in the place of smaller ones.
    async fn seal(&self, log: &mut Log, first_seq: u64, last_seq: u64) -> anyhow::Result<()> {
        let mut commits = BTreeMap::new();
        for stream in &self.streams {
            let mut writer = SegmentWriter::new(LEVEL);
            let of = |index| (last_seq + 1 - first_seq) / WINDOWS * index + first_seq;
            for index in 0..WINDOWS {
                writer.append(self.columns(stream, of(index), of(index + 1) - 1, EVENTS))?;
            }
            let Finished { segment, file } = writer.finish(stream, 1, true)?;
            log.upload(&segment.key, file).await?;
            let by = vec![SegmentRecord::of(&segment, None)];
            let replace = vec![Replacement { timeline: 1, first_seq, last_seq, by }];
            let change = Change { replace, ..Change::default() };
            commits.insert(stream.clone(), Commit { change, ..Commit::default() });
        }
        log.put(self.at(last_seq), commits).await
    }
}

/// A tier's journal that is being made.
struct Log {
    store: Arc<Store>,
    state: JournalState,
    behind: Committed,
    checkpoint: u64,
    /// The age at which what was replaced is deleted.
    age: Duration,
    /// Entries that are older are not there any more.
    kept: Timestamp,
    uploads: JoinSet<Result<(), S3Error>>,
    collected: BTreeSet<String>,
}

impl Log {
    fn new(store: Store, state: JournalState, age: Duration, kept: Timestamp) -> Self {
        let (store, behind) = (Arc::new(store), Committed::default());
        let (uploads, collected) = (JoinSet::new(), BTreeSet::new());
        Self { store, state, behind, checkpoint: 0, age, kept, uploads, collected }
    }

    /// Returns when the last entry was committed.
    fn last(&self) -> Timestamp {
        self.state.last.map_or(Timestamp::MIN, |(.., at)| at)
    }

    /// Puts an entry, committed at some time.
    async fn put(
        &mut self,
        at: Timestamp,
        commits: BTreeMap<StreamName, Commit>,
    ) -> anyhow::Result<()> {
        moved::set(at);
        let collected = superseded(&self.state, at, self.age);
        self.collected.extend(collected.iter().cloned());
        let place = Place::after(&self.state);
        let key = place.key().to_string();
        let made = make(place, commits, collected, "a year")?;
        self.state.apply(&made.entry, made.hash)?;
        if at < self.kept {
            return Ok(());
        }
        self.behind.entries += 1;
        self.behind.bytes += made.object.len() as u64;
        self.upload(&key, made.object).await?;
        if checkpoint::due(self.behind, self.checkpoint) {
            let stop = CancellationToken::new();
            let written = checkpoint::write(&self.store, self.state.clone(), &stop).await?;
            (self.behind, self.checkpoint) = (Committed::default(), written.unwrap_or_default());
        }
        Ok(())
    }

    async fn upload(&mut self, key: &str, object: Bytes) -> anyhow::Result<()> {
        while self.uploads.len() >= UPLOADS
            && let Some(done) = self.uploads.join_next().await
        {
            done.expect("putting does not panic")?;
        }
        let (store, key) =
            (Arc::clone(&self.store), ArchiveKey::parse(key).expect("it was spelled"));
        self.uploads.spawn(async move { store.put(&key, object).await });
        Ok(())
    }

    async fn end(mut self) -> anyhow::Result<()> {
        while let Some(done) = self.uploads.join_next().await {
            done.expect("putting does not panic")?;
        }
        for key in &self.collected {
            self.store.delete(key).await?;
        }
        Ok(())
    }
}
