//! Turns segments into the chunks of a snapshot.

use std::cmp::Ordering;
use std::io::{self, Write as _};
use std::ops::ControlFlow;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use bytes::Bytes;
use cim_core::archive::SeqRange;
use tokio::sync::mpsc;

use super::error::RestoreError;
use super::fetch::Next;
use super::frame::SnappyFrameWriter;
use super::outcome::{Outcome, Progress};
use super::plan::{Piece, Plan};
use super::{v1, v2};
use crate::hooks::fail_point;
use crate::segment::{Message, SegmentError};

/// Messages after which the number of those that were sent goes up.
const SHOWN_EVERY: u64 = 256;

enum Writer {
    V1(Box<v1::Snapshot<SnappyFrameWriter>>),
    V2(Box<v2::Snapshot<SnappyFrameWriter>>),
}

impl Writer {
    fn begin(plan: &Plan, chunks: mpsc::Sender<Bytes>) -> io::Result<Self> {
        let frames = SnappyFrameWriter::new(chunks, plan.capabilities.chunk);
        Ok(if plan.in_memory() {
            Self::V2(Box::new(v2::Snapshot::new(frames)))
        } else {
            Self::V1(Box::new(v1::Snapshot::begin(frames, plan)?))
        })
    }

    fn push(&mut self, plan: &Plan, message: &Message<'_>) -> io::Result<()> {
        match self {
            Self::V1(snapshot) => snapshot.push(message),
            Self::V2(snapshot) => snapshot.push(plan, message),
        }
    }

    /// Ends the snapshot; returns what it is called.
    fn finish(self, plan: &Plan) -> io::Result<&'static str> {
        let (mut frames, method) = match self {
            Self::V1(snapshot) => (snapshot.finish(plan)?, "snapshot v1"),
            Self::V2(snapshot) => (snapshot.finish(plan)?, "snapshot v2"),
        };
        fail_point!(RestoreBeforeEnd);
        frames.flush()?;
        Ok(method)
    }
}

/// Writes the snapshot. Runs on a thread of its own; ends early when the sender hangs up.
pub(super) fn write(
    plan: &Plan,
    segments: mpsc::UnboundedReceiver<Next>,
    chunks: mpsc::Sender<Bytes>,
    progress: &Progress,
) -> Result<Outcome, RestoreError> {
    let mut writer = Writer::begin(plan, chunks)?;
    let (mut messages, mut bytes, mut first_seq) = (0_u64, 0, None);
    self::messages::<RestoreError>(plan, segments, |message| {
        first_seq.get_or_insert(message.seq);
        writer.push(plan, message)?;
        messages += 1;
        bytes += message.bytes() as u64;
        if messages % SHOWN_EVERY == 0 {
            progress.messages.fetch_add(SHOWN_EVERY, Relaxed);
        }
        Ok(ControlFlow::Continue(()))
    })?;
    progress.messages.fetch_add(messages % SHOWN_EVERY, Relaxed);
    let method = writer.finish(plan)?;
    Ok(Outcome {
        messages,
        bytes,
        first_seq: first_seq.unwrap_or(plan.end() + 1),
        last_seq: plan.last_seq,
        added: 0,
        dropped: 0,
        method,
        sending: Duration::ZERO,
    })
}

/// Why no further message is read.
enum Ended<E> {
    /// No more are wanted.
    Enough,
    Failed(E),
}

impl<E: From<RestoreError>> From<SegmentError> for Ended<E> {
    fn from(error: SegmentError) -> Self {
        Self::Failed(RestoreError::from(error).into())
    }
}

/// Hands every message that a plan wants to `each`, in order, until it breaks. Blocks.
pub(super) fn messages<E: From<RestoreError>>(
    plan: &Plan,
    mut segments: mpsc::UnboundedReceiver<Next>,
    mut each: impl FnMut(&Message<'_>) -> Result<ControlFlow<()>, E>,
) -> Result<(), E> {
    loop {
        let fetched = match segments.blocking_recv() {
            Some(Next::Segment(fetched)) => fetched,
            Some(Next::End) => return Ok(()),
            // The feeder failed and says why; what was sent must not be ended as if it were whole.
            None => {
                return Err(
                    RestoreError::from(io::Error::from(io::ErrorKind::UnexpectedEof)).into()
                );
            }
        };
        let (segment, first, last) = &fetched.piece;
        let gone = plan.removed_in(*first, *last);
        let read = fetched.content.read(segment, |message| {
            if !is_included(plan, &gone, &fetched.piece, message) {
                return Ok(());
            }
            match each(message) {
                Ok(ControlFlow::Continue(())) => Ok(()),
                Ok(ControlFlow::Break(())) => Err(Ended::Enough),
                Err(error) => Err(Ended::Failed(error)),
            }
        });
        match read {
            Ok(()) => {}
            Err(Ended::Enough) => return Ok(()),
            Err(Ended::Failed(error)) => return Err(error),
        }
    }
}

/// Returns whether a message of a piece comes back, where these sequences of it must not.
pub(super) fn is_included(
    plan: &Plan,
    gone: &[SeqRange],
    piece: &Piece,
    message: &Message<'_>,
) -> bool {
    let (seq, (_, first, last)) = (message.seq, piece);
    (*first..=*last).contains(&seq)
        && plan.subject.as_ref().is_none_or(|filter| filter.matches_bytes(message.subject))
        && gone
            .binary_search_by(|range| match (range.last < seq, range.first > seq) {
                (true, _) => Ordering::Less,
                (_, true) => Ordering::Greater,
                _ => Ordering::Equal,
            })
            .is_err()
        && !plan.rolled_up.has(message)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::restore::tests::{piece, plan_of};

    #[test]
    fn a_message_comes_back_unless_it_was_removed_or_is_not_asked_for() {
        let mut plan = plan_of(json!({}));
        plan.subject = Some("a.*".parse().unwrap());
        let removed = [SeqRange { first: 3, last: 4 }, SeqRange { first: 8, last: 8 }];
        let piece = (piece(10, 1).0, 2, 9);
        let included = |seq: u64, subject: &str| {
            let (headers, payload, subject) = (&b""[..], &b""[..], subject.as_bytes());
            let message = Message { seq, time: 0, subject, headers, payload };
            is_included(&plan, &removed, &piece, &message)
        };
        let all: Vec<u64> = (1..=10).filter(|seq| included(*seq, "a.b")).collect();
        assert_eq!(all, [2, 5, 6, 7, 9]);
        assert!(!included(5, "b.a") && !included(5, "a.b.c"));
    }
}
