//! Messages that were read and are ready to be committed, and how they get into a commit.

use std::collections::VecDeque;

use cim_core::archive::LastMessage;
use cim_core::names::StreamName;

use super::budget::Reserved;
use super::gaps::GapClassifier;
use super::segmenter::Uploaded;
use crate::journal::{Commit, Item};
use crate::segment::{Columns, Message};

/// Adds all that is ready to a commit of a stream that is archived up to `known`. What of it is known to be deleted
/// since it was read is said with it: after a survey that found nothing else there may be no other commit for long.
pub(super) fn add(
    ready: &mut VecDeque<Uploaded>,
    held: &mut Vec<Reserved>,
    commit: &mut Commit,
    gaps: &mut GapClassifier,
    known: u64,
    stream: &StreamName,
) {
    let said = commit.change.watermark.as_ref().map(|said| said.seq);
    let sent = commit.items.last().map(|item| last_of(item).seq);
    let watermark = known.max(said.or(sent).unwrap_or_default());
    if let Some(last) = take(ready, held, commit, watermark, stream) {
        commit.change.watermark = None;
        commit.change.deleted.extend(gaps.take_deleted(last.seq));
    }
}

/// Takes all that is ready behind a watermark into a commit, and the budget of it. Returns the last message.
pub(super) fn take(
    ready: &mut VecDeque<Uploaded>,
    held: &mut Vec<Reserved>,
    commit: &mut Commit,
    watermark: u64,
    stream: &StreamName,
) -> Option<LastMessage> {
    let mut last = None;
    for uploaded in ready.drain(..) {
        held.extend(uploaded.reserved);
        if let Some(item) = behind(uploaded.item, watermark, stream) {
            last = Some(last_of(&item));
            commit.push(item);
        }
    }
    last
}

/// Returns the part of an item that is behind the watermark. As a rule that is all of it; messages that left the stream while
/// they were on their way may be passed by the watermark.
fn behind(item: Item, watermark: u64, stream: &StreamName) -> Option<Item> {
    let first = match &item {
        Item::Segment(segment) => segment.first_seq,
        Item::Rows(columns) => columns.message(0).seq,
    };
    if first > watermark {
        return Some(item);
    }
    tracing::warn!(
        stream = %stream,
        "sequence {first} was deleted from the stream while it was read: the archive records it as deleted"
    );
    let Item::Rows(columns) = item else { return None };
    let mut rest = Columns::default();
    let later = |message: &Message<'_>| message.seq > watermark;
    (0..columns.len()).map(|i| columns.message(i)).filter(later).for_each(|m| rest.push(m));
    (!rest.is_empty()).then_some(Item::Rows(rest))
}

/// Returns the last message of an item.
pub(super) fn last_of(item: &Item) -> LastMessage {
    match item {
        Item::Segment(segment) => segment.last.clone(),
        Item::Rows(columns) => {
            let last = columns.message(columns.len() - 1);
            LastMessage { seq: last.seq, time: last.timestamp(), sha256: last.hash() }
        }
    }
}

#[cfg(test)]
mod tests {
    use cim_core::archive::{SeqRange, SeqRanges};

    use super::*;

    fn rows(seqs: &[u64]) -> Item {
        let mut columns = Columns::default();
        for seq in seqs {
            let message = Message { seq: *seq, time: 1, subject: b"s", headers: b"", payload: b"" };
            columns.push(message);
        }
        Item::Rows(columns)
    }

    #[test]
    fn what_was_deleted_before_it_was_added_is_said_with_it() {
        let stream: StreamName = "S".parse().unwrap();
        let mut gaps = GapClassifier::of_deleted(&[
            SeqRange { first: 3, last: 3 },
            SeqRange { first: 6, last: 7 },
            SeqRange { first: 9, last: 12 },
        ]);
        let mut commit = Commit { items: vec![rows(&[4, 5])], ..Commit::default() };
        commit.change.deleted = gaps.take_deleted(5);
        let (mut ready, mut held) = (VecDeque::new(), Vec::new());
        let since = tokio::time::Instant::now();
        let (reserved, skipped) = (None, SeqRanges::default());
        let item = rows(&[6, 7, 8, 10]);
        ready.push_back(Uploaded { item, since, reserved, skipped });
        add(&mut ready, &mut held, &mut commit, &mut gaps, 2, &stream);
        assert!(matches!(&commit.items[..], [Item::Rows(rows)] if rows.len() == 6));
        let deleted: Vec<_> =
            commit.change.deleted.iter().map(|range| (range.first, range.last)).collect();
        assert_eq!(deleted, [(3, 3), (6, 7), (9, 10)]);
        assert_eq!(gaps.deleted(20).count(), 2, "11 and 12 are to come");
    }
}
