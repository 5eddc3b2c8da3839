//! The summary of many runs.

use std::collections::BTreeMap;

use serde::Serialize;

use super::{Report, Spread, Verdict};
use crate::scenario::Tier;

/// Many runs of a scenario.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Repeats {
    /// The number of runs.
    pub(crate) runs: usize,
    /// The number that passed.
    pub(crate) passed: usize,
    /// The number that failed.
    pub(crate) failed: usize,
    /// The number that were skipped.
    pub(crate) skipped: usize,
    /// The seeds of the failed runs.
    pub(crate) failed_seeds: Vec<u64>,
    /// By tier, the recovery points of all recoveries from it, in seconds.
    pub(crate) rpo_seconds: BTreeMap<Tier, Spread>,
    /// By tier, the durations of all recoveries from it, in seconds.
    pub(crate) rto_seconds: BTreeMap<Tier, Spread>,
    /// By tier, over the runs, the 99th percentile of its lag under load, in seconds.
    pub(crate) lag_p99_seconds: BTreeMap<Tier, Spread>,
}

impl Repeats {
    /// Returns the measure, the tier and the percentiles of each row of a table.
    pub(crate) fn rows(&self) -> Vec<(String, String, Spread)> {
        let named = [
            ("RPO", &self.rpo_seconds),
            ("RTO", &self.rto_seconds),
            ("behind under load, p99 of a run", &self.lag_p99_seconds),
        ];
        let rows = named.into_iter().flat_map(|(what, by_tier)| {
            by_tier.iter().map(move |(tier, spread)| (what.to_owned(), tier.to_string(), *spread))
        });
        rows.collect()
    }
}

/// Sums up these runs.
pub(crate) fn repeats(reports: &[Report]) -> Repeats {
    let mut rpo: BTreeMap<Tier, Vec<f64>> = BTreeMap::new();
    let mut rto: BTreeMap<Tier, Vec<f64>> = BTreeMap::new();
    let mut lag: BTreeMap<Tier, Vec<f64>> = BTreeMap::new();
    for report in reports {
        for loss in &report.losses {
            let Some(tier) = loss.recovered_from else { continue };
            rpo.entry(tier).or_default().push(loss.rpo_seconds);
            rto.entry(tier).or_default().extend(loss.rto_seconds);
        }
        for (tier, spread) in &report.rpo_seconds {
            lag.entry(*tier).or_default().push(spread.p99);
        }
    }
    let spreads = |by_tier: BTreeMap<Tier, Vec<f64>>| {
        by_tier.into_iter().filter_map(|(tier, values)| Some((tier, Spread::of(values)?))).collect()
    };
    let of = |verdict| reports.iter().filter(move |report| report.verdict == verdict);
    Repeats {
        runs: reports.len(),
        passed: of(Verdict::Passed).count(),
        failed: of(Verdict::Failed).count(),
        skipped: of(Verdict::Skipped).count(),
        failed_seeds: of(Verdict::Failed).map(|report| report.seed).collect(),
        rpo_seconds: spreads(rpo),
        rto_seconds: spreads(rto),
        lag_p99_seconds: spreads(lag),
    }
}
