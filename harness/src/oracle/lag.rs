//! How far a tier is behind, sampled while the load runs.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cim_core::archive::Entry;
use cim_core::archive::key::Chain;
use cim_core::names::StreamName;
use s3::Bucket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::archive::{Archive, get};
use crate::ledger::{Ledger, Micros};
use crate::report::{round, thin};
use crate::scenario::Tier;

const EVERY: Duration = Duration::from_millis(50);

/// How old, at some moment, the oldest acked event was that a tier did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The moment.
    pub at: Micros,
    /// The age; 0 when the tier held everything.
    pub age: Micros,
}

/// The samples of every tier.
pub type Samples = Arc<Mutex<BTreeMap<Tier, Vec<Sample>>>>;

/// Samples as a line of the report's timeline.
pub(crate) fn line(samples: &[Sample]) -> Vec<(f64, f64)> {
    let highest = |a: Sample, b: Sample| if b.age > a.age { b } else { a };
    let seconds = |micros: Micros| round(Duration::from_micros(micros).as_secs_f64());
    thin(samples, highest).iter().map(|s| (seconds(s.at), seconds(s.age))).collect()
}

/// A sampler at work. Dropping it ends it.
#[derive(Debug)]
pub struct Sampler {
    task: JoinHandle<()>,
}

/// Follows what a tier holds of some streams, one entry at a time. A journal is read once for all.
#[derive(Debug)]
pub(crate) struct Heads {
    bucket: Box<Bucket>,
    archive: Archive,
    streams: Vec<Head>,
}

/// The head of one stream.
#[derive(Debug)]
struct Head {
    stream: StreamName,
    /// The next entry of its chain.
    next: u64,
    watermark: u64,
}

impl Sampler {
    /// Samples a tier while `active` says so; of streams by their places in the scenario.
    pub fn start(
        tier: Tier,
        bucket: Box<Bucket>,
        streams: Vec<(usize, StreamName)>,
        ledger: Arc<Ledger>,
        active: watch::Receiver<bool>,
        samples: Samples,
    ) -> Self {
        let (places, names) = streams.into_iter().unzip();
        let heads = Heads::new(bucket, tier, names);
        let task = tokio::spawn(async move {
            run(tier, heads, places, &ledger, active, &samples).await;
        });
        Self { task }
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn run(
    tier: Tier,
    mut heads: Heads,
    places: Vec<usize>,
    ledger: &Ledger,
    mut active: watch::Receiver<bool>,
    samples: &Samples,
) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        if active.wait_for(|active| *active).await.is_err() {
            return;
        }
        ticks.tick().await;
        let mut age = 0;
        let mut at = ledger.now();
        heads.advance_journals().await;
        for (head, stream) in places.iter().enumerate() {
            let watermark = heads.advance_chain(head).await;
            // After the answer: what was committed meanwhile counts as not yet there.
            at = ledger.now();
            if let Some(acked) = ledger.first_acked_after(*stream, watermark) {
                age = age.max(at.saturating_sub(acked));
            }
        }
        if *active.borrow() {
            let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.entry(tier).or_default().push(Sample { at, age });
        }
    }
}

impl Heads {
    /// Of a tier of which nothing was read yet.
    pub(crate) fn new(bucket: Box<Bucket>, tier: Tier, streams: Vec<StreamName>) -> Self {
        let streams = streams.into_iter().map(|stream| Head { stream, next: 0, watermark: 0 });
        Self { archive: Archive::unread(&bucket, tier), bucket, streams: streams.collect() }
    }

    /// Reads on to the end, of all streams; answers how far they go together.
    pub(crate) async fn advance(&mut self) -> u64 {
        self.advance_journals().await;
        let mut held = 0;
        for head in 0..self.streams.len() {
            held += self.advance_chain(head).await;
        }
        held
    }

    /// Reads on to the end, of one stream by its place; answers how far it goes.
    pub(crate) async fn advance_one(&mut self, head: usize) -> u64 {
        self.advance_journals().await;
        self.advance_chain(head).await
    }

    async fn advance_journals(&mut self) {
        // Before there is anything, the first entry of a journal may come at any moment.
        let bare = !self.archive.has_journal() && self.streams.iter().all(|head| head.next == 0);
        let read = if bare { self.archive.look().await } else { self.archive.advance().await };
        // An unreachable tier, or a damaged one, has not confirmed anything: the age goes on growing.
        drop(read);
    }

    async fn advance_chain(&mut self, head: usize) -> u64 {
        let head = &mut self.streams[head];
        match self.archive.in_journal(&head.stream) {
            Some(archived) => head.watermark = archived.watermark,
            None => head.advance(&self.bucket).await,
        }
        head.watermark
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
