//! Heals a segment that has an object of its own.
//!
//! The hash is over the file's bytes. Wasabi may have the same file. Else it is made once more: from the same messages,
//! JetStream's or Wasabi's, in the same row groups, come the same bytes, and the hash says whether they are. The damaged
//! file's end says which row groups it had. Only what is encrypted is never the same bytes twice: another file takes its
//! place.

use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::journal::{Change, Replacement, SegmentRecord};
use cim_core::archive::{ArchiveKey, Segment};
use cim_core::names::StreamName;
use cim_runtime::error::chain;
use parquet::errors::ParquetError;
use tokio::time::Instant;

use super::error::HealError;
use super::part::{DamagedPart, Place, is_damage, whose};
use super::source::messages;
use super::unhealed::{Unhealed, report_unhealed};
use super::wasabi::of_wasabi;
use crate::crypt::{installed, is_encrypted};
use crate::journal::{Commit, Journal};
use crate::s3::Tier;
use crate::segment::{Columns, SegmentWriter, group_sizes};
use crate::tier::Context;
use crate::tier::context::checked;
use crate::tier::error::FetchError;
use crate::tier::merge::{Merge, SealError};

/// zstd levels with which segments are written.
const LEVELS: [i32; 2] = [crate::tier::segmenter::LEVEL, crate::tier::merge::LEVEL];

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
    let (found, error) = match context.nas.get_as_is(&key).await {
        Err(error) => (None, FetchError::from(context.nas.judged(error).await)),
        Ok(file) => match checked(segment, file.clone()).await {
            Ok(_) => return Ok(()),
            Err(error) => (Some(file), error.into()),
        },
    };
    let damaged = match &error {
        FetchError::S3(error) => is_damage(context, &key, error),
        FetchError::Segment(_) | FetchError::Key(_) => true,
    };
    // It may have gone with the bucket: then all begins anew.
    if !journal.look().await {
        return Err(HealError::Away);
    }
    let (mut again, mut from) = (None, "came from Wasabi");
    if let Some(wasabi) = &context.wasabi
        && let Ok(file) = wasabi.get_as_is(&key).await
    {
        again = checked(segment, file).await.ok();
    }
    let (mut covered, place) = (Ok(Vec::new()), (stream.clone(), segment.clone()));
    let encrypted = match &found {
        Some(file) => is_encrypted(file),
        None => installed().writes(Tier::Nas).is_some(),
    };
    if again.is_none() && encrypted && !context.damaged.is_given_up(stream, segment) {
        let known = there(context, &place).await?;
        let columns = known.filter(|columns| is_all(segment, columns));
        let (stream, segment) = place.clone();
        let mut patient = [DamagedPart { stream, segment, columns }];
        covered = of_wasabi(context, journal, &mut patient).await;
        let [DamagedPart { columns, .. }] = patient;
        if let Some(columns) = columns {
            return replace(context, journal, place, columns).await;
        }
    } else if again.is_none() && !context.damaged.is_given_up(stream, segment) {
        from = "was written anew";
        let sizes = found.and_then(|found| group_sizes(&found));
        let whole = |sizes: &[u64]| sizes.iter().sum::<u64>() == segment.messages;
        let sizes = sizes.filter(|sizes| whole(sizes) && !sizes.contains(&0));
        if let Some(sizes) = &sizes {
            let found = there(context, &place).await?;
            again = made_of(found, &place, sizes).await?;
        }
        if again.is_none() {
            let (stream, segment) = place.clone();
            let mut patient = [DamagedPart { stream, segment, columns: None }];
            covered = of_wasabi(context, journal, &mut patient).await;
            let [DamagedPart { columns, .. }] = patient;
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
        tracing::warn!("`{key}` of the NAS could not be read: it {from}, {whose}");
        return Ok(());
    }
    let why = chain(&error);
    report_unhealed(
        context,
        journal,
        Unhealed { key: &key, why, damaged, covered, lost: vec![place] },
    )
    .await
}

/// Reads a segment's messages from JetStream; `None` where it does not have them any more.
async fn there(
    context: &Arc<Context>,
    (stream, segment): &Place,
) -> Result<Option<Columns>, HealError> {
    messages(context, stream, segment).await.map_err(|source| {
        let whose = whose([(stream, segment)].into_iter());
        HealError::Api { key: segment.key.clone(), whose, source }
    })
}

/// Returns whether these are all messages of a segment, of which the last one is: nothing of a stream changes, so as many
/// messages of as many bytes are the same.
fn is_all(segment: &Segment, columns: &Columns) -> bool {
    columns.len() as u64 == segment.messages && columns.bytes() as u64 == segment.bytes
}

/// Writes the messages of an encrypted segment into a new file, which takes its place: encrypted again they are other
/// bytes.
async fn replace(
    context: &Arc<Context>,
    journal: &Journal,
    (stream, segment): Place,
    columns: Columns,
) -> Result<(), HealError> {
    let key = segment.key.clone();
    let failed = |source| HealError::S3 { key: key.clone(), source };
    let (name, timeline) = (stream.clone(), segment.timeline);
    let made = tokio::task::spawn_blocking(move || {
        let mut merge = Merge::to(Tier::Nas);
        columns.messages().try_for_each(|message| merge.push(message))?;
        merge.finish(&name, timeline, false)
    });
    let made = made.await.expect("encoding does not panic").map_err(|error| match error {
        SealError::Encode(source) => HealError::Encode { key: key.clone(), source },
        SealError::S3(source) | SealError::Fetch(FetchError::S3(source)) => failed(source),
        SealError::Fetch(error) => {
            let source = ParquetError::General(chain(&error));
            HealError::Encode { key: key.clone(), source }
        }
    })?;
    let parsed = ArchiveKey::parse(&made.segment.key).expect("the writer spelled it");
    context.nas.put(&parsed, made.file).await.map_err(failed)?;
    let Segment { first_seq, last_seq, .. } = segment;
    let by = vec![SegmentRecord::of(&made.segment, None)];
    let replace = vec![Replacement { timeline, first_seq, last_seq, by }];
    let change = Change { replace, ..Change::default() };
    let commit = Commit { change, ..Commit::default() };
    journal.commit(vec![(stream.clone(), commit)], Vec::new(), Instant::now()).await?;
    let whose = whose([(&stream, &segment)].into_iter());
    tracing::warn!("`{key}` of the NAS could not be read: it was written anew, {whose}");
    Ok(())
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
