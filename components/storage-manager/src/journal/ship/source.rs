//! The messages of one stream on their way into an entry for Wasabi.

use std::collections::BTreeMap;
use std::sync::Arc;

use cim_core::archive::journal::Change;
use cim_core::archive::{Segment, SeqRange, SeqRanges, Watermark};
use cim_core::names::StreamName;

use super::error::ShipError;
use super::step::Step;
use crate::crypt::{installed, is_encrypted};
use crate::hooks::fail_point;
use crate::journal::object::{Commit, Item};
use crate::journal::{Journal, check_text};
use crate::s3::{Store, Tier};
use crate::segment::{Columns, Finished, Message, Rows, SegmentError, SharedReader};
use crate::tier::Context;
use crate::tier::budget::Reserved;
use crate::tier::merge::{Merge, SealError};
use crate::tier::segment_key::segment_key;

/// Bytes of messages from which on a segment goes as it is, at the latest: where segments are final at fewer,
/// it is those. Smaller ones go as rows, with those of others.
pub(super) const WHOLE: u64 = 4 << 20;

/// Shared objects that are being read, by key.
pub(super) type Shared = BTreeMap<String, SharedReader>;

/// The source of the messages of one stream.
pub(super) struct Source<'a> {
    pub(super) context: &'a Arc<Context>,
    pub(super) wasabi: &'a Arc<Store>,
    pub(super) journal: &'a Journal,
    pub(super) stream: &'a StreamName,
    pub(super) shared: &'a mut Shared,
    /// The budget of the entry's rows.
    pub(super) held: &'a mut Option<Reserved>,
}

impl Source<'_> {
    /// Takes a stream's share of an entry: all of a step, or as many of its segments as there is room for and can be
    /// read. Returns `None` where that is nothing.
    pub(super) async fn take(
        &mut self,
        step: Step,
        room: u64,
    ) -> Result<Option<(Commit, u64)>, ShipError> {
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
        let key = segment_key(&segment)
            .map_err(|source| ShipError::Fetch { key: segment.key.clone(), source })?;
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
pub(super) struct Behind<'a> {
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

pub(super) fn damaged(segment: &Segment, error: SegmentError) -> ShipError {
    ShipError::Fetch { key: segment.key.clone(), source: error.into() }
}
