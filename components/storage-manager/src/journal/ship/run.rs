//! Ships at an interval, until the journal is closed.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::journal::{Change, StreamCheckpoint};
use cim_core::archive::key::Chain;
use cim_core::archive::{ArchiveKey, Segment, SeqRange, SeqRanges, Watermark};
use cim_core::names::StreamName;
use cim_runtime::error::chain as error_chain;
use cim_runtime::retry::Backoff;
use jiff::Timestamp;
use parquet::errors::ParquetError;

use super::error::OutboxError;
use super::gc::Collecting;
use super::merge::Merged;
use super::outbox::Outbox;
use super::step::{self, Step};
use crate::chain::{self, ReadError};
use crate::clock;
use crate::crypt::{installed, is_encrypted};
use crate::hooks::fail_point;
use crate::journal::log_throttle::LogThrottle;
use crate::journal::object::{Commit, Item, Place, make};
use crate::journal::{Journal, JournalClosed, OpenError, check_text, expire};
use crate::s3::{S3Error, Store, Tier};
use crate::segment::{Columns, Finished, Message, Rows, SegmentError, SharedReader};
use crate::tier::Context;
use crate::tier::budget::Reserved;
use crate::tier::error::FetchError;
use crate::tier::merge::{Merge, SealError};

/// Bytes of messages in one entry of Wasabi's, about.
const ENTRY: u64 = 32 << 20;
/// Bytes of messages from which on a segment goes as it is, at the latest: where segments are final at fewer,
/// it is those. Smaller ones go as rows, with those of others.
const WHOLE: u64 = 4 << 20;

/// Why something did not get to Wasabi. It is tried again.
#[derive(Debug, thiserror::Error)]
pub enum ShipError {
    /// Its journal.
    #[error(transparent)]
    Decide(#[from] OutboxError),
    /// Wasabi did not answer.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// The entry could not be made.
    #[error("cannot encode a journal entry")]
    Encode(#[from] ParquetError),
    /// A segment could not be read from the NAS.
    #[error("cannot copy `{key}` to Wasabi")]
    Fetch {
        /// Its key.
        key: String,
        /// Why.
        source: FetchError,
    },
    /// Wasabi has another history of a stream.
    #[error(
        "stream `{stream}`: Wasabi has another message {seq} than the NAS, so the stream is not copied; keep that bucket, and give the archive of this host another one"
    )]
    OtherHistory {
        /// The stream.
        stream: StreamName,
        /// The sequence at which they differ.
        seq: u64,
    },
    /// The chain of a stream at Wasabi, which its journal goes on with.
    #[error(transparent)]
    Chain(ReadError),
    /// The NAS's journal was closed.
    #[error(transparent)]
    Journal(#[from] JournalClosed),
}

/// What to do where Wasabi's journal cannot be read, and the NAS does not have the entry either.
const DAMAGED: &str = "nothing gets to Wasabi until then: put the object back from a copy, or give Wasabi a new, empty \
     bucket, into which everything is copied anew, and keep this one";

impl ShipError {
    /// Returns what to do, where Wasabi's journal is damaged.
    fn way_out(&self) -> Option<&'static str> {
        let damaged = match self {
            Self::Decide(OutboxError::Open(OpenError::S3(error))) => error.kind.is_damage(),
            Self::Decide(OutboxError::Open(_) | OutboxError::Undecided { .. }) => true,
            _ => false,
        };
        damaged.then_some(DAMAGED)
    }

    /// Returns whether it keeps one stream from Wasabi, and no other.
    fn is_of_one_stream(&self) -> bool {
        match self {
            Self::OtherHistory { .. } => true,
            Self::Chain(error) => !matches!(error, ReadError::S3(_)),
            _ => false,
        }
    }
}

/// Ships until the journal is closed.
pub async fn run(context: Arc<Context>, wasabi: Arc<Store>, journal: Journal) {
    let closing = journal.closing().clone();
    let (mut shipping, mut tries) = (Shipping::default(), 0);
    loop {
        let once = Box::pin(shipping.once(&context, &wasabi, &journal));
        let Some(done) = closing.run_until_cancelled(once).await else { return };
        match done {
            Ok(true) => tries = 0,
            Ok(false) => {
                tries = 0;
                let wait = until_due(&context, shipping.decided.as_ref());
                if closing.run_until_cancelled(tokio::time::sleep(wait)).await.is_none() {
                    return;
                }
            }
            Err(error) => {
                shipping.forget();
                context.copied.forget();
                tries += 1;
                let out = error.way_out().map(|out| format!("; {out}")).unwrap_or_default();
                let error = error_chain(&error);
                tracing::warn!("copying to Wasabi failed, trying again: {error}{out}");
                if !Backoff::default().wait(tries, &closing).await {
                    return;
                }
            }
        }
    }
}

/// What is known of Wasabi between two looks at what is due.
#[derive(Default)]
pub struct Shipping {
    decided: Option<Outbox>,
    merged: Merged,
    collecting: Collecting,
    /// Troubles of single streams.
    seldom: LogThrottle,
}

impl Shipping {
    /// Ships what is due, or else merges a little; false when nothing is due.
    pub async fn once(
        &mut self,
        context: &Arc<Context>,
        wasabi: &Arc<Store>,
        journal: &Journal,
    ) -> Result<bool, ShipError> {
        if let Some(decided) = &self.decided
            && is_due(context, decided)
            && !decided.is_there().await?
        {
            // Its bucket was replaced or emptied meanwhile.
            self.forget();
            context.copied.forget();
        }
        let mut decided = if let Some(decided) = self.decided.take() {
            decided
        } else {
            let name = journal.with(|state| state.journal.clone());
            let used = |key: &str| journal.with(|state| state.shares(key));
            Outbox::open(Arc::clone(&context.nas), Arc::clone(wasabi), &name, used).await?
        };
        if is_due(context, &decided) {
            let Self { merged, collecting, seldom, .. } = self;
            let said = Said { merged, collecting, seldom };
            ship(context, wasabi, journal, &mut decided, said).await?;
        }
        context.copied.note(&decided.state);
        let more = self.merged.next(context, wasabi, journal, &decided.state).await;
        self.collecting.once(context, wasabi, &decided.state).await;
        self.decided = Some(decided);
        Ok(more)
    }

    /// Forgets what may not be so any more, after a failure.
    fn forget(&mut self) {
        (self.decided, self.merged) = (None, Merged::default());
        self.collecting.forget();
    }
}

/// What is said beside what is new.
struct Said<'a> {
    merged: &'a mut Merged,
    collecting: &'a mut Collecting,
    seldom: &'a mut LogThrottle,
}

/// Returns true if the next entry may be put: counted from the last one, whichever process put it.
fn is_due(context: &Context, decided: &Outbox) -> bool {
    let last = decided.state.last;
    last.is_none_or(|(.., last)| age(last) >= context.config.seal.interval)
}

fn age(since: Timestamp) -> Duration {
    (clock::now().as_duration() - since.as_duration()).unsigned_abs()
}

/// Returns how long until the next entry may be put.
fn until_due(context: &Context, decided: Option<&Outbox>) -> Duration {
    let interval = context.config.seal.interval;
    let Some((.., last)) = decided.and_then(|decided| decided.state.last) else { return interval };
    // Where nothing is new no entry is put, and the last one gets older and older.
    interval.saturating_sub(age(last)).max(interval / 10)
}

/// Ships all that is new, in as many entries as it takes.
async fn ship(
    context: &Arc<Context>,
    wasabi: &Arc<Store>,
    journal: &Journal,
    decided: &mut Outbox,
    said: Said<'_>,
) -> Result<(), ShipError> {
    loop {
        let streams: Vec<StreamName> =
            journal.with(|state| state.streams.keys().cloned().collect());
        let (mut commits, mut bytes) = (BTreeMap::new(), 0);
        // Streams come in the order in which their rows stand in shared objects: each is read once.
        let mut shared = Shared::default();
        let mut held = None;
        for stream in streams {
            if bytes >= ENTRY {
                break;
            }
            let there = decided.state.streams.get(&stream);
            let step = match there {
                None => begin(journal, wasabi, &stream).await,
                Some(_) => Ok(journal.stream(&stream, |nas| step::next(nas, there)).flatten()),
            };
            let taken = match step {
                Ok(Some(step)) => {
                    let (shared, held) = (&mut shared, &mut held);
                    let mut source =
                        Source { context, wasabi, journal, stream: &stream, shared, held };
                    source.take(step, ENTRY - bytes).await
                }
                Ok(None) => continue,
                Err(error) => Err(error),
            };
            match taken {
                Ok(Some((commit, more))) => {
                    bytes += more;
                    commits.insert(stream, commit);
                }
                Ok(None) => {}
                // One stream's trouble is that stream's alone.
                Err(error) if error.is_of_one_stream() => {
                    let error = error_chain(&error);
                    if said.seldom.allows(&error) {
                        tracing::error!("{error}");
                    }
                }
                Err(error) => return Err(error),
            }
        }
        drop(shared);
        said.merged.say(&mut commits);
        expire::say(context, journal, &decided.state, &mut commits).await;
        let collected = said.collecting.say();
        if commits.is_empty() && collected.is_empty() {
            return Ok(());
        }
        let place = Place::after(&decided.state);
        let place = place.behind(&context.nas, decided.last).await;
        let writer = Arc::clone(&context.writer);
        let made = tokio::task::spawn_blocking(move || make(place, commits, collected, &writer));
        let made = made.await.expect("encoding does not panic")?;
        decided.put(made, journal, &context.abort).await?;
    }
}

/// Returns the first record of a stream at Wasabi: that of its chain there, where it was archived by one.
async fn begin(
    journal: &Journal,
    wasabi: &Store,
    stream: &StreamName,
) -> Result<Option<Step>, ShipError> {
    let step = journal.stream(stream, |nas| step::next(nas, None)).flatten();
    let chain = chain::load(wasabi, Chain::Manifest, stream).await.map_err(ShipError::Chain)?;
    let (Some(mut step), Some(chain)) = (step.clone(), chain) else { return Ok(step) };
    step.change.begin = Some(StreamCheckpoint::of(&chain));
    Ok(Some(step))
}

/// Shared objects that are being read, by key.
type Shared = BTreeMap<String, SharedReader>;

/// Where the messages of one stream come from.
struct Source<'a> {
    context: &'a Arc<Context>,
    wasabi: &'a Arc<Store>,
    journal: &'a Journal,
    stream: &'a StreamName,
    shared: &'a mut Shared,
    /// The budget of the entry's rows.
    held: &'a mut Option<Reserved>,
}

impl Source<'_> {
    /// Takes a stream's share of an entry: all of a step, or as many of its segments as there is room for and can be
    /// read. Returns `None` where that is nothing.
    async fn take(&mut self, step: Step, room: u64) -> Result<Option<(Commit, u64)>, ShipError> {
        let Step { mut change, timeline, segments, after } = step;
        let mut commit = Commit { timeline, ..Commit::default() };
        let (mut bytes, mut taken) = (0, 0);
        // How far it goes, where that ends with what is missing.
        let mut end = None;
        let whole = WHOLE.min(self.context.config.seal.size.bytes() as u64);
        for segment in &segments {
            if self.context.damaged.is_given_up(self.stream, segment) {
                // It is in a timeline that was left: what follows is not to wait for it.
                let first = segment.first_seq.max(after.seq + 1);
                change.missed.push(SeqRange { first, last: segment.last_seq });
                end = Some(Watermark { seq: segment.last_seq, last: Some(segment.last.clone()) });
                taken += 1;
                continue;
            }
            let full = taken > 0 && bytes + segment.bytes > room;
            let is_alone = segment.part.is_none() && segment.first_seq > after.seq;
            let is_locked = !is_alone && self.context.locked.has(&segment.key);
            if full || is_locked || self.context.damaged.has(&segment.key) {
                break;
            }
            let item = if is_alone && segment.bytes >= whole {
                self.whole(segment).await
            } else {
                bytes += segment.bytes;
                match self.rows(segment, &after).await {
                    // It goes as it is, for which it takes no key.
                    Err(ShipError::Fetch { source, .. })
                        if is_alone && self.context.locked.note_fetch(&source) =>
                    {
                        self.whole(segment).await
                    }
                    item => item,
                }
            };
            match item {
                Ok(item) => {
                    if let Some(item) = item {
                        commit.push(item);
                    }
                    end = None;
                }
                // What is before it goes, and what is behind it when it is healed, or there is a key of it.
                Err(ShipError::Fetch { key, source }) => {
                    if !self.context.locked.note_fetch(&source) {
                        self.context.damaged.report(&key);
                    }
                    break;
                }
                Err(error) => return Err(error),
            }
            taken += 1;
        }
        if taken < segments.len() {
            // What else there is to say belongs to the end of it.
            let until = taken.checked_sub(1).map_or(after.seq, |last| segments[last].last_seq);
            let clip = |ranges: Vec<SeqRange>| {
                let all: SeqRanges = ranges.into_iter().collect();
                all.intersect(1, until).iter().collect()
            };
            change.deleted = clip(change.deleted);
            change.missed = clip(change.missed);
            (change.watermark, change.lost, change.state) = (None, None, None);
            change.deletes_known = None;
        }
        change.watermark = change.watermark.or(end);
        commit.change = change;
        let is_empty = commit.items.is_empty() && commit.change == Change::default();
        Ok((!is_empty).then_some((commit, bytes)))
    }

    /// Waits until there is room for a segment beside the rows of the entry.
    async fn room(&self, segment: &Segment) -> Reserved {
        let bytes = usize::try_from(segment.bytes).unwrap_or(usize::MAX);
        self.context.budget.reserve_beside(bytes, self.held.as_ref()).await
    }

    /// Copies a segment's file.
    async fn whole(&self, segment: &Segment) -> Result<Option<Item>, ShipError> {
        let _room = self.room(segment).await;
        let file = self.context.try_fetch_as_is(segment).await;
        let file = file.map_err(|source| ShipError::Fetch { key: segment.key.clone(), source })?;
        let clear = installed().writes(Tier::Wasabi).is_some() && !is_encrypted(&file);
        let (segment, file) = if clear {
            let Finished { segment, file } = self.encrypted(segment, file).await?;
            (segment, file)
        } else {
            (segment.clone(), file)
        };
        let key = ArchiveKey::parse(&segment.key).expect("it is one of the archive's");
        self.wasabi.put(&key, file).await?;
        fail_point!(ShipSegment);
        Ok(Some(Item::Segment(Box::new(segment))))
    }

    /// Encrypts the messages of a segment that the NAS has in the clear.
    async fn encrypted(
        &self,
        segment: &Segment,
        file: bytes::Bytes,
    ) -> Result<Finished, ShipError> {
        let (segment, name) = (segment.clone(), self.stream.clone());
        let key = segment.key.clone();
        let made = tokio::task::spawn_blocking(move || {
            let mut merge = Merge::to(Tier::Wasabi);
            merge.append(&segment, &file, 0)?;
            merge.finish(&name, segment.timeline, segment.sealed)
        });
        made.await.expect("encrypting does not panic").map_err(|error| match error {
            SealError::Encode(source) => ShipError::Encode(source),
            SealError::Fetch(source) => ShipError::Fetch { key, source },
            SealError::S3(error) => ShipError::S3(error),
        })
    }

    /// Reads the messages of a segment behind Wasabi's watermark. Where the last message that Wasabi has is in the
    /// segment too, it must be the same.
    async fn rows(
        &mut self,
        segment: &Segment,
        after: &Watermark,
    ) -> Result<Option<Item>, ShipError> {
        let room = self.room(segment).await;
        match &mut *self.held {
            Some(held) => held.merge(room),
            none => *none = Some(room),
        }
        let (to_read, after) = (segment.clone(), after.clone());
        let seq = after.seq;
        let read = match &segment.part {
            None => {
                let file = self.fetch(segment).await?;
                tokio::task::spawn_blocking(move || {
                    let mut behind = Behind::new(&after);
                    Rows::read(&to_read, &file, |rows| {
                        rows.messages().for_each(|message| behind.push(message));
                        Ok::<_, SegmentError>(())
                    })
                    .map(|()| behind.finish())
                })
                .await
            }
            Some(part) => {
                let mut reader = if let Some(reader) = self.shared.remove(&segment.key) {
                    reader
                } else {
                    let object = self.fetch(segment).await?;
                    check_text(self.context, self.journal, &segment.key, &object);
                    SharedReader::open(&segment.key, object)
                        .map_err(|error| damaged(segment, error))?
                };
                let part = part.clone();
                let read = tokio::task::spawn_blocking(move || {
                    let mut behind = Behind::new(&after);
                    let read = reader.read(&to_read, &part, |message| {
                        behind.push(message);
                        Ok::<_, SegmentError>(())
                    });
                    (reader, read.map(|()| behind.finish()))
                });
                read.await.map(|(reader, read)| {
                    self.shared.insert(segment.key.clone(), reader);
                    read
                })
            }
        };
        let read =
            read.expect("reading does not panic").map_err(|error| damaged(segment, error))?;
        let other = || ShipError::OtherHistory { stream: self.stream.clone(), seq };
        let rows = read.ok_or_else(other)?;
        Ok((!rows.is_empty()).then_some(Item::Rows(rows)))
    }

    async fn fetch(&self, segment: &Segment) -> Result<bytes::Bytes, ShipError> {
        let fetched = self.context.try_fetch(segment).await;
        fetched.map_err(|source| ShipError::Fetch { key: segment.key.clone(), source })
    }
}

/// The messages behind a watermark, and whether the one at it is the one that it names.
struct Behind<'a> {
    after: &'a Watermark,
    columns: Columns,
    same: bool,
}

impl<'a> Behind<'a> {
    fn new(after: &'a Watermark) -> Self {
        Self { after, columns: Columns::default(), same: true }
    }

    fn push(&mut self, message: Message<'_>) {
        if message.seq > self.after.seq {
            self.columns.push(message);
        } else if let Some(last) = self.after.last.as_ref().filter(|l| l.seq == message.seq) {
            self.same = last.sha256 == message.hash();
        }
    }

    fn finish(self) -> Option<Columns> {
        self.same.then_some(self.columns)
    }
}

fn damaged(segment: &Segment, error: SegmentError) -> ShipError {
    ShipError::Fetch { key: segment.key.clone(), source: error.into() }
}
