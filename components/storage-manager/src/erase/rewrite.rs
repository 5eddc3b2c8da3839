//! Writes objects anew without what is erased. What they held of other streams goes into them as it was.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::journal::{
    Change, ErasedFrom, JournalState, Part, Replacement, SegmentRecord,
};
use cim_core::archive::key::JournalOf;
use cim_core::archive::{ArchiveKey, Segment, Sha256};
use cim_core::names::{JournalName, StreamName};
use parquet::errors::ParquetError;

use super::plan::{Found, PartOf, Work};
use crate::s3::{S3Error, Store, Tier};
use crate::segment::{Batch, Columns, Finished, Rows, SegmentError, SharedReader, SharedWriter};
use crate::tier::merge::{LEVEL, Merge, SealError};

/// Objects that could not be written anew. The archive is as it was.
#[derive(Debug, thiserror::Error)]
pub enum RewriteError {
    /// S3 did not answer.
    #[error(transparent)]
    S3(#[from] S3Error),
    /// One is damaged.
    #[error(transparent)]
    Segment(#[from] SegmentError),
    /// Parquet refuses the rest.
    #[error("cannot rewrite a segment")]
    Encode(#[from] ParquetError),
    /// The same, of a segment with a file of its own.
    #[error(transparent)]
    Seal(#[from] SealError),
}

/// The new objects on the tier, and their records for an entry.
#[derive(Debug, Default)]
pub struct Rewritten {
    /// By stream; notes are not in it yet.
    pub changes: BTreeMap<StreamName, Change>,
    /// The segments that messages were taken out of.
    pub segments: Vec<ErasedFrom>,
}

/// The place of new objects.
#[derive(Debug, Clone)]
struct Place {
    tier: Tier,
    of: JournalOf,
    journal: JournalName,
    number: u64,
}

/// Writes anew what is to be. Nothing names the new objects yet.
///
/// # Errors
/// When S3 does not answer, or an object is damaged.
pub async fn rewrite(
    store: &Store,
    state: &JournalState,
    stream: &StreamName,
    found: &Arc<Found>,
    work: Work,
) -> Result<Rewritten, RewriteError> {
    let (tier, of, journal) = (store.tier(), state.of, state.journal.clone());
    let place = Place { tier, of, journal, number: state.next() };
    let mut done = Rewritten::default();
    for segment in work.own {
        let file = store.get(&segment.key).await?;
        let (old, name, found) = (segment.clone(), stream.clone(), Arc::clone(found));
        let cut = tokio::task::spawn_blocking(move || own(&old, &file, &name, &found, tier));
        let mut by = Vec::new();
        if let Some(Finished { segment, file }) = cut.await.expect("cutting does not panic")? {
            let key = ArchiveKey::parse(&segment.key).expect("the writer spelled it");
            store.put(&key, file).await?;
            by.push(SegmentRecord::of(&segment, None));
        }
        done.cut(stream, &segment, by);
    }
    for parts in work.shared {
        let mut files = BTreeMap::new();
        for (_, part) in &parts {
            if !files.contains_key(&part.key) {
                files.insert(part.key.clone(), store.get(&part.key).await?);
            }
        }
        let (to, found, name) = (place.clone(), Arc::clone(found), stream.clone());
        let old = parts.clone();
        let made = tokio::task::spawn_blocking(move || shared(&to, &old, files, &name, &found));
        let Made { object, by } = made.await.expect("writing does not panic")?;
        if let Some((key, object)) = object {
            store.put(&key, object).await?;
        }
        for ((name, part), by) in parts.into_iter().zip(by) {
            if by.as_ref().is_some_and(|record| record.messages == part.messages) {
                done.replace(name, &part, by);
            } else {
                done.cut(&name, &part, by.into_iter().collect());
            }
        }
    }
    Ok(done)
}

impl Rewritten {
    fn cut(&mut self, stream: &StreamName, old: &Segment, by: Vec<SegmentRecord>) {
        self.segments.push(ErasedFrom { key: old.key.clone(), sha256: old.sha256 });
        let change = self.changes.entry(stream.clone()).or_default();
        change.cut.push(replacement(old, by));
    }

    fn replace(&mut self, stream: StreamName, old: &Segment, by: Option<SegmentRecord>) {
        let change = self.changes.entry(stream).or_default();
        change.replace.push(replacement(old, by.into_iter().collect()));
    }
}

fn replacement(old: &Segment, by: Vec<SegmentRecord>) -> Replacement {
    let Segment { timeline, first_seq, last_seq, .. } = *old;
    Replacement { timeline, first_seq, last_seq, by }
}

/// Rewrites a segment without what is erased; `None` where nothing else is in it.
fn own(
    segment: &Segment,
    file: &Bytes,
    stream: &StreamName,
    found: &Found,
    tier: Tier,
) -> Result<Option<Finished>, RewriteError> {
    let hits = found.hits.get(&segment.timeline);
    let mut rest = Merge::to(tier);
    Rows::read(segment, file, |rows| {
        let kept = rows.messages().filter(|m| !hits.is_some_and(|hits| hits.contains(m.seq)));
        kept.into_iter().try_for_each(|message| rest.push(message)).map_err(RewriteError::from)
    })?;
    if rest.messages() == 0 {
        return Ok(None);
    }
    Ok(Some(rest.finish(stream, segment.timeline, segment.sealed)?))
}

/// The objects in the place of some shared ones.
struct Made {
    /// The one in their place; none where nothing is left.
    object: Option<(ArchiveKey, Bytes)>,
    /// The record of each part in it; none where nothing of it is left.
    by: Vec<Option<SegmentRecord>>,
}

/// Writes one object in the place of some that streams share.
fn shared(
    to: &Place,
    parts: &[PartOf],
    files: BTreeMap<String, Bytes>,
    stream: &StreamName,
    found: &Found,
) -> Result<Made, RewriteError> {
    let mut readers = BTreeMap::new();
    for (key, file) in files {
        let reader = SharedReader::open(&key, file)?;
        readers.insert(key, reader);
    }
    let mut writer = SharedWriter::to(to.tier, LEVEL);
    let mut kept = Vec::new();
    for (name, segment) in parts {
        let reader = readers.get_mut(&segment.key).expect("all were fetched");
        let hits = found.hits.get(&segment.timeline).filter(|_| name == stream);
        let mut columns = Columns::default();
        let part: &Part = segment.part.as_ref().expect("parts alone are in shared objects");
        reader.read(segment, part, |message| {
            if !hits.is_some_and(|hits| hits.contains(message.seq)) {
                columns.push(message);
            }
            Ok::<_, SegmentError>(())
        })?;
        kept.push(!columns.is_empty());
        if !columns.is_empty() {
            let (stream, timeline) = (name.clone(), segment.timeline);
            writer.append(Batch { stream, timeline, columns })?;
        }
    }
    let new = writer.parts()?;
    if new.is_empty() {
        return Ok(Made { object: None, by: vec![None; parts.len()] });
    }
    let object = writer.finish(None)?;
    let key = ArchiveKey::Shared {
        of: to.of,
        journal: to.journal.clone(),
        level: level(parts),
        number: to.number,
        hash: Sha256::of(&object).short(),
    };
    let mut new = new.into_iter();
    let by = kept.into_iter().map(|kept| {
        let part = kept.then(|| new.next().expect("each that was kept is there"))?;
        Some(SegmentRecord::of(&Segment { key: key.to_string(), ..part }, None))
    });
    Ok(Made { by: by.collect(), object: Some((key, object)) })
}

/// Returns the level of the object that takes the place of some: they are not merged the more often for it.
fn level(parts: &[PartOf]) -> u8 {
    let levels = parts.iter().map(|(_, part)| match ArchiveKey::parse(&part.key) {
        Ok(ArchiveKey::Shared { level, .. }) => level,
        _ => 1,
    });
    levels.max().unwrap_or(1).max(1)
}

#[cfg(test)]
mod tests {
    use cim_core::archive::SeqRange;
    use proptest::prelude::*;

    use super::*;
    use crate::journal::testing::stream;
    use crate::segment::{Message, raw_rows};

    /// Sequences of some streams in one object: of each stream those behind what the object before it has.
    type Object = BTreeMap<usize, u64>;

    fn message(seq: u64) -> ([u8; 8], [u8; 3]) {
        (seq.to_be_bytes(), *b"s.a")
    }

    fn columns(seqs: impl Iterator<Item = u64>) -> Columns {
        let mut columns = Columns::default();
        for seq in seqs {
            let (payload, subject) = message(seq);
            columns.push(Message {
                seq,
                time: 5,
                subject: &subject,
                headers: b"",
                payload: &payload,
            });
        }
        columns
    }

    /// Objects, and the parts that lie in them.
    fn objects(all: &[Object]) -> (Vec<PartOf>, BTreeMap<String, Bytes>) {
        let (mut parts, mut files, mut next) = (Vec::new(), BTreeMap::new(), [1_u64; 3]);
        for (number, object) in all.iter().enumerate() {
            let mut writer = SharedWriter::to(Tier::Nas, 1);
            for (index, count) in object {
                let seqs = next[*index]..next[*index] + count;
                next[*index] += count + 1;
                let (stream, timeline) = (stream(*index), 1);
                writer.append(Batch { stream, timeline, columns: columns(seqs) }).unwrap();
            }
            let (of, journal) = (JournalOf::Secondary, "main".parse().unwrap());
            let key = ArchiveKey::Journal { of, journal, number: number as u64 }.to_string();
            let new = writer.parts().unwrap();
            parts.extend(
                object
                    .keys()
                    .zip(new)
                    .map(|(index, part)| (stream(*index), Segment { key: key.clone(), ..part })),
            );
            files.insert(key, writer.finish(None).unwrap());
        }
        parts.sort_by_key(|(name, part)| (name.clone(), part.first_seq));
        (parts, files)
    }

    proptest! {
        #[test]
        fn what_is_erased_is_gone_and_all_else_is_as_it_was(
            all in prop::collection::vec(prop::collection::btree_map(0usize..3, 1u64..6, 1..4), 1..5),
            hits in prop::collection::btree_set(1u64..24, 0..16),
        ) {
            let (parts, files) = objects(&all);
            let hits: cim_core::archive::SeqRanges = hits.into_iter().map(|seq| SeqRange { first: seq, last: seq }).collect();
            let found = Found { hits: [(1, hits.clone())].into(), ..Found::default() };
            let to = Place { tier: Tier::Nas, of: JournalOf::Secondary, journal: "main".parse().unwrap(), number: 9 };
            let made = shared(&to, &parts, files, &stream(0), &found).unwrap();
            let goes = |name: &StreamName, seq| *name == stream(0) && hits.contains(seq);
            let mut rows = Vec::new();
            if let Some((key, file)) = &made.object {
                raw_rows(&key.to_string(), file, |row| {
                    rows.push((String::from_utf8(row.of.unwrap().0.to_vec()).unwrap(), row.seq));
                }).unwrap();
            }
            let all = parts.iter().flat_map(|(name, part)| {
                (part.first_seq..=part.last_seq).map(move |seq| (name, seq))
            });
            let kept = all.filter(|(name, seq)| !goes(name, *seq));
            let kept: Vec<_> = kept.map(|(name, seq)| (name.to_string(), seq)).collect();
            prop_assert_eq!(rows, kept);
            // Each part is what is left of the one in whose place it is.
            for ((name, part), by) in parts.iter().zip(&made.by) {
                let left = (part.first_seq..=part.last_seq).filter(|seq| !goes(name, *seq));
                let left: Vec<u64> = left.collect();
                let Some(record) = by else {
                    prop_assert_eq!(left, Vec::<u64>::new());
                    continue;
                };
                let (_, file) = made.object.as_ref().unwrap();
                let segment = record.to_segment(name, "");
                let mut found = Vec::new();
                Rows::read(&segment, file, |rows| {
                    found.extend(rows.messages().map(|message| message.seq));
                    Ok::<_, SegmentError>(())
                }).unwrap();
                prop_assert_eq!(found, left);
            }
        }
    }
}
