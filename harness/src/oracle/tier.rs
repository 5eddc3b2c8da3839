//! What a tier holds of a stream. Whoever wants to know asks here, and nobody else knows how an archive is
//! laid out: archive.rs and segment.rs read it.

use cim_core::archive::Entry;
use cim_core::archive::key::Chain;
use cim_core::names::StreamName;
use s3::Bucket;

pub use super::archive::Archived as Holding;
pub(crate) use super::archive::get;
use super::archive::read_chain;
use crate::error::Result;
use crate::scenario::Part;

/// Returns what a tier holds of a stream, checked from its beginning; `None` when it holds nothing.
pub async fn holding(bucket: &Bucket, stream: &StreamName) -> Result<Option<Holding>> {
    read_chain(bucket, stream).await
}

impl Holding {
    /// Returns the keys of the stream's objects of a kind, in the order of sequences.
    pub(crate) fn keys(&self, stream: &StreamName, part: Part) -> Vec<String> {
        let segments = self.segments.iter();
        match part {
            Part::Segment => segments.map(|s| s.key.clone()).collect(),
            Part::UnsealedSegment => {
                segments.filter(|s| !s.sealed).map(|s| s.key.clone()).collect()
            }
            Part::Manifest => {
                let entry = |number| Chain::Manifest.key(stream, number).to_string();
                (0..=self.number).map(entry).collect()
            }
        }
    }
}

/// Follows how far a tier goes with a stream, without reading what it holds.
#[derive(Debug)]
pub(crate) struct Head {
    stream: StreamName,
    next: u64,
    watermark: u64,
}

impl Head {
    /// From the beginning.
    pub(crate) fn new(stream: StreamName) -> Self {
        Self { stream, next: 0, watermark: 0 }
    }

    /// From where the tier is now. What cannot be read now is followed from the beginning.
    pub(crate) async fn at_its_end(bucket: &Bucket, stream: StreamName) -> Self {
        let known = read_chain(bucket, &stream).await.ok().flatten();
        let (next, watermark) = known.map_or((0, 0), |held| (held.number + 1, held.watermark));
        Self { stream, next, watermark }
    }

    /// Returns the stream that it follows.
    pub(crate) fn stream(&self) -> &StreamName {
        &self.stream
    }

    /// Returns how far the tier goes, as far as it has been followed.
    pub(crate) fn watermark(&self) -> u64 {
        self.watermark
    }

    /// Follows the tier to its end.
    pub(crate) async fn advance(&mut self, bucket: &Bucket) {
        loop {
            let key = Chain::Manifest.key(&self.stream, self.next).to_string();
            // An unreachable tier has not confirmed anything: it stays where it was.
            let Ok(Some(bytes)) = get(bucket, &key).await else { return };
            let Ok((entry, _)) = Entry::from_object(&bytes) else { return };
            self.watermark = entry.watermark.seq;
            self.next += 1;
        }
    }
}
