//! Where the messages of a damaged object come from.

use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::Segment;
use cim_core::names::StreamName;

use crate::jetstream::ApiError;
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

/// Reads as many messages as a segment has from JetStream; `None` where it does not have so many within its sequences.
pub(super) async fn messages(
    context: &Arc<Context>,
    stream: &StreamName,
    segment: &Segment,
) -> Result<Option<Columns>, ApiError> {
    let (mut columns, mut seq) = (Columns::default(), segment.first_seq);
    while (columns.len() as u64) < segment.messages {
        let message = match context.jetstream.next_message(stream.as_str(), seq).await {
            Err(error) if error.not_found() => return Ok(None),
            other => other?,
        };
        let Some(message) = message.filter(|message| message.seq <= segment.last_seq) else {
            return Ok(None);
        };
        columns.push(message.as_message());
        seq = message.seq + 1;
    }
    Ok(Some(columns))
}
