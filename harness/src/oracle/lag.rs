//! Samples how far a tier is behind while the load runs, and each message's age when the tier had
//! it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cim_core::names::StreamName;
use futures_util::StreamExt as _;
use futures_util::stream::iter;
use s3::Bucket;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::tier::{AT_ONCE, Following, Heads};
use crate::ledger::{Ledger, Micros};
use crate::report::{round, thin};
use crate::scenario::Tier;

const EVERY: Duration = Duration::from_millis(50);

/// The age, at some moment, of the oldest acked event that a tier did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// The moment.
    pub at: Micros,
    /// The age; 0 when the tier held everything.
    pub age: Micros,
}

/// Returns samples as a line of the report's timeline.
pub(crate) fn line(samples: &[Sample]) -> Vec<(f64, f64)> {
    let highest = |a: Sample, b: Sample| if b.age > a.age { b } else { a };
    let seconds = |micros: Micros| round(Duration::from_micros(micros).as_secs_f64());
    thin(samples, highest).iter().map(|s| (seconds(s.at), seconds(s.age))).collect()
}

/// A running sampler. Dropping it ends it.
#[derive(Debug)]
pub struct Sampler {
    task: JoinHandle<()>,
}

/// The results of a sampler.
#[derive(Debug, Default)]
pub struct Measured {
    /// The tier's lag while the load ran.
    pub samples: Vec<Sample>,
    /// The age of each message when the tier was found to have it.
    pub ages: Vec<Micros>,
}

/// The results of the samplers of all tiers.
pub type Measurements = Arc<Mutex<BTreeMap<Tier, Measured>>>;

/// The conditions under which a sampler works.
#[derive(Debug, Clone)]
pub struct When {
    /// True while the load runs.
    pub loading: watch::Receiver<bool>,
    /// True while a step waits for tiers to catch up.
    pub draining: watch::Receiver<bool>,
}

impl Sampler {
    /// Starts to sample a tier; `streams` are given with their places in the scenario.
    pub fn start(
        tier: Tier,
        bucket: Box<Bucket>,
        streams: Vec<(usize, StreamName)>,
        ledger: Arc<Ledger>,
        when: When,
        measured: Measurements,
    ) -> Self {
        let (places, names): (Vec<_>, _) = streams.into_iter().unzip();
        let task = tokio::spawn(async move {
            let heads = Heads::at_their_ends(bucket, tier, names).await;
            let followed = places.into_iter().map(|stream| Followed { stream, newest: None });
            run(tier, heads, followed.collect(), &ledger, when, &measured).await;
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
    mut followed: Vec<Followed>,
    ledger: &Ledger,
    mut when: When,
    measured: &Measurements,
) {
    let mut ticks = tokio::time::interval(EVERY);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        let gone = tokio::select! {
            loading = when.loading.wait_for(|loading| *loading) => loading.is_err(),
            draining = when.draining.wait_for(|draining| *draining) => draining.is_err(),
        };
        if gone {
            return;
        }
        ticks.tick().await;
        // A tier that has everything is not asked.
        if followed.iter().any(|one| one.newest != ledger.newest(one.stream)) {
            heads.advance_journals().await;
        }
        let pairs = followed.iter_mut().zip(heads.each());
        let looks: Vec<_> = pairs.map(|(one, head)| one.look(head, ledger)).collect();
        let looks: Vec<_> = iter(looks).buffer_unordered(AT_ONCE).collect().await;
        let (at, age) = (ledger.now(), looks.iter().map(|look| look.age).max().unwrap_or(0));
        let mut measured = measured.lock().unwrap_or_else(PoisonError::into_inner);
        let measured = measured.entry(tier).or_default();
        measured.ages.extend(looks.into_iter().flat_map(|look| look.ages));
        if *when.loading.borrow() {
            measured.samples.push(Sample { at, age });
        }
    }
}

/// A stream that is followed on a tier.
#[derive(Debug)]
struct Followed {
    stream: usize,
    /// The newest ack when the tier was last found to have everything.
    newest: Option<(u32, u64)>,
}

/// The result of one look at a stream.
struct Look {
    /// The age of the oldest message that the tier does not have; 0 when it has all.
    age: Micros,
    /// The ages of the messages that arrived since the last look.
    ages: Vec<Micros>,
}

impl Followed {
    /// Looks at the tier, unless it has everything already.
    async fn look(&mut self, head: Following<'_>, ledger: &Ledger) -> Look {
        let newest = ledger.newest(self.stream);
        if newest == self.newest {
            return Look { age: 0, ages: Vec::new() };
        }
        let before = head.watermark();
        let watermark = head.advance().await;
        // Taken after the answer: a message committed meanwhile counts as missing.
        let at = ledger.now();
        let ages = ledger.acked_within(self.stream, before, watermark);
        let ages = ages.into_iter().map(|acked| at.saturating_sub(acked)).collect();
        let oldest = ledger.first_acked_after(self.stream, watermark);
        self.newest = if oldest.is_none() { newest } else { None };
        Look { age: oldest.map_or(0, |acked| at.saturating_sub(acked)), ages }
    }
}
