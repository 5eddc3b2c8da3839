//! Samples the load's progress for the report's timeline.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::task::JoinHandle;

use crate::ledger::{Ledger, Micros};
use crate::report::{round, thin};

const EVERY: Duration = Duration::from_millis(100);

type Point = (Micros, u64, u64);

/// A sampler of the ledger's counts. Dropping it stops the sampling.
#[derive(Debug)]
pub(super) struct Pace {
    points: Arc<Mutex<Vec<Point>>>,
    task: JoinHandle<()>,
}

impl Pace {
    pub(super) fn start(ledger: Arc<Ledger>) -> Self {
        let points = Arc::new(Mutex::new(Vec::new()));
        let into = Arc::clone(&points);
        let task = tokio::spawn(async move {
            let mut ticks = tokio::time::interval(EVERY);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let counts = ledger.counts();
                let point = (ledger.now(), counts.published, counts.acked);
                into.lock().unwrap_or_else(PoisonError::into_inner).push(point);
            }
        });
        Self { points, task }
    }

    /// Returns published and acked events over time, in as many points as a drawing needs.
    pub(super) fn points(&self) -> Vec<(f64, u64, u64)> {
        let points = self.points.lock().unwrap_or_else(PoisonError::into_inner);
        // Counts only grow: the last of an interval stands for it.
        let thinned = thin(&points, |_, later| later);
        let seconds = |micros| round(Duration::from_micros(micros).as_secs_f64());
        thinned.into_iter().map(|(at, published, acked)| (seconds(at), published, acked)).collect()
    }
}

impl Drop for Pace {
    fn drop(&mut self) {
        self.task.abort();
    }
}
