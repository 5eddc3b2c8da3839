//! Where the messages of a damaged object come from.

use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::Segment;
use cim_core::names::StreamName;

use crate::jetstream::{ApiError, StoredMessage};
use crate::segment::{Columns, Footer, SegmentError, Window, content, read_parts};
use crate::tier::Context;

/// Reads the parts of an object that are what they were. Runs on a thread of its own.
pub(super) async fn of_object(
    key: &str,
    object: Bytes,
    segments: Vec<Segment>,
) -> Vec<Result<Columns, SegmentError>> {
    let key = key.to_owned();
    let read = tokio::task::spawn_blocking(move || read(&key, &object, &segments));
    read.await.expect("reading does not panic")
}

fn read(key: &str, object: &Bytes, segments: &[Segment]) -> Vec<Result<Columns, SegmentError>> {
    let cut = || SegmentError::Contradiction { key: key.into(), what: "it is cut short".into() };
    let all = |error: &dyn Fn() -> SegmentError| segments.iter().map(|_| Err(error())).collect();
    let footer = match Footer::read(key, object, object.len() as u64) {
        Ok(Ok(footer)) => footer,
        Ok(Err(_)) => return all(&cut),
        Err(error) => {
            let what = cim_runtime::error::chain(&error);
            return all(&|| SegmentError::Contradiction { key: key.into(), what: what.clone() });
        }
    };
    let parts: Vec<_> =
        segments.iter().filter_map(|segment| Some((segment, segment.part.as_ref()?))).collect();
    read_parts(&footer, Window { start: 0, bytes: object.clone() }, &parts)
}

/// Reads the messages of a part from JetStream; `None` where it does not have exactly those any more.
pub(super) async fn of_jetstream(
    context: &Arc<Context>,
    stream: &StreamName,
    segment: &Segment,
) -> Result<Option<Columns>, ApiError> {
    let found = messages(context, stream, segment).await?;
    Ok(found.filter(|columns| content(columns) == segment.sha256))
}

/// Reads as many messages as a segment has from JetStream; `None` where it does not have exactly those.
pub(super) async fn messages(
    context: &Arc<Context>,
    stream: &StreamName,
    segment: &Segment,
) -> Result<Option<Columns>, ApiError> {
    let last = context.jetstream.message(stream.as_str(), segment.last.seq).await?;
    // It says soon whether there is any use in reading those before it.
    if last.is_none_or(|last| last.as_message().hash() != segment.last.sha256) {
        return Ok(None);
    }
    collect(segment, |seq| context.jetstream.next_message(stream.as_str(), seq)).await
}

/// Reads messages until there are as many as a segment has; `None` where there are not so many within its sequences,
/// or they are larger: of a stream that was made again they may have more bytes than there is memory for.
async fn collect<F>(
    segment: &Segment,
    mut next: impl FnMut(u64) -> F,
) -> Result<Option<Columns>, ApiError>
where
    F: Future<Output = Result<Option<StoredMessage>, ApiError>>,
{
    let (mut columns, mut seq) = (Columns::default(), segment.first_seq);
    while (columns.len() as u64) < segment.messages {
        let message = match next(seq).await {
            Err(error) if error.not_found() => return Ok(None),
            other => other?,
        };
        let Some(message) = message.filter(|message| message.seq <= segment.last_seq) else {
            return Ok(None);
        };
        columns.push(message.as_message());
        if columns.bytes() as u64 > segment.bytes {
            return Ok(None);
        }
        seq = message.seq + 1;
    }
    Ok(Some(columns))
}

#[cfg(test)]
mod tests {
    use cim_core::archive::{LastMessage, Sha256};

    use super::*;

    /// A segment of a hundred messages of ten bytes.
    fn segment() -> Segment {
        let (time, sha256) = (jiff::Timestamp::UNIX_EPOCH, Sha256::of(b""));
        Segment {
            key: "k".into(),
            timeline: 1,
            first_seq: 1,
            last_seq: 100,
            first_time: time,
            last_time: time,
            messages: 100,
            bytes: 1000,
            size: 1000,
            sha256,
            last: LastMessage { seq: 100, time, sha256 },
            sealed: false,
            part: None,
        }
    }

    /// Returns how many messages of so many bytes were collected, and how many were read.
    async fn collected(bytes: usize) -> (Option<usize>, usize) {
        let (segment, mut read) = (segment(), 0);
        let found = collect(&segment, |seq| {
            read += 1;
            let payload = vec![0; bytes - 1];
            let message =
                StoredMessage { seq, time: 0, subject: "s".into(), headers: Vec::new(), payload };
            std::future::ready(Ok(Some(message)))
        });
        let found = found.await.unwrap().map(|columns| columns.len());
        (found, read)
    }

    #[tokio::test]
    async fn no_more_bytes_are_read_than_the_segment_has() {
        assert_eq!(collected(10).await, (Some(100), 100));
        assert_eq!(collected(400).await, (None, 3));
    }
}
