//! Sealing: runs of small segments become one, which is what goes to Wasabi.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use cim_core::archive::{ArchiveState, Segment};
use cim_core::names::StreamName;
use parquet::errors::ParquetError;
use tokio::time::Instant;

use super::context::{Context, FetchError, unsealed};
use super::segmenter::{ROW_GROUP, put};
use crate::hooks::fail_point;
use crate::s3::S3Error;
use crate::segment::{Columns, Finished, Message, Rows, SegmentError, SegmentWriter};

/// How long after a run could not be sealed it is tried again: what is damaged stays so, mostly.
const AGAIN: Duration = Duration::from_secs(5);
/// zstd level of merged segments: they are kept for ever, and nobody waits for them.
const LEVEL: i32 = 3;

/// A run of segments and what replaces it.
#[derive(Debug)]
pub struct Sealed {
    /// The sealed segment.
    pub segment: Segment,
    /// The keys that it replaces.
    pub replaces: Vec<String>,
}

/// A run that could not be sealed; it stays as it is.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// One of its segments could not be read.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// Its rows could not be written again.
    #[error("cannot merge segments")]
    Encode(#[from] parquet::errors::ParquetError),
    /// S3 did not take the result.
    #[error(transparent)]
    S3(#[from] S3Error),
}

impl From<SegmentError> for SealError {
    fn from(error: SegmentError) -> Self {
        FetchError::from(error).into()
    }
}

/// Decides when runs are due.
#[derive(Debug, Default)]
pub struct Ages {
    since: HashMap<String, Instant>,
    failed: Option<Instant>,
}

impl Ages {
    /// The run that was due could not be sealed.
    pub fn failed(&mut self) {
        self.failed = Some(Instant::now());
    }

    /// The oldest run that is due: complete in size, old enough, or never to grow because another
    /// timeline or a sealed segment follows. `now` asks for whatever there is.
    pub fn due(
        &mut self,
        context: &Context,
        state: &ArchiveState,
        now: bool,
    ) -> Option<Vec<Segment>> {
        let waiting: Vec<&Segment> = unsealed(state).collect();
        self.since.retain(|key, _| waiting.iter().any(|s| s.key == *key));
        for segment in &waiting {
            self.since.entry(segment.key.clone()).or_insert_with(Instant::now);
        }
        let first = waiting.first()?;
        if self.failed.is_some_and(|failed| failed.elapsed() < AGAIN) && !now {
            return None;
        }
        let limit = context.config.seal.size.bytes() as u64;
        let (mut run, mut bytes, mut complete) = (Vec::new(), 0, first.timeline < state.timeline());
        for segment in state.segments.range((first.timeline, first.first_seq)..).map(|(_, s)| s) {
            if segment.sealed
                || segment.timeline != first.timeline
                || (bytes + segment.bytes > limit && !run.is_empty())
            {
                complete = true;
                break;
            }
            bytes += segment.bytes;
            run.push(segment.clone());
        }
        let age = self.since.get(&first.key).map(Instant::elapsed).unwrap_or_default();
        let due = now || complete || bytes >= limit || age >= context.config.seal.interval;
        due.then_some(run)
    }
}

/// Makes one sealed segment of a run.
pub async fn seal(
    context: &Arc<Context>,
    stream: &StreamName,
    run: Vec<Segment>,
) -> Result<Sealed, SealError> {
    let replaces = run.iter().map(|s| s.key.clone()).collect();
    if let [only] = &run[..] {
        return Ok(Sealed { segment: Segment { sealed: true, ..only.clone() }, replaces });
    }
    let _one_at_a_time = context.background.acquire().await.expect("it is never closed");
    let timeline = run[0].timeline;
    let mut merge = Merge::default();
    for segment in run {
        let file = context.fetch_unchecked(&segment).await?;
        let append = move || {
            merge.append(&segment, &file, 0)?;
            Ok::<_, SealError>(merge)
        };
        merge = tokio::task::spawn_blocking(append).await.expect("merging does not panic")?;
    }
    let name = stream.clone();
    let finish = tokio::task::spawn_blocking(move || merge.finish(&name, timeline, true));
    let finished = finish.await.expect("merging does not panic")?;
    put(context, &finished).await?;
    fail_point!(SealUploaded);
    Ok(Sealed { segment: finished.segment, replaces })
}

/// Makes a sealed segment of what another one has after `seq`. It is on the NAS, and no entry names it.
pub async fn cut(
    context: &Arc<Context>,
    stream: &StreamName,
    segment: &Segment,
    seq: u64,
) -> Result<Finished, SealError> {
    let _one_at_a_time = context.background.acquire().await.expect("it is never closed");
    let file = context.fetch_unchecked(segment).await?;
    let (segment, name) = (segment.clone(), stream.clone());
    let cut = tokio::task::spawn_blocking(move || {
        let mut merge = Merge::default();
        merge.append(&segment, &file, seq)?;
        merge.finish(&name, segment.timeline, true)
    });
    let finished = cut.await.expect("cutting does not panic")?;
    put(context, &finished).await?;
    Ok(finished)
}

/// Rows on their way from small row groups into full ones: a row group of ten rows compresses badly.
pub(crate) struct Merge {
    writer: SegmentWriter,
    columns: Columns,
}

impl Default for Merge {
    fn default() -> Self {
        Self { writer: SegmentWriter::new(LEVEL), columns: Columns::default() }
    }
}

impl Merge {
    /// Takes a message.
    pub(crate) fn push(&mut self, message: Message<'_>) -> Result<(), ParquetError> {
        self.columns.push(message);
        if self.columns.bytes() >= ROW_GROUP {
            self.writer.append(std::mem::take(&mut self.columns))?;
        }
        Ok(())
    }

    /// Takes the rows after `seq`.
    pub(crate) fn append(
        &mut self,
        segment: &Segment,
        file: &bytes::Bytes,
        seq: u64,
    ) -> Result<(), SealError> {
        Rows::read(segment, file, |rows| {
            let rows = rows.messages().filter(|message| message.seq > seq);
            rows.for_each(|message| self.columns.push(message));
            if self.columns.bytes() >= ROW_GROUP {
                self.writer.append(std::mem::take(&mut self.columns))?;
            }
            Ok(())
        })
    }

    /// Ends the segment.
    pub(crate) fn finish(
        mut self,
        stream: &StreamName,
        timeline: u32,
        sealed: bool,
    ) -> Result<Finished, SealError> {
        self.writer.append(self.columns)?;
        Ok(self.writer.finish(stream, timeline, sealed)?)
    }
}
