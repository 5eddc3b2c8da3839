//! What Wasabi has of a damaged object's messages, in whatever objects they lie there.

use bytes::Bytes;
use cim_core::archive::journal::JournalState;
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveState, Segment, SeqRanges};
use cim_core::names::StreamName;

use super::part::{DamagedPart, Place};
use super::source::of_object;
use crate::journal::{Journal, OpenError, open};
use crate::s3::{ErrorKind, S3Error, Store};
use crate::segment::{Columns, Rows, SegmentError, content};
use crate::tier::Context;

/// Wasabi's journal.
pub(super) struct AtWasabi<'a> {
    store: &'a Store,
    state: JournalState,
}

impl<'a> AtWasabi<'a> {
    pub(super) async fn open(store: &'a Store, journal: &Journal) -> Result<Self, OpenError> {
        let name = journal.with(|state| state.journal.clone());
        let (state, _) = open(store, JournalOf::Tertiary, &name).await?;
        Ok(Self { store, state })
    }

    /// Returns Wasabi's segments with the messages of a segment; `None` where it does not have them all.
    pub(super) fn covering(
        &self,
        stream: &StreamName,
        segment: &Segment,
        missed: &SeqRanges,
    ) -> Option<Vec<Segment>> {
        let archive = self.state.streams.get(stream)?;
        let Segment { timeline, first_seq, last_seq, .. } = *segment;
        let there = archive.timelines.get(&timeline)?;
        let lacks = there.missed.intersect(first_seq, last_seq).difference(missed);
        if there.watermark.seq < last_seq || !lacks.is_empty() {
            return None;
        }
        let all = archive.segments.range((timeline, 0)..=(timeline, last_seq));
        let all = all.filter(|(_, segment)| segment.last_seq >= first_seq);
        let all: Vec<Segment> = all.map(|(_, segment)| segment.clone()).collect();
        (!all.is_empty()).then_some(all)
    }

    /// Reads the messages of a segment from these ones; `None` where they are damaged there too, or are not those.
    pub(super) async fn read(
        &self,
        segment: &Segment,
        from: Vec<Segment>,
    ) -> Result<Option<Columns>, S3Error> {
        let mut columns = Columns::default();
        for other in from {
            let object = match self.store.get(&other.key).await {
                Err(error) if error.kind == ErrorKind::NotFound => return Ok(None),
                other => other?,
            };
            let Some(read) = messages(other, object).await else { return Ok(None) };
            let within = |seq| (segment.first_seq..=segment.last_seq).contains(&seq);
            let messages = read.messages().filter(|message| within(message.seq));
            messages.for_each(|message| columns.push(message));
        }
        let same = if segment.part.is_some() {
            content(&columns) == segment.sha256
        } else {
            // The hash of a file is over its bytes. What Wasabi has of it was proved by other hashes just now.
            let last = columns.messages().last().map(|last| last.hash());
            columns.len() as u64 == segment.messages && last == Some(segment.last.sha256)
        };
        Ok(same.then_some(columns))
    }
}

/// Reads the messages of a segment of Wasabi's; `None` where it is damaged.
async fn messages(segment: Segment, object: Bytes) -> Option<Columns> {
    if segment.part.is_some() {
        let key = segment.key.clone();
        return of_object(&key, object, vec![segment]).await.pop()?.ok();
    }
    let read = tokio::task::spawn_blocking(move || {
        let mut columns = Columns::default();
        Rows::read(&segment, &object, |rows| {
            rows.messages().for_each(|message| columns.push(message));
            Ok::<_, SegmentError>(())
        })
        .map(|()| columns)
    });
    read.await.expect("reading does not panic").ok()
}

/// Takes from Wasabi what nothing else has exactly. Returns what it has and a part could not be made of.
pub(super) async fn of_wasabi(
    context: &Context,
    journal: &Journal,
    patients: &mut [DamagedPart],
) -> Result<Vec<Place>, OpenError> {
    let ill = patients.iter_mut().filter(|patient| patient.columns.is_none());
    let mut ill = ill
        .filter(|ill| !context.damaged.is_given_up(&ill.stream, &ill.segment))
        .collect::<Vec<_>>();
    let Some(store) = context.wasabi.as_deref().filter(|_| !ill.is_empty()) else {
        return Ok(Vec::new());
    };
    let there = AtWasabi::open(store, journal).await?;
    let mut covered = Vec::new();
    for DamagedPart { stream, segment, columns } in &mut ill {
        let missed =
            |state: &ArchiveState| Some(state.timelines.get(&segment.timeline)?.missed.clone());
        let missed = journal.stream(stream, missed).flatten().unwrap_or_default();
        let Some(from) = there.covering(stream, segment, &missed) else { continue };
        // What is damaged there too is of no help, and nothing is to wait for it.
        *columns = there.read(segment, from).await?;
        if columns.is_some() && segment.part.is_none() {
            covered.push((stream.clone(), segment.clone()));
        }
    }
    Ok(covered)
}
