//! Heals a segment that has an object of its own.
//!
//! The hash is over the file's bytes. Wasabi may have the same file. Else it is made once more: from the same messages,
//! JetStream's or Wasabi's, in the same row groups, come the same bytes, and the hash says whether they are. The damaged
//! file's end says which row groups it had.

use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::{ArchiveKey, Segment};
use cim_core::names::StreamName;
use cim_runtime::error::chain;
use parquet::errors::ParquetError;

use super::run::{HealError, Patient, Stays, is_damage, of_wasabi, stays, whose};
use super::source::messages;
use super::stays::Place;
use crate::journal::Journal;
use crate::segment::{Columns, SegmentWriter, group_sizes};
use crate::tier::Context;
use crate::tier::context::{FetchError, checked};

/// zstd levels with which segments are written.
const LEVELS: [i32; 2] = [crate::tier::segmenter::LEVEL, crate::tier::seal::LEVEL];

/// Heals a segment's file.
pub(super) async fn heal_file(
    context: &Arc<Context>,
    journal: &Journal,
    stream: &StreamName,
    segment: &Segment,
) -> Result<(), HealError> {
    let bytes = usize::try_from(segment.bytes).unwrap_or(usize::MAX);
    let _held = context.budget.reserve_beside(bytes, None).await;
    let key = segment.key.clone();
    let (found, error) = match context.nas.get(&key).await {
        Err(error) => (None, FetchError::from(context.nas.judged(error).await)),
        Ok(file) => match checked(segment, file.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) => (Some(file), error.into()),
        },
    };
    let damaged = match &error {
        FetchError::S3(error) => is_damage(context, &key, error),
        FetchError::Segment(_) => true,
    };
    // It may have gone with the bucket: then all begins anew.
    if !journal.look().await {
        return Err(HealError::Away);
    }
    let (mut again, mut from) = (None, "came from wasabi");
    if let Some(wasabi) = &context.wasabi
        && let Ok(file) = wasabi.get(&key).await
    {
        again = checked(segment, file).await.ok();
    }
    let (mut covered, place) = (Ok(Vec::new()), (stream.clone(), segment.clone()));
    if again.is_none() && !context.ailing.is_given_up(stream, segment) {
        from = "was written anew";
        let sizes = found.and_then(|found| group_sizes(&found));
        let whole = |sizes: &[u64]| sizes.iter().sum::<u64>() == segment.messages;
        let sizes = sizes.filter(|sizes| whole(sizes) && !sizes.contains(&0));
        if let Some(sizes) = &sizes {
            let found = messages(context, stream, segment).await.map_err(|source| {
                let whose = whose([(stream, segment)].into_iter());
                HealError::Api { key: key.clone(), whose, source }
            })?;
            again = made_of(found, &place, sizes).await?;
        }
        if again.is_none() {
            let (stream, segment) = place.clone();
            let mut patient = [Patient { stream, segment, columns: None }];
            covered = of_wasabi(context, journal, &mut patient).await;
            let [Patient { columns, .. }] = patient;
            if let Some(sizes) = &sizes {
                again = made_of(columns, &place, sizes).await?;
            }
        }
    }
    if let Some(file) = again {
        let parsed = ArchiveKey::parse(&key).expect("it was in the journal");
        let put = context.nas.put(&parsed, file).await;
        put.map_err(|source| HealError::S3 { key: key.clone(), source })?;
        let whose = whose([(stream, segment)].into_iter());
        tracing::warn!("`{key}` of the nas could not be read: it {from}, {whose}");
        return Ok(());
    }
    let why = chain(&error);
    stays(context, journal, Stays { key: &key, why, damaged, covered, lost: vec![place] }).await
}

/// Makes a file once more of messages, in row groups of these sizes; `None` where it does not get to be the same.
async fn made_of(
    messages: Option<Columns>,
    (stream, segment): &Place,
    sizes: &[u64],
) -> Result<Option<Bytes>, HealError> {
    let Some(columns) = messages else { return Ok(None) };
    let (key, sizes) = (segment.key.clone(), sizes.to_vec());
    let (stream, segment) = (stream.clone(), segment.clone());
    let made = tokio::task::spawn_blocking(move || {
        LEVELS
            .iter()
            .find_map(|level| encode(&stream, &segment, &columns, &sizes, *level).transpose())
            .transpose()
    });
    let made = made.await.expect("encoding does not panic");
    made.map_err(|source| HealError::Encode { key, source })
}

/// Encodes messages in row groups of these sizes; `None` where that is not the segment's file.
fn encode(
    stream: &StreamName,
    segment: &Segment,
    columns: &Columns,
    sizes: &[u64],
    level: i32,
) -> Result<Option<Bytes>, ParquetError> {
    let (mut writer, mut messages) = (SegmentWriter::new(level), columns.messages());
    for size in sizes {
        let mut group = Columns::default();
        let size = usize::try_from(*size).unwrap_or(usize::MAX);
        messages.by_ref().take(size).for_each(|message| group.push(message));
        writer.append(group)?;
    }
    let finished = writer.finish(stream, segment.timeline, segment.sealed)?;
    Ok((finished.segment.sha256 == segment.sha256).then_some(finished.file))
}
