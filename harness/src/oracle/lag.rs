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

use super::archive::{get, read_chain};
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

/// Follows the head of a stream's chain on a tier, one entry at a time.
#[derive(Debug)]
pub(crate) struct Head {
    stream: StreamName,
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
        let task = tokio::spawn(async move {
            let mut heads = Vec::new();
            for (place, stream) in streams {
                // A chain that cannot be read now is followed from its start; the next poll will tell.
                let known = read_chain(&bucket, &stream).await.ok().flatten();
                let (next, watermark) = known.map_or((0, 0), |a| (a.number + 1, a.watermark));
                heads.push((place, Head { stream, next, watermark }));
            }
            run(tier, &bucket, heads, &ledger, active, &samples).await;
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
    bucket: &Bucket,
    mut heads: Vec<(usize, Head)>,
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
        for (stream, head) in &mut heads {
            head.advance(bucket).await;
            // After the answer: what was committed meanwhile counts as not yet there.
            at = ledger.now();
            if let Some(acked) = ledger.first_acked_after(*stream, head.watermark) {
                age = age.max(at.saturating_sub(acked));
            }
        }
        if *active.borrow() {
            let mut samples = samples.lock().unwrap_or_else(PoisonError::into_inner);
            samples.entry(tier).or_default().push(Sample { at, age });
        }
    }
}

impl Head {
    /// From the chain's start.
    pub(crate) fn new(stream: StreamName) -> Self {
        Self { stream, next: 0, watermark: 0 }
    }

    /// How far the tier goes, as far as it has been followed.
    pub(crate) fn watermark(&self) -> u64 {
        self.watermark
    }

    /// Follows the chain to its end.
    pub(crate) async fn advance(&mut self, bucket: &Bucket) {
        loop {
            let key = Chain::Manifest.key(&self.stream, self.next).to_string();
            // An unreachable tier has not confirmed anything: the age goes on growing.
            let Ok(Some(bytes)) = get(bucket, &key).await else { return };
            let Ok((entry, _)) = Entry::from_object(&bytes) else { return };
            self.watermark = entry.watermark.seq;
            self.next += 1;
        }
    }
}
