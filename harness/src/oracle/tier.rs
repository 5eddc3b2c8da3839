//! The content of a tier. All other modules ask this one; only the folder archive/ and segment.rs
//! know the layout of an archive.

use cim_core::archive::Entry;
use cim_core::archive::key::Chain;
use cim_core::names::StreamName;
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use s3::Bucket;

pub use super::archive::{Archive, Archived as Holding};
pub(crate) use super::archive::{Place, ends_reading, get};
use crate::error::Result;
use crate::scenario::{Part, Tier};

/// The number of streams looked at at once.
pub(crate) const AT_ONCE: usize = 8;

/// Returns a tier's archive of a stream, checked from its beginning; `None` if it has none.
pub async fn holding(bucket: &Bucket, tier: Tier, stream: &StreamName) -> Result<Option<Holding>> {
    Archive::open(bucket, tier).await?.stream(stream).await
}

impl Archive {
    /// Returns the tier's objects of a kind, each once, in the order of these streams and their
    /// sequences.
    pub(crate) async fn places(
        &self,
        streams: impl IntoIterator<Item = &StreamName>,
        part: Part,
    ) -> Result<Vec<Place>> {
        let mut places: Vec<Place> = Vec::new();
        for stream in streams {
            let found: Vec<Place> = if part == Part::Manifest {
                self.decisions(stream).await?.into_iter().map(Place::decision).collect()
            } else {
                let Some(held) = self.stream(stream).await? else { continue };
                let wanted = held.segments.values().filter(|s| part == Part::Segment || !s.sealed);
                wanted.map(Place::content).collect()
            };
            for place in found {
                match places.iter_mut().find(|known| known.key == place.key) {
                    Some(known) => known.and(place),
                    None => places.push(place),
                }
            }
        }
        Ok(places)
    }
}

/// The watermarks of a tier for some streams, followed without reading the messages. A journal is
/// read once for all of them.
#[derive(Debug)]
pub(crate) struct Heads {
    bucket: Box<Bucket>,
    archive: Archive,
    streams: Vec<Head>,
}

/// The watermark of a tier for one stream.
#[derive(Debug)]
pub(crate) struct Head {
    stream: StreamName,
    /// The next entry of the stream's chain.
    next: u64,
    watermark: u64,
}

/// One stream of [`Heads`], after the journals were read.
pub(crate) struct Following<'a> {
    bucket: &'a Bucket,
    archive: &'a Archive,
    head: &'a mut Head,
}

impl Heads {
    /// Starts at the beginning.
    pub(crate) fn new(bucket: Box<Bucket>, tier: Tier, streams: Vec<StreamName>) -> Self {
        let streams = streams.into_iter().map(|stream| Head { stream, next: 0, watermark: 0 });
        Self { archive: Archive::unread(&bucket, tier), bucket, streams: streams.collect() }
    }

    /// Starts at the tier's current state. Streams that cannot be read now are followed from the
    /// beginning.
    pub(crate) async fn at_their_ends(
        bucket: Box<Bucket>,
        tier: Tier,
        streams: Vec<StreamName>,
    ) -> Self {
        let mut heads = Self::new(bucket, tier, streams);
        heads.advance_journals().await;
        let archive = &heads.archive;
        let looks = heads.streams.iter_mut().map(|head| async {
            if let Some(held) = archive.stream(&head.stream).await.ok().flatten() {
                (head.next, head.watermark) = (held.number + 1, held.watermark);
            }
        });
        let looks: Vec<_> = looks.collect();
        iter(looks).buffer_unordered(AT_ONCE).for_each(|()| async {}).await;
        heads
    }

    /// Follows the tier to its end, for all streams.
    pub(crate) async fn advance(&mut self) {
        self.advance_journals().await;
        let follow: Vec<_> = self.each().map(Following::advance).collect();
        iter(follow).buffer_unordered(AT_ONCE).for_each(|_| async {}).await;
    }

    /// Reads the journals to their ends.
    pub(crate) async fn advance_journals(&mut self) {
        // While the tier is empty, the first entry of a journal may come at any moment.
        let bare = !self.archive.has_journal() && self.streams.iter().all(|head| head.next == 0);
        let read = if bare { self.archive.look().await } else { self.archive.advance().await };
        // An unreachable or damaged tier has not confirmed anything: its watermark stays.
        drop(read);
    }

    /// Returns its streams, to be followed one by one.
    pub(crate) fn each(&mut self) -> impl Iterator<Item = Following<'_>> {
        let Self { bucket, archive, streams } = self;
        let (bucket, archive) = (&**bucket, &*archive);
        streams.iter_mut().map(move |head| Following { bucket, archive, head })
    }

    /// Keeps the streams for which `still` returns true, given the name and the watermark.
    pub(crate) fn retain(&mut self, mut still: impl FnMut(&StreamName, u64) -> bool) {
        self.streams.retain(|head| still(&head.stream, head.watermark));
    }

    /// Returns each stream and its watermark, as far as it has been followed.
    pub(crate) fn watermarks(&self) -> impl Iterator<Item = (&StreamName, u64)> {
        self.streams.iter().map(|head| (&head.stream, head.watermark))
    }
}

impl Following<'_> {
    /// Returns the tier's watermark, as far as it has been followed.
    pub(crate) fn watermark(&self) -> u64 {
        self.head.watermark
    }

    /// Follows the tier to its end; returns its watermark.
    pub(crate) async fn advance(self) -> u64 {
        match self.archive.in_journal(&self.head.stream) {
            Some(held) => self.head.watermark = held.watermark,
            None => self.head.advance(self.bucket).await,
        }
        self.head.watermark
    }
}

impl Head {
    /// Follows the chain to its end.
    async fn advance(&mut self, bucket: &Bucket) {
        loop {
            let key = Chain::Manifest.key(&self.stream, self.next).to_string();
            let Ok(Some(bytes)) = get(bucket, &key).await else { return };
            let Ok((entry, _)) = Entry::from_object(&bytes) else { return };
            self.watermark = entry.watermark.seq;
            self.next += 1;
        }
    }
}
