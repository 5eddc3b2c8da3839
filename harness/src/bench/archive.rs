//! Follows the watermarks of every stream on the NAS, and the times of its commits, in any layout.
//!
//! Nothing is judged here: that is the oracle's work. Of a large object only its end is read, so
//! that the look takes little from the measured programs.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use cim_core::archive::journal::{JournalEntry, JournalState};
use cim_core::archive::key::{JournalOf, STREAMS};
use cim_core::archive::{ArchiveKey, ArchiveState, Entry, Segment};
use cim_core::names::{JournalName, StreamName};
use jiff::Timestamp;
use parquet::encryption::decrypt::FileDecryptionProperties;
use parquet::file::metadata::ParquetMetaDataReader;
use s3::Bucket;
use s3::serde_types::Object;

use super::test_bed::Host;
use crate::error::{Context as _, Error, Result};
use crate::oracle::tier::get;

/// The end of a Parquet file: four bytes of length, and four that mark it.
const TRAILER: usize = 8;
/// The bytes at an object's end that are read first.
const TAIL: u64 = 64 << 10;
/// The key of an entry in its object's metadata.
const ENTRY: &str = "cim.entry";

/// The archive on the NAS, as far as it has been followed.
pub(super) struct Archive {
    bucket: Box<Bucket>,
    read: BTreeSet<String>,
    chains: BTreeMap<StreamName, ArchiveState>,
    journal: JournalState,
    /// The segments, in the order in which they were read.
    pub(super) arrivals: Vec<Arrival>,
    /// The requests that it took to follow the archive.
    pub(super) requests: u64,
    /// The decryption of an encrypted archive.
    key: Option<Arc<FileDecryptionProperties>>,
}

/// A segment that became durable.
pub(super) struct Arrival {
    /// Its first message's time.
    pub(super) first_time: Timestamp,
    pub(super) last_seq: u64,
    /// The time of the object that decides it, by the NAS's clock.
    pub(super) at: Timestamp,
}

/// The size of an archive after all merges.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Settled {
    pub(super) messages: u64,
    /// The bytes of merged objects.
    pub(super) data: u64,
    /// The bytes of the index, which says where each message is.
    pub(super) index: u64,
}

impl Archive {
    /// Makes a follower of a host's NAS, from the beginning.
    pub(super) fn new(host: &Host) -> Result<Self> {
        let journal = JournalName::new("main").expect("a valid name");
        Ok(Self {
            bucket: host.nas.access.client()?,
            read: BTreeSet::new(),
            chains: BTreeMap::new(),
            journal: JournalState::empty(JournalOf::Secondary, journal),
            arrivals: Vec::new(),
            requests: 0,
            key: None,
        })
    }

    /// Makes a follower of an encrypted archive.
    pub(super) fn encrypted(host: &Host, key: &[u8]) -> Result<Self> {
        let key = FileDecryptionProperties::builder(key.to_vec()).build();
        let key = key.step(|| "cannot use the archive's key".into())?;
        Ok(Self { key: Some(key), ..Self::new(host)? })
    }

    /// Returns the archived state of a stream.
    pub(super) fn stream(&self, name: &str) -> Option<&ArchiveState> {
        let name = StreamName::new(name).ok()?;
        self.journal.streams.get(&name).or_else(|| self.chains.get(&name))
    }

    /// Returns the sum of all streams' watermarks.
    pub(super) fn watermarks(&self) -> u64 {
        self.states().map(|state| state.watermark().seq).sum()
    }

    fn states(&self) -> impl Iterator<Item = &ArchiveState> {
        self.chains.values().chain(self.journal.streams.values())
    }

    fn segments(&self) -> impl Iterator<Item = &Segment> {
        self.states().flat_map(|state| state.segments.values())
    }

    /// Reads the new entries.
    pub(super) async fn advance(&mut self) -> Result<()> {
        let entries = JournalOf::Secondary.entries(&self.journal.journal);
        for prefix in [STREAMS, &entries] {
            for object in self.list(prefix).await? {
                if self.read.contains(&object.key) {
                    continue;
                }
                let read = match ArchiveKey::parse(&object.key) {
                    Ok(ArchiveKey::Manifest { stream, number }) => {
                        let next = self.chains.get(&stream).map_or(0, |chain| chain.number + 1);
                        number == next && self.chain(&stream, &object).await?
                    }
                    Ok(ArchiveKey::Journal { number, .. }) => {
                        // A list may lack objects that were written while it was made.
                        number == self.journal.next() && self.entry(&object).await?
                    }
                    _ => true,
                };
                if read {
                    self.read.insert(object.key);
                }
            }
        }
        Ok(())
    }

    async fn chain(&mut self, stream: &StreamName, object: &Object) -> Result<bool> {
        let cannot = || format!("cannot read `{}`", object.key);
        self.requests += 1;
        let Some(bytes) = get(&self.bucket, &object.key).await? else { return Ok(false) };
        let (entry, hash) = Entry::from_object(&bytes).step(cannot)?;
        if let Some(chain) = self.chains.get_mut(stream) {
            chain.apply(&entry, hash).step(cannot)?;
        } else {
            let state = ArchiveState::open(&entry, hash).step(cannot)?;
            self.chains.insert(stream.clone(), state);
        }
        // A merged segment brings no new messages.
        if entry.remove.is_empty() {
            let at = written(object)?;
            let arrival = |segment: &Segment| Arrival {
                first_time: segment.first_time,
                last_seq: segment.last_seq,
                at,
            };
            self.arrivals.extend(entry.add.iter().map(arrival));
        }
        Ok(true)
    }

    async fn entry(&mut self, object: &Object) -> Result<bool> {
        let cannot = || format!("cannot read `{}`", object.key);
        let end = self.end(object).await?;
        let mut reader = ParquetMetaDataReader::new().with_decryption_properties(self.key.clone());
        reader.try_parse_sized(&end, object.size).step(cannot)?;
        let metadata = reader.finish().step(cannot)?;
        let pairs = metadata.file_metadata().key_value_metadata().into_iter().flatten();
        let text = pairs.into_iter().find(|pair| pair.key == ENTRY).and_then(|p| p.value.clone());
        let text = text.ok_or_else(|| Error::step(format!("{}: it has no entry", cannot())))?;
        let (entry, hash) = JournalEntry::from_text(&text).step(cannot)?;
        self.journal.apply(&entry, hash).step(cannot)?;
        let at = written(object)?;
        for (stream, change) in &entry.streams {
            let restated = change.begin.iter().flat_map(|begin| &begin.segments);
            self.arrivals.extend(change.add.iter().chain(restated).map(|record| {
                let segment = record.to_segment(stream, &object.key);
                let Segment { first_time, last_seq, .. } = segment;
                Arrival { first_time, last_seq, at }
            }));
        }
        Ok(true)
    }

    /// Returns the end of a Parquet object, with its metadata.
    async fn end(&mut self, object: &Object) -> Result<Bytes> {
        let cannot = || Error::step(format!("`{}` is no Parquet file", object.key));
        let mut wanted = TAIL.min(object.size);
        loop {
            let from = object.size - wanted;
            self.requests += 1;
            let answer = self.bucket.get_object_range(&object.key, from, None).await;
            let tail = answer.step(|| format!("cannot read `{}`", object.key))?.into_bytes();
            let end = tail.len().checked_sub(TRAILER).ok_or_else(cannot)?;
            let length = tail[end..end + 4].try_into().map(u32::from_le_bytes);
            let length = length.map_err(|_| cannot())? as usize;
            if end >= length {
                return Ok(tail);
            }
            if wanted == object.size {
                return Err(cannot());
            }
            wanted = (length as u64 + TRAILER as u64).min(object.size);
        }
    }

    async fn list(&mut self, prefix: &str) -> Result<Vec<Object>> {
        let cannot = || format!("cannot list `{prefix}`");
        let pages = self.bucket.list(prefix.to_owned(), None).await.step(cannot)?;
        self.requests += pages.len() as u64;
        Ok(pages.into_iter().flat_map(|page| page.contents).collect())
    }

    /// Returns the number of streams and the sum of their watermarks, for an archive with very many
    /// entries: for chains, segments count without their entries.
    pub(super) async fn reached(&mut self) -> Result<(usize, u64)> {
        let mut last: BTreeMap<StreamName, u64> = BTreeMap::new();
        for object in self.list(STREAMS).await? {
            if let Ok(ArchiveKey::Segment { stream, last_seq, .. }) = ArchiveKey::parse(&object.key)
            {
                let known = last.entry(stream).or_default();
                *known = last_seq.max(*known);
            }
        }
        if last.is_empty() || self.journal.last.is_some() {
            self.advance().await?;
            return Ok((self.states().count(), self.watermarks()));
        }
        Ok((last.len(), last.values().sum()))
    }

    /// Returns the bytes of the objects that hold messages now.
    pub(super) async fn stored(&mut self) -> Result<u64> {
        let keys: BTreeSet<String> = self.segments().map(|s| s.key.clone()).collect();
        let objects = self.list("").await?;
        Ok(objects.iter().filter(|o| keys.contains(&o.key)).map(|o| o.size).sum())
    }

    /// Returns the size of the merged objects and of the index that stays beside them.
    pub(super) async fn settled(&mut self) -> Result<Settled> {
        let fresh = |segment: &Segment| match ArchiveKey::parse(&segment.key) {
            Ok(ArchiveKey::Journal { .. }) => true,
            Ok(ArchiveKey::Segment { .. }) => !segment.sealed,
            _ => false,
        };
        let merged: Vec<&Segment> = self.segments().filter(|s| !fresh(s)).collect();
        let (parts, messages) =
            (merged.len(), merged.iter().map(|segment| segment.messages).sum::<u64>());
        let keys: BTreeSet<String> = merged.iter().map(|segment| segment.key.clone()).collect();
        let objects = self.list("").await?;
        let data = objects.iter().filter(|o| keys.contains(&o.key)).map(|o| o.size).sum();
        let all = self.segments().fold((0, 0), |(n, m), s| (n + 1, m + s.messages));
        let (mut entries, mut checkpoint) = (0, 0);
        for object in &objects {
            match ArchiveKey::parse(&object.key) {
                // A chain keeps every entry, a journal only its newest checkpoint.
                Ok(ArchiveKey::Manifest { .. }) => entries += object.size,
                Ok(ArchiveKey::Checkpoint { .. }) => checkpoint = object.size,
                _ => {}
            }
        }
        // The rest of the checkpoint is about unmerged messages, which are no more in an archive of
        // any size.
        let entries = entries as f64 * messages as f64 / (all.1.max(1)) as f64;
        let checkpoint = checkpoint as f64 * parts as f64 / f64::from(all.0.max(1));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        let index = (entries + checkpoint).ceil() as u64;
        Ok(Settled { messages, data, index })
    }
}

fn written(object: &Object) -> Result<Timestamp> {
    object.last_modified.parse().step(|| format!("`{}` has no time", object.key))
}

/// Returns the value below which this share of all lies.
pub(super) fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
    let at = (values.len() as f64 * share).ceil() as usize;
    values.get(at.saturating_sub(1)).copied().unwrap_or(f64::NAN)
}
